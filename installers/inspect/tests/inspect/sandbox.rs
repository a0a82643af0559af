//! The rights of wharf-inspect when it reads the first byte, seen from outside, and the effect of a wharf-inspect that
//! fails.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{
        signal::Signal,
        socket::{AddressFamily, SockFlag, SockType, socketpair},
    },
};
use wharf_frames::{
    Cause, Failure,
    inspect::{FINDING_LENGTH, Finding, Verified},
    packed::{Framed, PackedFile},
};
use wharf_installers::{
    inspector::{InspectError, Inspector, Terms},
    keyring::Keyring,
};

use crate::fixture::{Bench, JUDGED_AT, NOBODY, Recipe, broke, refused};

/// A wharf-inspect that waits for a question.
struct Waiting {
    child: Child,
    _socket: OwnedFd,
}

impl Waiting {
    fn start(bench: &Bench) -> Self {
        let package = File::open(Recipe::default().build(bench)).unwrap();
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .unwrap();
        let child = Command::new(bench.path("wharf-inspect"))
            .stdin(package)
            .stdout(theirs)
            .stderr(Stdio::null())
            .gid(NOBODY)
            .uid(NOBODY)
            .spawn()
            .unwrap();
        let waiting = Self {
            child,
            _socket: ours,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while waiting.status().get("Seccomp").map(String::as_str) != Some("2") {
            assert!(
                Instant::now() < deadline,
                "never shut in: {:?}",
                waiting.status()
            );
            thread::yield_now();
        }
        waiting
    }

    fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.child.id())
    }

    fn status(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.proc("status")).unwrap();
        let pair = |line: &str| {
            line.split_once(":\t")
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
        };
        text.lines().filter_map(pair).collect()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn has_no_privilege_when_it_waits_for_the_question() {
    let bench = Bench::new();
    let waiting = Waiting::start(&bench);
    let status = waiting.status();
    for (field, expected) in [
        ("Uid", "65534\t65534\t65534\t65534"),
        ("Gid", "65534\t65534\t65534\t65534"),
        ("Groups", " "),
        ("CapInh", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("Threads", "1"),
    ] {
        assert_eq!(status[field].trim(), expected.trim(), "{field}");
    }
    let limits = fs::read_to_string(waiting.proc("limits")).unwrap();
    for limit in [
        "Max file size",
        "Max core file size",
        "Max processes",
        "Max open files",
    ] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
        let values: Vec<_> = line[limit.len()..].split_whitespace().take(2).collect();
        assert_eq!(values, ["0", "0"], "{limit}");
    }
}

#[test]
fn a_large_package_ends_by_the_callers_clock_and_not_by_processor_time() {
    let bench = Bench::new();
    let waiting = Waiting::start(&bench);
    let limits = fs::read_to_string(waiting.proc("limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max cpu time"));
    let seconds = line.unwrap().split_whitespace().nth(3).unwrap();
    // 120 s for the content, as long again for the answer behind it, and a second for each MiB of 8 GiB.
    let longest = 2 * 120 + 8 * 1024;
    assert!(seconds.parse::<u64>().unwrap() > longest, "{line:?}");
}

#[test]
fn is_ended_before_any_other_program_where_memory_is_short() {
    let bench = Bench::new();
    let waiting = Waiting::start(&bench);
    let score = fs::read_to_string(waiting.proc("oom_score_adj")).unwrap();
    assert_eq!(score.trim(), "900");
}

