//! Runs a check with the rights of wharfd: root can read files that wharfd cannot.

use std::path::Path;

use nix::{
    errno::Errno,
    unistd::{
        Gid, Uid, User, getegid, geteuid, getgroups, initgroups, setegid, seteuid, setgroups,
    },
};

/// Runs `act` with the rights of the user wharfd, if this process is root, `root` is `/`, and the user exists.
pub fn as_wharfd<T>(root: &Path, act: impl FnOnce() -> T) -> T {
    let is_here = root == Path::new("/") && geteuid().is_root();
    let user = User::from_name("wharfd").ok().flatten();
    let Some(user) = user.filter(|_| is_here) else {
        return act();
    };
    let _root = Rights::of(&user);
    act()
}

/// The rights of root. Dropping this restores them.
struct Rights {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Rights {
    /// Switches to the rights of this user. If that fails, the rights of root stay.
    fn of(user: &User) -> Result<Self, Errno> {
        let root = Self {
            uid: geteuid(),
            gid: getegid(),
            groups: getgroups()?,
        };
        initgroups(c"wharfd", user.gid)?;
        setegid(user.gid)?;
        seteuid(user.uid)?;
        Ok(root)
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        let _ = seteuid(self.uid);
        let _ = setegid(self.gid);
        let _ = setgroups(&self.groups);
    }
}
