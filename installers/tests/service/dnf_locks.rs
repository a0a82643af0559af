//! Locks that another program holds: rpm, dnf 4, or dnf 5 if `WHARF_DNF5` is set.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use wharf_frames::Cause;
use wharf_managers::Supervisor;
use wharf_root::Change;
use wharf_tests::{rpm_root::is_dnf5, waiting::wait_until};

use crate::{
    contract::{Bench, PLAIN, QUIET, install_alone},
    dnf::{bench, bench_that_waits, install, refused, remove, write},
    machine::{Deb, Script},
};

/// A program that installs another package, and waits in the middle until its gate is opened.
struct Other {
    child: Child,
    gate: PathBuf,
}

/// Touches `begun`, and waits at `gate`.
const WAITS: &str = "touch /begun; read line </gate";

/// The commands of an administrator.
fn programs() -> [[&'static str; 3]; 2] {
    let dnf = if is_dnf5() { "dnf5" } else { "dnf" };
    [["rpm", "-U", "-v"], [dnf, "-y", "install"]]
}

impl Other {
    fn starts(bench: &Bench, command: &mut Command) -> Self {
        let root = bench.place.path();
        let gate = root.join("gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let child = command.spawn().unwrap();
        wait_until("the other program", || {
            root.join("begun").exists().then_some(())
        });
        Self { child, gate }
    }

    /// It waits in the %pre of its package.
    fn in_a_script(bench: &Bench, [program, words @ ..]: [&str; 3]) -> Self {
        let deb = Deb::new("slow", "1").script(Script::Preinst, WAITS);
        let file = bench.file(&deb, "slow", "1");
        fs::copy(&file.path, bench.place.path().join("slow.rpm")).unwrap();
        let mut command = bench.place.rpm().command(program);
        Self::starts(bench, command.args(words).arg("/slow.rpm"))
    }

    fn goes_on(&self) {
        fs::write(&self.gate, "go\n").unwrap();
    }

    /// The exit code of dnf 5 may be that of a plugin.
    fn ends_well(mut self, bench: &Bench) {
        self.child.wait().unwrap();
        assert_eq!(bench.version("slow").as_deref(), Some("1"));
    }
}

/// Whether this process has the file open.
fn is_open(path: &Path) -> bool {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let mut open = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    open.any(|open| open == path)
}

#[test]
fn a_lock_that_another_holds_is_told_and_waited_for() {
    for program in programs() {
        let bench = bench_that_waits(Duration::from_millis(200), Duration::from_secs(60));
        let other = Other::in_a_script(&bench, program);
        let file = bench.plain("acme", "1");
        let words = format!("{} /slow.rpm)", program.join(" "));
        refused(install(&bench, &file), Cause::Locked, &words);
        assert_eq!(bench.found("acme"), None);
        other.goes_on();
        other.ends_well(&bench);

        let bench = bench_that_waits(Duration::from_secs(60), Duration::from_secs(60));
        let other = Other::in_a_script(&bench, program);
        let file = bench.plain("acme", "1");
        let lock = bench.place.path().join("var/lib/rpm/.rpm.lock");
        let installed = thread::scope(|scope| {
            let ours = scope.spawn(|| install(&bench, &file));
            wait_until("a look at the lock", || is_open(&lock).then_some(()));
            other.goes_on();
            ours.join().unwrap()
        });
        assert_eq!(installed, Ok(Change::Changed));
        other.ends_well(&bench);
    }
}

/// Mounts the processes of this machine, by which dnf 4 knows the holder of its lock.
fn with_processes(bench: &Bench, test: impl FnOnce()) {
    let proc = bench.place.path().join("proc");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("proc"), &proc, Some("proc"), flags, None::<&str>).unwrap();
    test();
    nix::mount::umount(&proc).unwrap();
}

#[test]
fn a_dnf_that_has_its_own_lock_and_not_yet_that_of_rpm_is_told_and_waited_for() {
    if is_dnf5() {
        return; // it has no such file
    }
    let plugin = "import dnf, subprocess, sys\n\
        class Slow(dnf.Plugin):\n    name = 'slow'\n    def pre_transaction(self):\n        \
        if '/slow.rpm' in sys.argv:\n            subprocess.run(['sh', '-c', 'WAITS'])\n";
    let begins = |bench: &Bench| {
        let path = "usr/lib/python3/dist-packages/dnf-plugins/slow.py";
        write(bench, path, &plugin.replace("WAITS", WAITS));
        let file = bench.plain("slow", "1");
        fs::copy(&file.path, bench.place.path().join("slow.rpm")).unwrap();
        let mut command = bench.place.rpm().command("dnf");
        Other::starts(bench, command.args(["-y", "install", "/slow.rpm"]))
    };
    let bench = bench_that_waits(Duration::from_secs(60), Duration::from_secs(60));
    with_processes(&bench, || {
        let other = begins(&bench);
        let file = bench.plain("acme", "1");
        let looks = AtomicU32::new(0);
        let supervisor = Supervisor {
            is_wanted: &|| {
                // The other one goes on once ours has waited, and not before ours can have taken the lock of rpm.
                if looks.fetch_add(1, Ordering::Relaxed) == 2 {
                    other.goes_on();
                }
                true
            },
            ..QUIET
        };
        let installed = install_alone(bench.manager(), &file, PLAIN, supervisor);
        assert_eq!(installed, Ok(Change::Changed));
        other.ends_well(&bench);
    });
    let bench = bench_that_waits(Duration::from_millis(200), Duration::from_secs(60));
    with_processes(&bench, || {
        let other = begins(&bench);
        let file = bench.plain("acme", "1");
        let words = "dnf -y install /slow.rpm)";
        refused(install(&bench, &file), Cause::Locked, words);
        other.goes_on();
        other.ends_well(&bench);
    });
}

#[test]
fn dnfs_own_lock_holds_only_if_a_dnf_has_it() {
    if is_dnf5() {
        return; // it has no such file
    }
    let bench = bench();
    let proc = bench.place.path().join("proc");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("proc"), &proc, Some("proc"), flags, None::<&str>).unwrap();
    for (content, version) in [("1", "1"), ("\0\0\0\0", "2")] {
        write(&bench, "var/lib/dnf/rpmdb_lock.pid", content);
        let file = bench.plain("acme", version);
        assert_eq!(install(&bench, &file), Ok(Change::Changed), "{content:?}");
    }
    let mut dnf = Command::new("sleep")
        .arg0("dnf")
        .arg("1000")
        .spawn()
        .unwrap();
    write(&bench, "var/lib/dnf/rpmdb_lock.pid", &dnf.id().to_string());
    refused(remove(&bench, "acme"), Cause::Locked, &dnf.id().to_string());
    dnf.kill().unwrap();
    dnf.wait().unwrap();
    assert_eq!(remove(&bench, "acme"), Ok(Change::Changed));
    nix::mount::umount(&proc).unwrap();
}
