//! Files that only root may write: wharf-installer refuses them if others can.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

use wharf_frames::{
    Cause,
    installer::{InstallerReply, InstallerRequest},
};
use wharf_tests::scratch_root::WHARFD;

use crate::machine::{Deb, Machine, Signer};

type Spoil = fn(&Path);

const WRONG: [(&str, Spoil); 3] = [
    ("chown root", |path| {
        chown(path, Some(WHARFD.id), None).unwrap();
    }),
    ("chmod go-w", |path| mode(path, 0o020)),
    ("chmod go-w", |path| mode(path, 0o002)),
];

/// Adds these bits.
fn mode(path: &Path, bits: u32) {
    let before = fs::metadata(path).unwrap().permissions().mode();
    fs::set_permissions(path, Permissions::from_mode(before | bits)).unwrap();
}

#[test]
fn a_folder_or_policy_that_others_may_write_ends_the_service_with_the_command_that_helps() {
    for path in [
        "etc/wharfd/installer.toml",
        "etc/wharfd",
        "var/lib/wharf-installer",
        "var/lib/wharf-installer/staged",
        "var/lib/wharf-installer/jobs",
        "var/lib/wharf-installer/ledger",
        "run/wharf-installer",
    ] {
        for (command, spoil) in WRONG {
            let mut machine = Machine::simulated().started();
            machine.installer().kill();
            spoil(&machine.root().join(path));
            let error = refusal_to_start(&machine);
            assert!(
                error.contains(path) && error.contains(command),
                "{path}: {error:?} does not say {command:?}"
            );
        }
    }
}

#[test]
fn wharf_inspect_that_shares_a_user_or_group_with_wharfd_is_not_started() {
    for line in ["990:991", "991:990"] {
        let machine = Machine::simulated();
        let passwd = machine.root().join("etc/passwd");
        let text = fs::read_to_string(&passwd).unwrap();
        fs::write(
            passwd,
            text.replace(
                "wharf-inspect:x:991:991",
                &format!("wharf-inspect:x:{line}"),
            ),
        )
        .unwrap();
        let error = refusal_to_start(&machine);
        assert!(error.contains("share a UID or a GID"), "{line}: {error}");
    }
}

/// The error of a wharf-installer that does not start.
fn refusal_to_start(machine: &Machine) -> String {
    let installer = env!("CARGO_BIN_EXE_wharf-installer");
    let mut command = Command::new("timeout");
    command
        .args(["60", installer, "--root"])
        .arg(machine.root());
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!matches!(output.status.code(), Some(0 | 124)), "{error}");
    error
}

#[test]
fn a_key_that_others_may_write_is_not_used() {
    for (command, spoil) in WRONG {
        for of_folder in [false, true] {
            let machine = Machine::simulated().started();
            let built = machine.build(&Deb::new("acme", "1"), Some(Signer::Vendor));
            let keys = machine.root().join("etc/wharfd/keys");
            let key = fs::read_dir(&keys).unwrap().next().unwrap().unwrap();
            spoil(&if of_folder { keys } else { key.path() });
            let stage = machine.stage_id();
            match machine.put(stage, &built) {
                InstallerReply::NotNow(failure) => {
                    assert_eq!(failure.cause, Cause::Unavailable);
                    assert!(failure.detail.as_str().contains(command), "{failure}");
                }
                other => panic!("{command}: {other:?}"),
            }
            assert_eq!(
                machine.ask(&InstallerRequest::Discard { stage }),
                InstallerReply::Done
            );
        }
    }
}
