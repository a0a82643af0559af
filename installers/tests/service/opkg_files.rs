//! Files that opkg must not delete, and files that it must, where this machine has an opkg.

use std::fs;

use wharf_frames::Cause;
use wharf_root::Change;

use crate::{
    contract::{Bench, QUIET},
    machine::{Deb, Script, name},
    opkg::{KILL, failure, read, told},
};

/// With a configuration file and a plain one.
fn acme(version: &str) -> Deb {
    Deb::new("acme", version)
        .conffile("/etc/acme.conf", &format!("{version}\n"))
        .file("/opt/acme/key", version)
}

fn write(bench: &Bench, path: &str, text: &str) {
    let path = bench.place.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_first_installation_that_fails_leaves_the_files_that_were_there_before_it() {
    for script in ["exit 5", KILL] {
        let Some(bench) = Bench::opkg() else { return };
        for path in ["etc/acme.conf", "opt/acme/key"] {
            write(&bench, path, "mine\n");
        }
        let deb = acme("1").script(Script::Preinst, script);
        failure(&bench, &bench.file(&deb, "acme", "1"));
        let _ = bench.manager().repair(&name("acme"), None, QUIET.printed);
        let _ = bench.manager().remove(&name("acme"), QUIET);
        assert_eq!(told(&bench, "acme"), None, "{script}");
        for path in ["etc/acme.conf", "opt/acme/key"] {
            assert_eq!(
                read(&bench, path).as_deref(),
                Some("mine\n"),
                "{path} {script}"
            );
        }
        // The next one leaves them too, and deletes what it brings itself.
        let deb = acme("2")
            .script(Script::Postinst, script)
            .file("/opt/acme/new", "2");
        failure(&bench, &bench.file(&deb, "acme", "2"));
        let _ = bench.manager().remove(&name("acme"), QUIET);
        assert_eq!(
            read(&bench, "etc/acme.conf").as_deref(),
            Some("mine\n"),
            "{script}"
        );
        assert_eq!(read(&bench, "opt/acme/new"), None, "{script}");
    }
}

#[test]
fn the_removal_of_an_upgrade_that_failed_leaves_the_changed_configuration() {
    let Some(bench) = Bench::opkg() else { return };
    bench.install(&bench.file(&acme("1"), "acme", "1")).unwrap();
    write(&bench, "etc/acme.conf", "mine\n");
    write(&bench, "opt/acme/key", "changed");
    for version in ["2", "3"] {
        let failing = acme(version).script(Script::Preinst, "exit 5");
        let failed = failure(&bench, &bench.file(&failing, "acme", version));
        assert_eq!(failed.cause, Cause::Script, "{failed}");
    }
    let removed = bench.manager().remove(&name("acme"), QUIET);
    assert_eq!(removed, Ok(Change::Changed));
    assert_eq!(read(&bench, "etc/acme.conf").as_deref(), Some("mine\n"));
    assert_eq!(read(&bench, "opt/acme/key"), None);
}
