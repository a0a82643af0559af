//! Extended attributes of files (xattr(7)): access lists, labels, capabilities.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io,
    os::fd::AsRawFd,
    ptr,
};

use nix::errno::Errno;

/// A name with its value.
pub type Attribute = (CString, Vec<u8>);

/// All attributes of an open file. There are none on a file system that has none.
pub fn of(file: &File) -> io::Result<Vec<Attribute>> {
    let names = match list(file) {
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {
            return Ok(Vec::new());
        }
        names => names?,
    };
    let mut attributes = Vec::new();
    for name in names.split_inclusive(|&byte| byte == 0) {
        if let Ok(name) = CStr::from_bytes_with_nul(name) {
            attributes.push((name.to_owned(), value(file, name)?));
        }
    }
    Ok(attributes)
}

/// Sets an attribute of an open file.
#[allow(
    unsafe_code,
    reason = "the name ends with a zero, and the value has its length"
)]
pub fn set(file: &File, name: &CStr, value: &[u8]) -> io::Result<()> {
    let set = unsafe {
        libc::fsetxattr(
            file.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    Errno::result(set).map(drop).map_err(io::Error::from)
}

#[allow(
    unsafe_code,
    reason = "the kernel writes at most the length of the buffer"
)]
fn list(file: &File) -> io::Result<Vec<u8>> {
    filled(|buffer, length| unsafe { libc::flistxattr(file.as_raw_fd(), buffer.cast(), length) })
}

#[allow(
    unsafe_code,
    reason = "the kernel writes at most the length of the buffer"
)]
fn value(file: &File, name: &CStr) -> io::Result<Vec<u8>> {
    filled(|buffer, length| unsafe {
        libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), buffer.cast(), length)
    })
}

/// Asks for the length, then for the bytes. Fails if they grew meanwhile.
fn filled(ask: impl Fn(*mut u8, usize) -> isize) -> io::Result<Vec<u8>> {
    let length = Errno::result(ask(ptr::null_mut(), 0))?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    let length = Errno::result(ask(bytes.as_mut_ptr(), bytes.len()))?;
    bytes.truncate(usize::try_from(length).unwrap_or_default());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_read_as_it_was_set() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("file")).unwrap();
        let attributes = [(c"user.wharf".to_owned(), b"a value".to_vec())];
        match set(&file, c"user.wharf", b"a value") {
            // A file system without attributes.
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {
                assert_eq!(of(&file).unwrap(), []);
            }
            done => {
                done.unwrap();
                let found = of(&file).unwrap();
                assert!(found.contains(&attributes[0]), "{found:?}");
            }
        }
    }
}
