//! The device is the truth: what somebody changed on it by hand.

use wharf_software::{Event, InstanceRecord, UpdateResult, record::StoredProgress::Running};

use crate::{cells::*, steps::*};

#[test]
fn removed_by_hand_is_initial_0_with_the_reason_in_16() {
    let made = then(installed(true), Event::DeviceHas(None));
    assert_eq!(at(&made), (0, 0));
    assert_eq!(reason(&made), "10: nginx 1.0 was removed on the device");
    assert_eq!(ids(installed(true), &made), [0, 1, 16, 12, 9, 7]);
    let made = then(with_software(initial()), Event::DeviceHas(None));
    assert_eq!(reason(&made), "10: nginx 1.0 was removed on the device");
    assert_eq!(left(&made).software(), None);
}

#[test]
fn removed_by_hand_before_its_upgrade_does_not_disturb_the_upgrade() {
    let lost = ended_with(UpdateResult::ConnectionLost, "cut", initial());
    for record in [lost, pulling(Running), pushing(), downloaded(), delivered()] {
        let before = with_software(record.clone());
        let made = then(before.clone(), Event::DeviceHas(None));
        assert_eq!(InstanceRecord::from(left(&made)), record);
        let upgraded = then(before, Event::DeviceHas(Some(found("1.1", false))));
        let known = left(&upgraded).in_place().unwrap();
        assert_eq!((known.version.as_str(), known.was_active), ("1.1", true));
    }
}

#[test]
fn upgraded_by_hand_is_installed_with_a_new_version() {
    let made = then(installed(true), Event::DeviceHas(Some(found("1.1", true))));
    assert_eq!(at(&made), (4, 2));
    assert_eq!(left(&made).pkg_version(), "1.1");
    assert_eq!(ids(installed(true), &made), [1, 16]);
}

#[test]
fn damaged_by_hand_is_not_removed_and_is_said_in_16_until_it_is_repaired() {
    let half = || Event::DeviceHas(Some(damaged("1.0", "half-configured")));
    let whole = || Event::DeviceHas(Some(found("1.0", false)));
    for (before, begin, healthy) in [
        (installed(false), "40: ", "nginx 1.0 is installed"),
        (
            with_stopped(initial()),
            "10: ready for a package; ",
            "nginx 1.0 is in place and does not run",
        ),
    ] {
        let made = then(before.clone(), half());
        let words = "nginx 1.0 is half-configured: repair it on the device (`wharfctl doctor` says how), \
                     or install it again";
        assert_eq!(reason(&made), format!("{begin}{words}"));
        assert_eq!(ids(before.clone(), &made), [16]);
        let now = InstanceRecord::from(left(&made));
        unchanged(now.clone(), half());
        let repaired = then(now.clone(), whole());
        assert_eq!(reason(&repaired), format!("{begin}{healthy}"));
        assert_eq!(ids(now, &repaired), [16]);
    }
    let made = then(
        installed(false),
        Event::DeviceHas(Some(damaged("1.1", "unpacked"))),
    );
    assert_eq!(at(&made), (4, 2));
    assert_eq!(left(&made).pkg_version(), "1.1");
    let made = then(
        with_software(delivered()),
        Event::DeviceHas(Some(damaged("1.1", "half-installed"))),
    );
    assert_eq!(left(&made).in_place().unwrap().version.as_str(), "1.1");
}

#[test]
fn damage_outweighs_an_activation_that_failed_and_not_a_removal() {
    for (result, said) in [
        (
            UpdateResult::Installed,
            "40: nginx 1.0 is half-configured: ",
        ),
        (UpdateResult::UninstallationFailure, "40: it failed"),
    ] {
        let before = ended_with(result, "it failed", installed(false));
        let half = damaged("1.0", "half-configured");
        let made = then(before.clone(), Event::DeviceHas(Some(half)));
        assert!(reason(&made).starts_with(said), "{}", reason(&made));
        let made = then(
            InstanceRecord::from(left(&made)),
            Event::DeviceHas(Some(found("1.0", false))),
        );
        assert_eq!(InstanceRecord::from(left(&made)), before);
    }
}

#[test]
fn damaged_software_stays_so_until_its_upgrade() {
    let made = then(half_configured(installed(true)), uninstall("1"));
    assert_eq!(at(&made), (0, 0));
    assert!(reason(&made).starts_with("10: ready for a package; nginx 1.0 is half-configured: "));
    let upgrade = half_configured(with_software(installing()));
    let made = then(upgrade, ended(None, Some(found("2.0", false))));
    assert_eq!(reason(&made), "40: nginx 2.0 is installed");
}

#[test]
fn started_or_stopped_by_hand_is_followed_by_12() {
    for active in [true, false] {
        let device = Event::DeviceHas(Some(found("1.0", !active)));
        let made = then(installed(active), device);
        assert_eq!(left(&made).activation_state(), !active);
        assert_eq!(ids(installed(active), &made), [12]);
        unchanged(
            installed(active),
            Event::DeviceHas(Some(found("1.0", active))),
        );
    }
}

#[test]
fn started_by_hand_after_a_failed_activation_clears_the_reason() {
    let noted = ended_with(
        UpdateResult::Installed,
        "nginx.service failed",
        installed(false),
    );
    let made = then(noted.clone(), Event::DeviceHas(Some(found("1.0", true))));
    assert_eq!(reason(&made), "40: nginx 1.0 is installed");
    let made = then(noted, Event::DeviceHas(Some(found("1.1", false))));
    assert_eq!(reason(&made), "40: nginx.service failed");
    let kept = ended_with(
        UpdateResult::UninstallationFailure,
        "prerm failed",
        installed(false),
    );
    let made = then(kept, Event::DeviceHas(Some(found("1.0", true))));
    assert_eq!(at(&made), (4, 59));
}

#[test]
fn the_device_is_looked_at_again_when_the_job_is_over_and_only_about_what_is_in_place() {
    for cell in cells() {
        let mut other = found("1.1", false);
        other.name = name("apache2");
        let device = if cell.is_busy() || cell.software().is_none() {
            vec![None, Some(found("1.1", false)), Some(other)]
        } else {
            vec![Some(other)]
        };
        for device in device {
            unchanged(InstanceRecord::from(&cell), Event::DeviceHas(device));
        }
    }
}