#[test]
fn has_no_descriptor_but_its_three() {
    let bench = Bench::new();
    let left_open = File::open("/etc/passwd").unwrap();
    fcntl(&left_open, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let waiting = Waiting::start(&bench);
    let mut open: Vec<_> = fs::read_dir(waiting.proc("fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
}

#[test]
fn ends_with_whoever_started_it() {
    let bench = Bench::new();
    let mut waiting = thread::scope(|scope| scope.spawn(|| Waiting::start(&bench)).join()).unwrap();
    // The thread has ended, which the kernel treats as the end of the parent. The socket is still open.
    let status = waiting.child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
}

#[test]
fn does_not_run_as_root() {
    let bench = Bench::new();
    let package = File::open(Recipe::default().build(&bench)).unwrap();
    for (uid, gid) in [(0, NOBODY), (NOBODY, 0)] {
        let inspector = Inspector {
            uid,
            gid,
            ..bench.inspector()
        };
        let failure = refused(
            inspector.describe(package.as_fd()).map_err(Failure::from),
            Cause::Unavailable,
        );
        assert!(failure.detail.as_str().contains("root"), "{failure}");
    }
}

/// A script in the place of wharf-inspect.
fn impostor(bench: &Bench, script: &str) -> Inspector {
    Inspector {
        program: bench.place_script("impostor", &format!("#!/bin/sh\n{script}\n")),
        ..bench.inspector()
    }
}

#[test]
fn a_run_that_crashes_or_answers_anything_else_is_malformed() {
    let bench = Bench::new();
    let package = File::open(Recipe::default().build(&bench)).unwrap();
    let other = Finding::Verified(Verified {
        digest: [0; 32],
        length: 0,
        signed: None,
        bundle: false,
    });
    fs::write(bench.path("other"), other.to_packet().unwrap()).unwrap();
    let other = format!(
        "dd bs={FINDING_LENGTH} if={} 2>&-",
        bench.path("other").display()
    );
    for script in [
        "exit 0",
        "exit 1",
        "kill -SEGV $$",
        "kill -SYS $$",
        "printf hello",
        "dd if=/dev/zero bs=2048 count=1 2>&-",
        "dd if=/dev/zero bs=2049 count=1 2>&-",
        &other,
    ] {
        let got = impostor(&bench, script).describe(package.as_fd());
        assert!(
            matches!(&got, Err(InspectError::Refused(failure)) if failure.cause == Cause::Malformed && broke(failure)),
            "{script}: expected Malformed, got {got:?}"
        );
    }
}

#[test]
fn a_run_that_writes_anything_but_the_files_that_it_counts_is_malformed() {
    let bench = Bench::new();
    let package = File::open(Recipe::default().build(&bench)).unwrap();
    let one = Finding::Files(1).to_packet().unwrap();
    fs::write(bench.path("one"), one).unwrap();
    let one = bench.path("one").display().to_string();
    let file = |path: &str| PackedFile {
        path: path.to_owned(),
        target: None,
        content: Vec::new().into(),
    };
    for (name, path) in [("file", "a"), ("parent", "a/../b")] {
        fs::write(bench.path(name), file(path).to_frame().unwrap()).unwrap();
    }
    for (script, is_one) in [
        ("cat file >&2", true),
        (":", false),
        ("cat file file >&2", false),
        ("cat parent >&2", false),
        ("printf x >&2", false),
        ("head -c 4 /dev/zero >&2", false),
        ("yes >&2", false),
        ("cat file >&2; exit", false),
    ] {
        let folder = bench.path("").display().to_string();
        let script = format!("cd {folder}; {script}; dd bs={FINDING_LENGTH} if={one} 2>&-");
        let got = impostor(&bench, &script).files(package.as_fd(), &[]);
        match got {
            Ok(files) if is_one => assert_eq!(files, [file("a")], "{script}"),
            Err(InspectError::Refused(failure)) if !is_one => {
                assert!(
                    failure.cause == Cause::Malformed && broke(&failure),
                    "{script}: {failure}"
                );
            }
            other => panic!("{script}: {other:?}"),
        }
    }
}

#[test]
fn a_run_that_is_ended_from_outside_says_nothing_about_the_package() {
    let bench = Bench::new();
    let package = File::open(Recipe::default().build(&bench)).unwrap();
    for signal in ["KILL", "TERM", "XCPU"] {
        let got = impostor(&bench, &format!("kill -{signal} $$")).describe(package.as_fd());
        assert!(
            matches!(got, Err(InspectError::Broke(_))),
            "{signal}: {got:?}"
        );
    }
}

/// read(2) of a folder fails like that of a broken disk.
#[test]
fn a_package_that_cannot_be_read_is_not_judged() {
    let (bench, _) = Bench::with_signer();
    let unreadable = File::open(bench.path("keys")).unwrap();
    let keyring = Keyring::read(&bench.path("keys")).unwrap();
    let terms = Terms {
        signature: None,
        keyring: &keyring,
        at: JUDGED_AT,
        allow_unsigned: true,
    };
    let inspector = bench.inspector();
    let error = InspectError::Broke("Is a directory".to_owned());
    let verified = inspector.verify(unreadable.as_fd(), &terms);
    assert_eq!(verified, Err(error.clone()));
    assert_eq!(inspector.describe(unreadable.as_fd()), Err(error));
}

#[test]
fn a_run_that_takes_too_long_is_ended() {
    let bench = Bench::new();
    let package = File::open(Recipe::default().build(&bench)).unwrap();
    let inspector = Inspector {
        time_limit: Duration::from_millis(50),
        ..impostor(&bench, "exec sleep 600")
    };
    let begun = Instant::now();
    let too_long = InspectError::Broke("it took too long".to_owned());
    assert_eq!(inspector.describe(package.as_fd()), Err(too_long.clone()));
    assert_eq!(inspector.files(package.as_fd(), &[]), Err(too_long));
    assert!(
        begun.elapsed() < Duration::from_secs(300),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_program_that_is_not_there_is_our_own_fault() {
    let bench = Bench::new();
    let package = File::open(Recipe::default().build(&bench)).unwrap();
    let inspector = Inspector {
        program: bench.path("missing"),
        ..bench.inspector()
    };
    let failure = refused(
        inspector.describe(package.as_fd()).map_err(Failure::from),
        Cause::Unavailable,
    );
    assert!(failure.detail.as_str().contains("missing"), "{failure}");
}
