//! A booted Debian system: systemd as its first process, in a network of its own. Tests reboot it and cut its power. It
//! is independent of wharfd.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    str::FromStr,
    sync::OnceLock,
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    command::text_of,
    debian_root::{bootstrapped, lay_over},
    folder::Folder,
    network::Network,
    process::Process,
    waiting::wait_until,
};

/// The packages of a Debian gateway besides apt, and the libraries that wharfd's package needs: it is installed without
/// an archive.
pub(crate) const PACKAGES: [&str; 7] = [
    "ca-certificates",
    "dbus",
    "libnettle8",
    "libsqlite3-0",
    "libssl3",
    "systemd",
    "systemd-sysv",
];

/// Mounts all that systemd-nspawn needs, since this machine may run no systemd, and runs it. It has a mount namespace
/// and a cgroup of its own, so that several boot at once. As on a real machine, programs may ask the kernel whether its
/// clock is synchronised; systemd-nspawn refuses that by default.
const BOOT: &str = r#"set -e
folder=$1
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount --bind "$folder/cgroup" /sys/fs/cgroup
echo $$ >"/sys/fs/cgroup/${folder##*/}/cgroup.procs"
systemd-nspawn --quiet --register=no --keep-unit --boot --link-journal=no --console=pipe \
    --system-call-filter="adjtimex clock_adjtime clock_adjtime64" \
    --machine="${folder##*/wt-}" --directory="$folder/root" --network-namespace-path="$folder/network""#;

/// A system, with the test outside of it. A drop cuts its power.
#[derive(Debug)]
pub struct Container {
    machine: Option<Machine>,
    network: Network,
    folder: Folder,
}

#[derive(Debug)]
struct Machine {
    nspawn: Process,
    /// The container's first process, by its id on this machine.
    leader: Pid,
}

impl Container {
    /// A new container that is off, without wharfd.
    pub fn new() -> Self {
        Self::over(base())
    }

    /// A container over another untouched system, which `bootstrapped` made.
    pub fn over(base: &Path) -> Self {
        let folder = Folder::new();
        lay_over(base, &folder);
        let cgroup = folder.make("cgroup");
        mount(
            Some("cgroup2"),
            &cgroup,
            Some("cgroup2"),
            MsFlags::empty(),
            None::<&Path>,
        )
        .unwrap_or_else(|error| panic!("no cgroup2 at {cgroup:?}: {error}"));
        Self {
            machine: None,
            network: Network::new(&folder),
            folder,
        }
    }

