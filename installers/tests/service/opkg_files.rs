//! Files that opkg must not delete, and files that it must, where this machine has an opkg.

use std::fs;

use nix::mount::{MsFlags, mount, umount};
use wharf_frames::Cause;
use wharf_root::Change;

use crate::{
    contract::{Bench, QUIET},
    machine::{Deb, Script, name},
    opkg::{KILL, failure, mounted, read, told},
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

#[test]
fn a_removal_on_a_read_only_disk_is_refused() {
    let Some(bench) = Bench::opkg() else { return };
    let folder = bench.place.path().join("opt");
    mounted(&folder, "1m");
    let remount = |flags: MsFlags| {
        let flags = MsFlags::MS_REMOUNT | flags;
        mount(None::<&str>, &folder, None::<&str>, flags, None::<&str>).unwrap();
    };
    bench.install(&bench.file(&acme("1"), "acme", "1")).unwrap();
    remount(MsFlags::MS_RDONLY);
    let refused = bench.manager().remove(&name("acme"), QUIET).unwrap_err();
    let words = "/opt/acme is on a file system that is read-only";
    assert!(refused.detail.as_str().contains(words), "{refused}");
    assert_eq!(told(&bench, "acme").as_deref(), Some("acme 1"));
    remount(MsFlags::empty());
    let removed = bench.manager().remove(&name("acme"), QUIET);
    assert_eq!(removed, Ok(Change::Changed));
    assert_eq!(read(&bench, "opt/acme/key"), None);
    umount(&folder).unwrap();
}

#[test]
fn a_file_that_opkg_cannot_delete_fails_the_removal_until_it_can() {
    let Some(bench) = Bench::opkg() else { return };
    // opkg deletes this file, and the script makes another one.
    let remade = Deb::new("acme", "1")
        .file("/opt/acme/key", "1")
        .script(Script::Postrm, "mkdir -p /opt; echo new >/opt/remade")
        .file("/opt/remade", "1");
    bench.install(&bench.file(&remade, "acme", "1")).unwrap();
    let key = bench.place.path().join("opt/acme/key");
    mount(
        Some(&key),
        &key,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .unwrap();
    let failed = bench.manager().remove(&name("acme"), QUIET).unwrap_err();
    assert_eq!(failed.cause, Cause::PackageManager, "{failed}");
    let damaged = "acme 1 (/opt/acme/key was not deleted)";
    assert_eq!(told(&bench, "acme").as_deref(), Some(damaged), "{failed}");
    assert_eq!(bench.manager().audit().unwrap().len(), 1);
    umount(&key).unwrap();
    let removed = bench.manager().remove(&name("acme"), QUIET);
    assert_eq!(removed, Ok(Change::Changed));
    assert_eq!(read(&bench, "opt/acme/key"), None);
    assert_eq!(read(&bench, "opt/remade").as_deref(), Some("new\n"));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}
