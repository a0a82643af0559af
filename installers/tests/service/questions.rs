//! `wharf-installer audit` and `units` answer an administrator without wharf-inspect, and `audit` without a valid policy.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use serde_json::{Value, json};
use wharf_tests::{
    command::output_of,
    package::{Package, Script},
    rpm_root::is_dnf5,
    waiting::wait_until,
};

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

/// As an administrator runs it in this root, with a package whose first script waits. Opening the returned FIFO ends it.
fn another_at_work(machine: &Machine, mut installs: Command) -> (Child, PathBuf) {
    let gate = machine.root().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let child = installs.spawn().unwrap();
    let begun = machine.root().join("begun");
    wait_until("the other one at work", || begun.exists().then_some(()));
    (child, gate)
}

fn slow() -> Package {
    Package::new("slow", "1").script(Script::Preinst, "touch /begun; read line </gate")
}

/// The first lock that is held, with its holder.
fn held(audit: &Value) -> (String, String) {
    let mut locks = audit["locks"].as_array().unwrap().iter();
    let held = locks.find(|lock| !lock["holder"].is_null());
    let held = held.unwrap_or_else(|| panic!("{audit}"));
    let text = |key: &str| held[key].as_str().unwrap().to_owned();
    (text("path"), text("holder"))
}

#[test]
fn the_holder_of_the_lock_and_the_damage_of_an_rpm_are_told_with_a_command_that_repairs_it() {
    let machine = Machine::dnf();
    let root = machine.root();
    let rpm = |words: &[&str]| {
        let mut rpm = machine.place.rpm().command("rpm");
        rpm.args(words);
        rpm
    };
    let build = |package: &Package| {
        let built = package.as_rpm().build(&root);
        format!("/{}", built.file_name().unwrap().to_str().unwrap())
    };
    let sound = ask(&machine, &["audit"]).unwrap();
    assert_eq!(sound["format"], ".rpm");
    let version = sound["version"].as_str().unwrap();
    let [dnf, rpm_of_it] = match is_dnf5() {
        true => ["dnf 5.", " with rpm 6."],
        false => ["dnf 4.", " with rpm 4."],
    };
    assert!(
        version.starts_with(dnf) && version.contains(rpm_of_it),
        "{version}"
    );
    assert_eq!(
        (&sound["damage"], &sound["locks"][0]["holder"]),
        (&json!([]), &Value::Null)
    );

    let slow = build(&slow());
    let (mut other, gate) = another_at_work(&machine, rpm(&["-U", &slow]));
    let (path, holder) = held(&ask(&machine, &["audit"]).unwrap());
    assert!(path.ends_with("/var/lib/rpm/.rpm.lock"), "{path}");
    assert!(holder.ends_with(&format!("(rpm -U {slow})")), "{holder}");
    fs::write(gate, "go\n").unwrap();
    assert!(other.wait().unwrap().success());

    // Two versions, as an upgrade leaves them that was killed in a script.
    let [one, two] = ["1", "2"].map(|version| build(&Package::new("acme", version)));
    output_of(&mut rpm(&["-U", &one]));
    output_of(&mut rpm(&["-i", "--force", &two]));
    let found = ask(&machine, &["audit"]).unwrap();
    assert_eq!(found["damage"].as_array().unwrap().len(), 1, "{found}");
    let remedy = found["remedy"].as_str().unwrap();
    let command = remedy.split('`').nth(1).unwrap().replace("FILE", &two);
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[0], "rpm", "{remedy}");
    output_of(&mut rpm(&words[1..]));
    assert_eq!(ask(&machine, &["audit"]).unwrap()["damage"], json!([]));
}

#[test]
fn damage_and_its_remedies_are_told_without_wharf_inspect_and_whatever_is_wrong_with_the_policy() {
    let machine = Machine::debian();
    let root = machine.root();
    without_inspect(&root);
    let policy = root.join("etc/wharfd/installer.toml");
    fs::set_permissions(policy, fs::Permissions::from_mode(0o600)).unwrap();
    machine.programs();
    let remedy = "run `dpkg --configure -a`, and `dpkg --install FILE` for a package that must be reinstalled";
    let mut sound = ask(&machine, &["audit"]).unwrap();
    let version = sound["version"].as_str().unwrap();
    assert!(
        version.starts_with("apt ") && version.contains(" with dpkg 1."),
        "{version}"
    );
    assert_eq!(
        (&sound["format"], &sound["remedy"]),
        (&json!(".deb"), &json!(remedy))
    );
    assert_eq!(sound["damage"], json!([]));
    // Only root sees who holds a lock, and which files are kept.
    let locks = sound["locks"].take();
    assert_eq!(sound["kept"].take(), json!([]));
    assert_eq!(audit_as_nobody(&machine), Ok(sound));
    assert!(
        locks
            .as_array()
            .unwrap()
            .iter()
            .all(|lock| lock["holder"].is_null()),
        "{locks}"
    );

    let slow = slow().build(&root);
    let mut install = machine.place.debian().command("dpkg");
    install
        .arg("--install")
        .arg(Path::new("/").join(slow.file_name().unwrap()));
    let (mut other, gate) = another_at_work(&machine, install);
    let (path, holder) = held(&ask(&machine, &["audit"]).unwrap());
    assert!(path.ends_with("/var/lib/dpkg/lock-frontend"), "{path}");
    assert!(holder.contains("(dpkg --install /slow_1"), "{holder}");
    fs::write(gate, "go\n").unwrap();
    assert!(other.wait().unwrap().success());

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
        assert!(damage.contains("to work: acme a package"), "{found}");
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
