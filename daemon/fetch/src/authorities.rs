//! Which certificate authorities OpenSSL reads: those of this device, the cheapest way.
//!
//! native-tls parses a whole bundle at each start, used or not: 80 ms and 1.7 MB for Debian's, on a
//! machine faster than a gateway. The folder of hashed links that update-ca-certificates keeps beside it holds
//! the same, and OpenSSL reads of it only what a chain needs.

use std::{env, ffi::OsStr, fs, path::Path};

const FOLDER: &str = "/etc/ssl/certs";

/// Chooses the folder, where it has hashed links and the environment names nothing else. Call it before
/// anything else runs.
pub fn choose() {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .into_iter()
        .any(|name| env::var_os(name).is_some());
    if !named && is_hashed(Path::new(FOLDER)) {
        #[allow(
            unsafe_code,
            reason = "OpenSSL and native-tls are told by the environment alone"
        )]
        // SAFETY: called while this process has one thread.
        unsafe {
            env::set_var("SSL_CERT_FILE", "/dev/null");
            env::set_var("SSL_CERT_DIR", FOLDER);
        }
    }
}

/// Bundles lie there under names of their own; links are eight hexadecimal digits and `.0` (openssl-rehash(1)).
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
