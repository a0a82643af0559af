//! `wharf-installer audit` and `units` answer an administrator without wharf-inspect, and `audit` without a valid policy.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use serde_json::{Value, json};
use wharf_tests::package::Package;

use crate::machine::Machine;

const NOBODY: &str = "65534";

/// The answer to this question of root, or the error.
fn ask(machine: &Machine, words: &[&str]) -> Result<Value, String> {
    let program = machine.program("wharf-installer");
    answer(
        Command::new(program)
            .arg("--root")
            .arg(machine.root())
            .args(words),
    )
}

fn answer(command: &mut Command) -> Result<Value, String> {
    let output = command.output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

/// Takes the user of wharf-inspect from the root.
fn without_inspect(root: &Path) {
    let passwd = root.join("etc/passwd");
    let users = fs::read_to_string(&passwd).unwrap();
    let rest = users
        .lines()
        .filter(|line| !line.starts_with("wharf-inspect:"));
    fs::write(
        passwd,
        rest.map(|line| format!("{line}\n")).collect::<String>(),
    )
    .unwrap();
}

/// The answer to an ordinary user.
fn audit_as_nobody(machine: &Machine) -> Result<Value, String> {
    let mut command = Command::new("chroot");
    command.arg(format!("--userspec={NOBODY}:{NOBODY}"));
    command.arg(machine.root());
    answer(command.args(["/programs/wharf-installer", "audit"]))
}

#[test]
fn damage_and_its_remedies_are_told_without_wharf_inspect_and_whatever_is_wrong_with_the_policy() {
    let machine = Machine::debian();
    let root = machine.root();
    without_inspect(&root);
    let policy = root.join("etc/wharfd/installer.toml");
    fs::set_permissions(policy, fs::Permissions::from_mode(0o600)).unwrap();
    machine.programs();
    let sound = json!({
        "damage": [],
        "list_damage": "dpkg --audit",
        "finish_work": "dpkg --configure -a",
    });
    assert_eq!(ask(&machine, &["audit"]).as_ref(), Ok(&sound));
    assert_eq!(audit_as_nobody(&machine), Ok(sound));

    let deb = Package::new("acme", "1").build(&root);
    let deb = Path::new("/").join(deb.file_name().unwrap());
    let mut unpack = machine.place.debian().command("dpkg");
    let unpacked = unpack.arg("--unpack").arg(deb).output().unwrap();
    assert!(unpacked.status.success(), "{unpacked:?}");
    let error = ask(&machine, &["units", "acme"]).unwrap_err();
    assert!(error.contains("no service manager runs here"), "{error}");
    for line in ["", "allow-unsinged = true\n"] {
        machine.policy(line);
        let found = ask(&machine, &["audit"]).unwrap();
        let damage = found["damage"].to_string();
        assert!(damage.contains("acme                 a package"), "{found}");
        assert_eq!(found["finish_work"], "dpkg --configure -a");
    }
    // dpkg checks for another dpkg at work, and only root may.
    let error = audit_as_nobody(&machine).unwrap_err();
    assert!(error.contains("lock file"), "{error}");
}

#[test]
fn a_package_manager_that_cannot_answer_says_why() {
    let machine = Machine::debian();
    fs::write(machine.root().join("var/lib/dpkg/status"), "no field\n").unwrap();
    let error = ask(&machine, &["audit"]).unwrap_err();
    assert!(
        error.starts_with("wharf-installer: dpkg --audit"),
        "{error}"
    );
}
