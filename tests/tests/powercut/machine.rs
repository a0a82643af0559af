//! A gateway with its whole root on a disk whose power can be cut.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    mount::{MsFlags, mount},
    sys::signal::{Signal, kill},
};
use wharf_tests::{
    disk::{Disk, Image, unmount},
    folder::processes_in,
    manager::Manager,
    process::Process,
    programs::{Reachable, programs},
    scratch_root::{WHARFD, add_folders},
    waiting::{LIMIT, wait_at_most, wait_until},
};

use crate::world::World;

/// The gateway. Its programs end before its disk does.
pub(crate) struct Machine {
    daemon: Option<Process>,
    installer: Option<Process>,
    programs: Reachable,
    pub(crate) manager: Manager,
    pub(crate) root: PathBuf,
    pub(crate) disk: Disk,
}

impl Machine {
    /// A gateway with this disk, whose file system replays its journal. No program runs yet.
    pub(crate) fn with(manager: Manager, image: Image) -> Result<Self, String> {
        let mut disk = Disk::with(image);
        let root = disk.mount()?;
        mount(
            Some("run"),
            &root.join("run"),
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=755"),
        )
        .map_err(|error| format!("no /run: {error}"))?;
        Ok(Self {
            daemon: None,
            installer: None,
            programs: Reachable::of(programs()),
            manager,
            root,
            disk,
        })
    }

    /// Starts the programs, with a new boot id.
    pub(crate) fn boot(&mut self, world: &World) {
        world.reboot();
        add_folders(&self.root);
        let mut installer = self.command("wharf-installer");
        self.installer = Some(Process::spawn(&mut installer));
        let socket = self.root.join("run/wharf-installer.sock");
        wait_until("the installer's socket", || socket.exists().then_some(()));
        self.start_daemon();
    }

    pub(crate) fn start_daemon(&mut self) {
        let mut daemon = self.command("wharfd");
        daemon.uid(WHARFD.id).gid(WHARFD.id);
        self.daemon = Some(Process::spawn(&mut daemon));
    }

    pub(crate) fn daemon(&mut self) -> &mut Process {
        self.daemon.as_mut().expect("wharfd was started")
    }

    /// The log lines of both programs, which explain a violation.
    pub(crate) fn told(&self) -> String {
        let programs = [&self.installer, &self.daemon];
        let lines = programs.into_iter().flatten();
        let lines = lines.flat_map(|program| program.errors().all());
        lines.map(|line| format!("\n    {line}")).collect()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.path().join(program));
        command.arg("--root").arg(&self.root).current_dir("/");
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.daemon = None;
        self.installer = None;
        end_all_in(&self.root);
        unmount(&self.root.join("run"), LIMIT);
    }
}

/// Processes of a job outlive wharf-installer. A drop calls this, so it does not panic.
fn end_all_in(root: &Path) {
    let ended = wait_at_most(LIMIT, || {
        let left = processes_in(root);
        for process in &left {
            let _ = kill(*process, Signal::SIGKILL);
        }
        left.iter()
            .all(|process| is_zombie(process.as_raw()))
            .then_some(())
    });
    if ended.is_none() {
        eprintln!("{root:?} still has processes: {:?}", processes_in(root));
    }
}

/// Whether it is a zombie.
fn is_zombie(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, state)| state.starts_with('Z'))
}
