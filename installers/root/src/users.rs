//! Users of a root, from its own passwd file. The names of another root mean nothing on this machine.

use std::path::PathBuf;

use crate::{Root, durable};

/// The numbers of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
}

/// A required user is missing.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {why} for the user '{name}': create it as a system user (systemd-sysusers does)")]
pub struct NoUser {
    file: PathBuf,
    name: String,
    why: String,
}

/// Looks a user up.
pub fn user(root: &Root, name: &str) -> Result<User, NoUser> {
    let file = root.passwd();
    let found = durable::read(&file)
        .map_err(|error| error.to_string())
        .and_then(|bytes| bytes.ok_or_else(|| "there is no such file".to_owned()))
        .and_then(|bytes| find(&String::from_utf8_lossy(&bytes), name));
    found.map_err(|why| NoUser {
        file,
        name: name.to_owned(),
        why,
    })
}

/// passwd(5): `name:password:UID:GID:GECOS:directory:shell`.
fn find(passwd: &str, name: &str) -> Result<User, String> {
    let mut lines = passwd
        .lines()
        .enumerate()
        .filter(|(_, line)| line.split(':').next() == Some(name));
    let (number, line) = lines.next().ok_or("no line")?;
    if lines.next().is_some() {
        return Err("more than one line".to_owned());
    }
    let fields: Vec<&str> = line.split(':').collect();
    let parse = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
    match (fields.len(), parse(2), parse(3)) {
        (7, Some(0), _) => Err(format!("line {} says UID 0, which is root,", number + 1)),
        (7, Some(uid), Some(gid)) => Ok(User { uid, gid }),
        _ => Err(format!(
            "line {} is not name:password:UID:GID:GECOS:directory:shell",
            number + 1
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_only_whole_unambiguous_lines() {
        let good = Ok(User { uid: 990, gid: 991 });
        let passwd = "root:x:0:0:root:/root:/bin/sh\nwharfd:x:990:991::/:/usr/sbin/nologin\n";
        assert_eq!(find(passwd, "wharfd"), good);
        for bad in [
            "",
            "wharfd2:x:1:1::/:/bin/sh",
            "wharfd",
            "wharfd:x:-1:1::/:/bin/sh",
            "wharfd:x::1::/:/bin/sh",
            "wharfd:x:0:1::/:/bin/sh",
            "wharfd:x:1:1::/:/bin/sh:more",
            "wharfd:x:1:1::/:/bin/sh\nwharfd:x:0:0::/:/bin/sh",
        ] {
            assert!(find(bad, "wharfd").is_err(), "{bad:?}");
        }
    }
}