    /// Its file system, which may be changed from here at any time, except /run and /tmp.
    pub fn path(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// The part of its file system that differs from the untouched system.
    pub fn changes(&self) -> PathBuf {
        self.folder.join("upper")
    }

    /// The path from here to a file of the running system, /run and /tmp included. Valid until it is switched off.
    pub fn inside(&self, path: &str) -> PathBuf {
        let machine = self.machine.as_ref().expect("the container is on");
        PathBuf::from(format!("/proc/{}/root{path}", machine.leader))
    }

    /// The network between it and the test.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Switches it on, and waits until all units that start at boot have started.
    ///
    /// # Panics
    ///
    /// If it is on already.
    pub fn boot(&mut self) {
        assert!(self.machine.is_none(), "the container is on");
        let cgroup = self.cgroup();
        fs::create_dir_all(&cgroup).unwrap_or_else(|error| panic!("no cgroup {cgroup:?}: {error}"));
        // It ends with the test in any case, and a Ctrl-C for another program does not end it. A namespace of processes
        // ends with its first one, which unshare ends.
        let mut unshare = Command::new("setpriv");
        unshare
            .args([
                "--pdeathsig=KILL",
                "unshare",
                "--pid",
                "--mount-proc",
                "--kill-child",
            ])
            .args(["sh", "-c", BOOT, "boot"])
            .arg(self.folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let mut nspawn = Process::spawn(&mut unshare);
        let leader = wait_until("the container's systemd", || {
            let ended = nspawn.exit_status();
            assert!(ended.is_none(), "systemd-nspawn ended: {ended:?}");
            let mut below = descendants(nspawn.id()).into_iter();
            below.find(|process| is_reachable(*process))
        });
        self.machine = Some(Machine { nspawn, leader });
        self.wait_for_boot();
    }

    /// Right after its start, systemd may not listen yet; then systemctl fails at once in spite of `--wait`. Failed
    /// units are not an error here: tests use `failed_units`.
    fn wait_for_boot(&self) {
        wait_until("the end of the container's boot", || {
            let mut systemctl = self.command("systemctl");
            let state = systemctl.args(["is-system-running", "--wait"]).output();
            let state = state.expect("systemctl of the container").stdout;
            let state = String::from_utf8_lossy(&state).trim().to_owned();
            let has_booted = ["running", "degraded", "maintenance", "stopping"];
            has_booted.contains(&state.as_str()).then_some(())
        });
    }

    /// Shuts it down in order, and boots it again.
    pub fn reboot(&mut self) {
        // The reboot may cut off its own reply.
        let asked = self.command("systemctl").arg("reboot").output();
        asked.expect("systemctl of the container");
        self.wait_for_reboot();
    }

    /// Waits until it has shut down for a reboot that a program inside requested, and boots it.
    pub fn wait_for_reboot(&mut self) {
        let mut machine = self.machine.take().expect("the container is on");
        machine.nspawn.wait();
        drop(machine);
        self.boot();
    }

    /// Kills every process in it at once. Unlike on a real machine, data that was not synced is kept.
    pub fn cut_power(&mut self) {
        let Some(mut machine) = self.machine.take() else {
            return;
        };
        let _ = kill(machine.leader, Signal::SIGKILL); // and with it all others of its namespace
        machine.nspawn.wait();
    }

    /// A command that runs `program` inside as root, without the environment of this test.
    pub fn command(&self, program: &str) -> Command {
        let machine = self.machine.as_ref().expect("the container is on");
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", machine.leader))
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"])
            .args(["--root", "--wd", "--"])
            .arg(program)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", "/root")
            .env("LC_ALL", "C")
            .env("SYSTEMD_PAGER", "")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Runs a shell line inside, and returns its output.
    ///
    /// # Panics
    ///
    /// If it fails. The message has all of its output.
    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        text_of(self.command("sh").args(["-ec", line]))
    }

    /// Runs a shell line inside that may fail.
    pub fn try_sh(&self, line: &str) -> Output {
        let mut command = self.command("sh");
        let output = command.args(["-ec", line]).stdin(Stdio::null()).output();
        output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// A property of a unit (`ActiveState`, `MainPID`), as systemd shows it now.
    #[track_caller]
    pub fn unit<T: FromStr>(&self, unit: &str, property: &str) -> T {
        let mut show = self.command("systemctl");
        let text = text_of(show.args(["show", "--value", "--property", property, unit]));
        text.parse()
            .unwrap_or_else(|_| panic!("{property} of {unit} is {text:?}"))
    }

    /// Waits until a unit's ActiveState is this.
    #[track_caller]
    pub fn wait_for_unit(&self, unit: &str, state: &str) {
        wait_until(&format!("{unit} to be {state}"), || {
            (self.unit::<String>(unit, "ActiveState") == state).then_some(())
        });
    }

    /// The units that failed.
    pub fn failed_units(&self) -> Vec<String> {
        let failed = self.sh("systemctl --failed --plain --no-legend");
        let unit = |line: &str| line.split(' ').next().map(str::to_owned);
        failed.lines().filter_map(unit).collect()
    }

    fn cgroup(&self) -> PathBuf {
        let name = self.folder.path().file_name().expect("a folder's name");
        self.folder.join("cgroup").join(name)
    }
}

impl Default for Container {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if thread::panicking() && self.machine.is_some() {
            let journal = self.try_sh("journalctl --boot --lines=300 --no-hostname");
            eprintln!("{}", String::from_utf8_lossy(&journal.stdout));
        }
        self.cut_power();
        remove_cgroup(&self.cgroup());
    }
}

/// The untouched system below all containers.
pub fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        bootstrapped("debian-system", &PACKAGES, "without machine id", |root| {
            // Each container boots for the first time, like a gateway from a new image.
            fs::write(root.join("etc/machine-id"), []).expect("an empty machine id");
        })
    })
}

/// The descendants of a process, parents first.
fn descendants(process: u32) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.unwrap_or_default();
    let children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    let below = children.flat_map(|child: u32| {
        let own = i32::try_from(child).map(Pid::from_raw);
        own.into_iter().chain(descendants(child))
    });
    below.collect()
}

fn is_reachable(leader: Pid) -> bool {
    Path::new(&format!("/proc/{leader}/root/run/systemd/private")).exists()
}

/// Only folders can be removed there; the kernel owns the files in them.
fn remove_cgroup(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
