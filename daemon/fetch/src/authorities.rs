//! Makes OpenSSL read the CAs of this device from the folder of hashed links.
//!
//! native-tls parses the whole bundle at each start, which takes 80 ms and 1.7 MB for Debian's. From the folder
//! that update-ca-certificates maintains, OpenSSL reads only the CAs that a chain needs.

use std::{env, ffi::OsStr, fs, path::Path};

const FOLDER: &str = "/etc/ssl/certs";

/// Chooses the folder if it has hashed links and the environment sets nothing else. Call it while the process
/// has one thread.
pub fn choose() {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .into_iter()
        .any(|name| env::var_os(name).is_some());
    if !named && is_hashed(Path::new(FOLDER)) {
        #[allow(
            unsafe_code,
            reason = "OpenSSL and native-tls are configured only by the environment"
        )]
        // SAFETY: called while this process has one thread.
        unsafe {
            env::set_var("SSL_CERT_FILE", "/dev/null");
            env::set_var("SSL_CERT_DIR", FOLDER);
        }
    }
}

/// Whether the folder has hashed links, which are named by eight hexadecimal digits and `.0` (openssl-rehash(1)).
fn is_hashed(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .into_iter()
        .any(|entry| is_link_name(&entry.file_name()))
}

fn is_link_name(name: &OsStr) -> bool {
    let hash = name.to_str().and_then(|name| name.strip_suffix(".0"));
    hash.is_some_and(|hash| hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_bundle_alone_is_not_hashed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_hashed(&folder.path().join("none")));
        fs::write(folder.path().join("ca-bundle.crt"), "").unwrap();
        assert!(!is_hashed(folder.path()));
        fs::write(folder.path().join("002c0b4f.0"), "").unwrap();
        assert!(is_hashed(folder.path()));
    }
}
