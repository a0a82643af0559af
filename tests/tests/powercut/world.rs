//! Mounts, a network and a boot id for one thread and all that it starts. Servers have the same ports in each world, and a
//! reboot changes the boot id.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use wharf_tests::{command::output_of, folder::Folder};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The world of the thread that made it. It ends with the thread.
pub(crate) struct World {
    folder: Folder,
    boots: AtomicU32,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("namespaces");
        let nothing = None::<&Path>;
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(nothing, "/", nothing, flags, nothing).expect("private mounts");
        output_of(Command::new("ip").args(["link", "set", "lo", "up"]));
        let world = Self {
            folder,
            boots: AtomicU32::new(0),
        };
        world.reboot();
        let file = world.folder.join("boot-id");
        mount(Some(&file), BOOT_ID, nothing, MsFlags::MS_BIND, nothing).expect("a boot id");
        world
    }

    /// Begins another boot.
    pub(crate) fn reboot(&self) {
        let boot = self.boots.fetch_add(1, Ordering::SeqCst);
        let thread = nix::unistd::gettid().as_raw();
        let id = format!("{thread:08x}-0000-4000-8000-{boot:012x}\n");
        fs::write(self.folder.join("boot-id"), id).expect("a boot id");
    }
}
