//! Who gets what on a gateway: each unit as hardened as it can be, and nothing for those whom it does not concern.

use crate::booted::Booted;

/// Not one of these may be read or connected to.
const SECRETS: [&str; 9] = [
    "/etc/wharfd/wharfd.toml",
    "/etc/wharfd/installer.toml",
    "/etc/wharfd/keys",
    "/var/lib/wharfd",
    "/var/lib/wharfd/wharfd.db",
    "/var/lib/wharf-installer",
    "/var/lib/wharf-installer/jobs",
    "/run/wharf-installer",
    "/run/wharf-fetch.sock",
];

#[test]
fn each_unit_is_hardened_and_other_users_get_nothing() {
    let gateway = Booted::registered();
    gateway.begin_install(&wharf_tests::package::Package::new("hello", "1.0-1"));
    gateway.wait_for("/9/0", "4/2");
    other_users_get_nothing(&gateway);
    exposure_is_at_most(&gateway, "wharfd.service", 1.5);
    exposure_is_at_most(&gateway, "wharf-fetch@.service", 1.5);
    exposure_is_at_most(&gateway, "wharf-installer.service", 3.5);
}

/// `→ Overall exposure level for wharfd.service: 1.2 OK`
fn exposure_is_at_most(gateway: &Booted, unit: &str, limit: f64) {
    let security = gateway
        .container
        .sh(&format!("systemd-analyze security --no-pager {unit}"));
    let last = security.lines().last().unwrap_or_default();
    let level = last
        .split(": ")
        .nth(1)
        .and_then(|level| level.split(' ').next());
    let level: f64 = level.and_then(|level| level.parse().ok()).expect("a level");
    assert!(
        level <= limit,
        "{unit} is exposed {level}, and may {limit}:\n{security}"
    );
}

fn other_users_get_nothing(gateway: &Booted) {
    let container = &gateway.container;
    container.sh("useradd --system somebody; test -S /run/wharf-fetch.sock; test -S /run/wharf-installer.sock");
    for user in ["somebody", "wharf-fetch", "wharf-inspect"] {
        let as_user = format!("setpriv --reuid={user} --regid={user} --clear-groups");
        for path in SECRETS {
            let tried = container.try_sh(&format!("{as_user} test -r {path}"));
            assert!(!tried.status.success(), "{user} may read {path}");
        }
        for socket in ["wharf-fetch.sock", "wharf-installer.sock"] {
            let writable = container.try_sh(&format!("{as_user} test -w /run/{socket}"));
            assert!(!writable.status.success(), "{user} may connect to {socket}");
        }
    }
    for path in ["/var/lib/wharf-installer", "/etc/wharfd/wharfd.toml.d"] {
        let as_wharfd = "setpriv --reuid=wharfd --regid=wharfd --clear-groups";
        let tried = container.try_sh(&format!("{as_wharfd} touch {path}/x"));
        assert!(!tried.status.success(), "wharfd may write to {path}");
    }
}
