//! The time by which signatures are judged, on a device with files of the future.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use wharf_frames::{Cause, Step, calendar, installer::InstallerReply};
use wharf_tests::{programs::workspace, waiting::wait_until};

use crate::machine::{Deb, Machine, Signer, perform, refused};

/// The clock was ten years ahead once, during a job and while the package manager wrote its database.
#[test]
fn a_clock_that_was_ahead_expires_nothing_once_the_kernel_calls_it_synchronised() {
    let mut machine = Machine::simulated().started();
    let certificate = machine.keys.valid_for(Signer::Vendor, "5y");
    fs::write(
        machine.root().join("etc/wharfd/keys/vendor.asc"),
        certificate,
    )
    .unwrap();
    let jobs = machine.root().join("var/lib/wharf-installer/jobs");
    let database = machine.root().join("var/lib/wharf-simulated/history");
    fs::create_dir_all(database.parent().unwrap()).unwrap();
    fs::write(&database, "").unwrap();
    let built = machine.build(&Deb::new("acme", "1"), Some(Signer::Vendor));
    set_modified(&jobs, in_years(10));
    let unsynchronised = machine.tell(UNSYNCHRONISED);
    let refused = refused(machine.put(machine.stage_id(), &built));
    assert_eq!(refused, Cause::Expired);

    fs::remove_file(unsynchronised).unwrap();
    let synchronised = machine.tell(SYNCHRONISED);
    let later = in_years(11);
    set_modified(&database, later);
    let stage = machine.stage_id();
    let sealed = machine.put(stage, &built);
    assert!(matches!(sealed, InstallerReply::Sealed(_)), "{sealed:?}");
    let day = calendar::day(later.duration_since(UNIX_EPOCH).unwrap().as_secs());
    let told = format!("{} is of {day}", database.display());
    machine.installer().errors().wait_for(&told);
    // The time of our folder is set back; the database is not ours.
    assert!(modified(&jobs) <= SystemTime::now());
    assert!(modified(&database) > in_years(10));

    // The job's process asks once more. After the next write of the database the kernel's answer is not needed.
    set_modified(&database, SystemTime::now());
    fs::remove_file(synchronised).unwrap();
    machine.tell(UNSYNCHRONISED);
    let operation = machine.operation();
    let outcome = machine.run(&perform(operation, Step::Install(stage)));
    assert_eq!(outcome.failure, None);
}

/// In the unit's sandbox, by the answer of the real kernel.
#[test]
fn the_installers_unit_may_ask_the_kernel_whether_the_clock_is_synchronised() {
    let mut machine = Machine::booted();
    let built = machine.build(&Deb::new("acme", "1"), Some(Signer::Vendor));
    for unit in ["wharf-installer.service", "wharf-installer.socket"] {
        let shipped = workspace().join("systemd").join(unit);
        let place = machine.root().join("usr/lib/systemd/system").join(unit);
        fs::copy(shipped, place).unwrap();
    }
    let container = machine.container();
    container.sh("systemctl stop wharf-installer");
    container.sh("systemctl daemon-reload && systemctl start wharf-installer.socket");
    container.sh("touch -d '+10 years' /var/lib/wharf-installer/jobs");
    // The certificate never expires: both clocks accept it.
    let sealed = machine.put(machine.stage_id(), &built);
    assert!(matches!(sealed, InstallerReply::Sealed(_)), "{sealed:?}");
    let told = wait_until("a line about the clock", || {
        let journal = machine
            .container()
            .sh("journalctl --output=cat --unit=wharf-installer");
        let mut lines = journal.lines();
        let told = lines.find(|line| line.contains("the time of signatures is in doubt"));
        told.map(str::to_owned)
    });
    let words = ["calls it synchronised", "does not call it synchronised"];
    assert!(words.iter().any(|words| told.contains(words)), "{told}");
}

/// Simulated answers of the kernel about its clock.
const SYNCHRONISED: &str = "clock-synchronised";
pub(crate) const UNSYNCHRONISED: &str = "clock-unsynchronised";

fn in_years(years: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(years * 365 * 86400)
}

fn set_modified(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_modified(time).unwrap();
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}
