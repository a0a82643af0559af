//! wharfd is not root: what root may read it need not.

use std::path::Path;

use nix::{
    errno::Errno,
    unistd::{
        Gid, Uid, User, getegid, geteuid, getgroups, initgroups, setegid, seteuid, setgroups,
    },
};

/// Does it with wharfd's rights, where this is root and wharfd has a user on this machine.
pub fn as_wharfd<T>(root: &Path, act: impl FnOnce() -> T) -> T {
    let is_here = root == Path::new("/") && geteuid().is_root();
    let user = User::from_name("wharfd").ok().flatten();
    let Some(user) = user.filter(|_| is_here) else {
        return act();
    };
    let _root = Rights::of(&user);
    act()
}

/// Root's rights, which come back when this is dropped.
struct Rights {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Rights {
    /// Leaves them for those of this user. Where that fails, they stay.
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
