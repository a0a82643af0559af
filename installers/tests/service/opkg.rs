//! opkg by itself, where this machine has one: the refusals that it lacks, what it leaves after a kill, on a full disk and
//! with a cut database, and one package from its seal to its removal.

use std::{
    fs, panic,
    path::Path,
    thread,
    time::{Duration, UNIX_EPOCH},
};

use nix::{
    mount::{MsFlags, mount, umount},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wharf_frames::{Cause, Failure, installer::Found};
use wharf_managers::{Dependencies, Install, InstallOptions, PackageFile, Supervisor};
use wharf_root::Change;
use wharf_tests::{
    command::{output_of, text_of},
    opkg_root::OpkgRoot,
    waiting::wait_until,
};

use crate::{
    contract::{Bench, PLAIN, QUIET, install_alone},
    machine::{Deb, Script, name},
};

/// Ends opkg, and the script that says so.
pub(crate) const KILL: &str = "kill -9 $PPID $$";

fn opkg(bench: &Bench) -> &OpkgRoot {
    bench.place.opkg()
}

/// As an administrator runs it.
fn by_hand(bench: &Bench, arguments: &[&str]) {
    output_of(opkg(bench).command("opkg").args(arguments));
}

pub(crate) fn failure(bench: &Bench, file: &PackageFile) -> Failure {
    install_alone(bench.manager(), file, PLAIN, QUIET).unwrap_err()
}

pub(crate) fn told(bench: &Bench, package: &str) -> Option<String> {
    bench.found(package).map(|found: Found| found.to_string())
}

pub(crate) fn read(bench: &Bench, path: &str) -> Option<String> {
    fs::read_to_string(bench.place.path().join(path)).ok()
}

pub(crate) fn mounted(folder: &Path, size: &str) {
    fs::create_dir_all(folder).unwrap();
    let size = format!("size={size}");
    mount(
        Some("tmpfs"),
        folder,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(&*size),
    )
    .unwrap();
}

#[test]
fn opkg_goes_no_way_down_unless_policy_allows_it() {
    let Some(bench) = Bench::opkg() else { return };
    bench.install(&bench.plain("acme", "2")).unwrap();
    let lower = bench.plain("acme", "1");
    assert_eq!(failure(&bench, &lower).cause, Cause::Downgrade);
    assert_eq!(bench.version("acme").as_deref(), Some("2"));
    let allowed = InstallOptions {
        allow_downgrade: true,
        ..PLAIN
    };
    let installed = install_alone(bench.manager(), &lower, allowed, QUIET);
    assert_eq!(installed, Ok(Change::Changed));
    assert_eq!(bench.version("acme").as_deref(), Some("1"));
}

#[test]
fn a_package_that_would_remove_or_overwrite_another_one_is_refused_before_any_script() {
    let Some(bench) = Bench::opkg() else { return };
    bench.install(&bench.plain("other", "1")).unwrap();
    let acme = || Deb::new("acme", "1").script(Script::Preinst, "touch /ran");
    for (deb, words) in [
        (
            // Before 0.5 it takes both fields to remove the other package.
            acme()
                .field("Replaces", "other")
                .field("Conflicts", "other"),
            "other (1)",
        ),
        (acme().field("Conflicts", "other"), "other"),
        (
            acme().file("/usr/share/other/version", "acme's"),
            "acme brings /usr/share/other/version, which belongs to other",
        ),
    ] {
        let failure = failure(&bench, &bench.file(&deb, "acme", "1"));
        assert_eq!(failure.cause, Cause::Plan, "{failure}");
        assert!(failure.detail.as_str().contains(words), "{failure}");
    }
    assert!(!bench.place.path().join("ran").exists());
    assert_eq!(bench.version("other").as_deref(), Some("1"));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn a_plan_tells_the_version_before_and_refuses_as_an_installation_does() {
    let Some(bench) = Bench::opkg() else { return };
    let planned = |file: PackageFile| {
        let install = Install {
            file,
            options: PLAIN,
        };
        let planned = bench.manager().plan(&[install], &Dependencies::None);
        planned.map(|planned| {
            let each = planned.into_iter();
            let each =
                each.map(|it| (it.version.to_string(), it.replaces.map(|it| it.to_string())));
            each.collect::<Vec<_>>()
        })
    };
    let one = Some("1".to_owned());
    let first = planned(bench.plain("acme", "1"));
    assert_eq!(first, Ok(vec![("1".to_owned(), None)]));
    assert_eq!(bench.found("acme"), None);
    bench.install(&bench.plain("acme", "1")).unwrap();
    for version in ["1", "2"] {
        let again = planned(bench.plain("acme", version));
        assert_eq!(again, Ok(vec![(version.to_owned(), one.clone())]));
    }
    let needs = Deb::new("user", "1").depends("nowhere");
    for (file, cause) in [
        (bench.plain("acme", "0.9"), Cause::Downgrade),
        (bench.file(&needs, "user", "1"), Cause::Dependency),
    ] {
        assert_eq!(planned(file).map_err(|failure| failure.cause), Err(cause));
    }
    assert_eq!(bench.version("acme"), one);
}

/// opkg notes `/data` as a link of the package, and deletes it with the package.
#[test]
fn a_link_of_the_device_is_not_deleted_with_a_package_that_has_files_below_it() {
    let Some(bench) = Bench::opkg() else { return };
    let root = bench.place.path();
    fs::create_dir_all(root.join("opt/data/acme")).unwrap();
    std::os::unix::fs::symlink("opt/data", root.join("data")).unwrap();
    for deb in [
        Deb::new("acme", "1").folder("/data"),
        Deb::new("acme", "1").folder("/data/acme"),
        Deb::new("acme", "1").file("/data/acme/greeting", "hello"),
    ] {
        let refused = failure(&bench, &bench.file(&deb, "acme", "1"));
        assert_eq!(refused.cause, Cause::Plan, "{refused}");
        let told = refused.detail.as_str();
        assert!(
            told.contains("acme has files or folders below /data,"),
            "{told}"
        );
        assert_eq!(bench.found("acme"), None);
    }

    by_hand(&bench, &["install", "/tmp/acme-1"]);
    let removed = bench.manager().remove(&name("acme"), QUIET);
    let refused = removed.unwrap_err();
    assert_eq!(refused.cause, Cause::Plan, "{refused}");
    let told = refused.detail.as_str();
    assert!(told.contains("the link /data of this device"), "{told}");
    let upgraded = failure(&bench, &bench.plain("acme", "2"));
    assert_eq!(upgraded, refused);
    let list = root.join("var/lib/opkg/info/acme.list");
    let text = fs::read_to_string(&list).unwrap();
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("/data\t"))
        .collect();
    fs::write(&list, kept.join("\n") + "\n").unwrap();
    let removed = bench.manager().remove(&name("acme"), QUIET);
    assert_eq!(removed, Ok(Change::Changed));
    assert!(root.join("data").is_symlink());

    // A link of the package goes with it.
    let own = Deb::new("acme", "2").link("/usr/share/acme/link", "version");
    bench.install(&bench.file(&own, "acme", "2")).unwrap();
    let removed = bench.manager().remove(&name("acme"), QUIET);
    assert_eq!(removed, Ok(Change::Changed));
}

#[test]
fn a_package_that_another_one_needs_is_held_or_is_essential_stays() {
    let Some(bench) = Bench::opkg() else { return };
    bench.install(&bench.plain("needed", "1")).unwrap();
    let user = Deb::new("user", "1").depends("needed");
    bench.install(&bench.file(&user, "user", "1")).unwrap();
    let refused = |package: &str, cause: Cause, words: &str| {
        let failure = bench.manager().remove(&name(package), QUIET).unwrap_err();
        assert_eq!(failure.cause, cause, "{failure}");
        assert!(failure.detail.as_str().contains(words), "{failure}");
        assert_eq!(bench.version(package).as_deref(), Some("1"));
    };
    refused("needed", Cause::Plan, "user");
    by_hand(&bench, &["flag", "hold", "user"]);
    refused("user", Cause::Held, "opkg flag ok user");
    let essential = Deb::new("base", "1").field("Essential", "yes");
    bench.install(&bench.file(&essential, "base", "1")).unwrap();
    refused("base", Cause::Plan, "essential");
}

#[test]
fn no_option_of_the_administrator_changes_what_a_run_does() {
    let Some(bench) = Bench::opkg() else { return };
    let options = "option force_overwrite 1\noption force_depends 1\noption force_removal_of_dependent_packages 1\n\
                   option noaction 1\noption autoremove 1\noption force_maintainer 1\n";
    fs::write(bench.place.path().join("etc/opkg/forced.conf"), options).unwrap();
    let needs = Deb::new("acme", "1").depends("nowhere");
    let needs = bench.file(&needs, "acme", "1");
    assert_eq!(failure(&bench, &needs).cause, Cause::Dependency);
    let conffile = |version: &str| {
        let deb = Deb::new("acme", version).conffile("/etc/acme.conf", &format!("{version}\n"));
        bench.file(&deb, "acme", version)
    };
    bench.install(&conffile("1")).unwrap();
    fs::write(bench.place.path().join("etc/acme.conf"), "mine\n").unwrap();
    bench.install(&conffile("2")).unwrap();
    assert_eq!(read(&bench, "etc/acme.conf").as_deref(), Some("mine\n"));
    assert_eq!(read(&bench, "etc/acme.conf-opkg").as_deref(), Some("2\n"));
    bench
        .install(&bench.file(&Deb::new("user", "1").depends("acme"), "user", "1"))
        .unwrap();
    let removed = bench.manager().remove(&name("acme"), QUIET);
    assert_eq!(removed.unwrap_err().cause, Cause::Plan);
    bench.manager().remove(&name("user"), QUIET).unwrap();
    assert_eq!(bench.version("acme").as_deref(), Some("2"));
}

#[test]
fn the_lock_is_held_from_the_plan_to_the_end_of_the_last_script() {
    let Some(bench) = Bench::opkg() else { return };
    bench.install(&bench.plain("other", "1")).unwrap();
    let another = || {
        let output = opkg(&bench)
            .command("opkg")
            .args(["remove", "other"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("Could not lock"), "{said}");
    };
    let script = "opkg remove other >/said 2>&1 || true";
    let deb = Deb::new("acme", "1").script(Script::Postinst, script);
    let supervisor = Supervisor {
        begin: &|_| {
            another();
            Ok(())
        },
        ..QUIET
    };
    let file = bench.file(&deb, "acme", "1");
    install_alone(bench.manager(), &file, PLAIN, supervisor).unwrap();
    let said = read(&bench, "said").unwrap();
    assert!(said.contains("Could not lock"), "{said}");
    assert_eq!(bench.version("other").as_deref(), Some("1"));
    by_hand(&bench, &["remove", "other"]);
}

#[test]
fn a_lock_that_another_opkg_holds_too_long_is_told_with_its_holder() {
    let Some(bench) = Bench::opkg() else { return };
    let slow = Deb::new("slow", "1").script(Script::Postinst, "touch /waits; read x </gate");
    bench.file(&slow, "slow", "1");
    let root = bench.place.path();
    nix::unistd::mkfifo(&root.join("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| by_hand(&bench, &["install", "/tmp/slow-1"]));
        wait_until("the other opkg", || {
            root.join("waits").exists().then_some(())
        });
        let file = bench.plain("acme", "1");
        let failure = install_alone(bench.manager(), &file, PLAIN, QUIET).unwrap_err();
        assert_eq!(failure.cause, Cause::Locked);
        assert!(
            failure.detail.as_str().contains("opkg install /tmp/slow-1"),
            "{failure}"
        );
        fs::write(root.join("gate"), "\n").unwrap();
        other.join().unwrap();
        assert_eq!(bench.install(&file), Ok(Change::Changed));
    });
}

#[test]
fn files_that_did_not_fit_on_the_disk_fail_the_installation() {
    let Some(bench) = Bench::opkg() else { return };
    let folder = bench.place.path().join("usr/share/acme");
    let large =
        |version: &str| bench.file(&Deb::new("acme", version).padding(1 << 20), "acme", version);
    mounted(&folder, "256k");
    // Before 0.5 opkg does not say why it could not write.
    let is_full = |failed: &Failure| match failed.detail.as_str().contains("errno=28") {
        true => failed.cause == Cause::DiskFull,
        false => failed.detail.as_str().contains("Write failed"),
    };
    let failed = failure(&bench, &large("1"));
    assert!(is_full(&failed), "{failed}");
    assert!(
        failed.detail.as_str().contains("/usr/share/acme/padding"),
        "{failed}"
    );
    assert_eq!(
        told(&bench, "acme"),
        None,
        "a first installation leaves nothing"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);

    bench.install(&bench.plain("acme", "1")).unwrap();
    let failed = failure(&bench, &large("2"));
    assert!(is_full(&failed), "{failed}");
    let damaged = "acme 2 (/usr/share/acme/padding is not as in the package)";
    assert_eq!(told(&bench, "acme").as_deref(), Some(damaged));
    assert_eq!(bench.manager().audit().unwrap().len(), 1);
    umount(&folder).unwrap();
    assert_eq!(bench.install(&large("2")), Ok(Change::Changed));
    assert_eq!(bench.version("acme").as_deref(), Some("2"));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn files_that_a_read_only_disk_did_not_take_fail_the_installation() {
    let Some(bench) = Bench::opkg() else { return };
    let folder = bench.place.path().join("opt");
    mounted(&folder, "1m");
    mount(
        None::<&str>,
        &folder,
        None::<&str>,
        MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
        None::<&str>,
    )
    .unwrap();
    let deb = Deb::new("acme", "1").file("/opt/acme/lamp", "on");
    let failed = failure(&bench, &bench.file(&deb, "acme", "1"));
    assert_eq!(failed.cause, Cause::PackageManager);
    assert!(
        failed.detail.as_str().contains("/opt/acme/lamp"),
        "{failed}"
    );
    assert_eq!(told(&bench, "acme"), None);
    umount(&folder).unwrap();
}

#[test]
fn a_file_that_somebody_changed_is_repaired_by_the_same_installation() {
    let Some(bench) = Bench::opkg() else { return };
    // Installed by hand: its digests come from the file that is to be installed.
    let file = bench.plain("acme", "1");
    by_hand(&bench, &["install", "/tmp/acme-1"]);
    assert_eq!(bench.install(&file), Ok(Change::Unchanged));
    let version = bench.place.path().join("usr/share/acme/version");
    let whole = fs::read_to_string(&version).unwrap();
    fs::write(&version, "").unwrap();
    assert_eq!(bench.install(&file), Ok(Change::Changed));
    assert_eq!(fs::read_to_string(&version).unwrap(), whole);
    assert_eq!(bench.install(&file), Ok(Change::Unchanged));
}

#[test]
fn an_upgrade_whose_first_script_fails_leaves_the_old_version_whole() {
    let Some(bench) = Bench::opkg() else { return };
    bench.install(&bench.plain("acme", "1")).unwrap();
    let failing = Deb::new("acme", "2").script(Script::Preinst, "echo no lamp; exit 5");
    let failed = failure(&bench, &bench.file(&failing, "acme", "2"));
    assert_eq!(failed.cause, Cause::Script);
    assert!(
        failed.detail.as_str().ends_with("it said: no lamp"),
        "{failed}"
    );
    assert_eq!(bench.version("acme").as_deref(), Some("1"));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
    assert_eq!(
        bench.manager().remove(&name("acme"), QUIET),
        Ok(Change::Changed)
    );
    assert!(!bench.place.path().join("usr/share/acme").exists());
}

#[test]
fn an_installation_goes_on_when_opkg_alone_is_killed() {
    let kill = format!("if mkdir /killed 2>/dev/null; then {KILL}; fi");
    for script in [Script::Preinst, Script::Postinst] {
        let Some(bench) = Bench::opkg() else { return };
        let deb = Deb::new("acme", "1").script(script, &kill);
        assert_eq!(
            bench.install(&bench.file(&deb, "acme", "1")),
            Ok(Change::Changed)
        );
        assert!(bench.place.path().join("killed").exists(), "{script:?}");
        assert_eq!(bench.version("acme").as_deref(), Some("1"), "{script:?}");
        assert_eq!(bench.manager().audit().unwrap(), [""; 0], "{script:?}");
    }
}

/// The opkg that runs in this root.
fn running(root: &Path) -> Option<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let folder = Path::new("/proc").join(pid.to_string());
        fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim() == "opkg")
            && fs::read_link(folder.join("root")).is_ok_and(|it| it == root)
    })
}

#[test]
fn an_installation_goes_on_when_opkg_is_killed_while_it_unpacks() {
    for is_upgrade in [false, true] {
        let Some(bench) = Bench::opkg() else { return };
        let root = bench.place.path();
        if is_upgrade {
            bench.install(&bench.plain("acme", "1")).unwrap();
        }
        let file = bench.file(&Deb::new("acme", "2").padding(64 << 20), "acme", "2");
        thread::scope(|scope| {
            let installed = scope.spawn(|| bench.install(&file));
            wait_until("a file of the package", || {
                root.join("usr/share/acme/padding").exists().then_some(())
            });
            if let Some(pid) = running(&root) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            assert_eq!(installed.join().unwrap(), Ok(Change::Changed));
        });
        assert_eq!(bench.version("acme").as_deref(), Some("2"));
        assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
    }
}

/// An installation in which opkg is killed in a script, and our program dies before it looks at what that left.
fn cut_off(bench: &Bench, script: Script, version: &str) -> PackageFile {
    let kill = format!("if mkdir /killed-{version} 2>/dev/null; then {KILL}; fi");
    let deb = Deb::new("acme", version).script(script, &kill);
    let file = bench.file(&deb, "acme", version);
    let dies = |_: &str, _: &str| panic::panic_any("dead");
    let supervisor = Supervisor {
        printed: &dies,
        ..QUIET
    };
    let install = || install_alone(bench.manager(), &file, PLAIN, supervisor);
    let died = panic::catch_unwind(panic::AssertUnwindSafe(install));
    assert_eq!(died.unwrap_err().downcast_ref(), Some(&"dead"));
    file
}

#[test]
fn what_a_run_left_that_was_cut_off_is_told_and_repaired() {
    for (script, is_upgrade) in [
        (Script::Preinst, false),
        (Script::Postinst, false),
        (Script::Preinst, true),
        (Script::Postinst, true),
    ] {
        let Some(bench) = Bench::opkg() else { return };
        let what = format!("{script:?} {is_upgrade}");
        if is_upgrade {
            bench.install(&bench.plain("acme", "1")).unwrap();
        }
        let file = cut_off(&bench, script, "2");
        // opkg's own database says that nothing has happened.
        let expected = is_upgrade.then_some("acme 1 (cut off in the middle)");
        assert_eq!(told(&bench, "acme").as_deref(), expected, "{what}");
        let audit = bench.manager().audit().unwrap();
        assert_eq!(audit, ["acme: cut off in the middle"], "{what}");
        let repair = |file| bench.manager().repair(&name("acme"), file, QUIET.printed);
        assert_eq!(repair(Some(&file.path)), Ok(Change::Changed), "{what}");
        assert_eq!(bench.version("acme").as_deref(), Some("2"), "{what}");
        assert_eq!(bench.install(&file), Ok(Change::Unchanged), "{what}");
        assert_eq!(repair(Some(&file.path)), Ok(Change::Unchanged), "{what}");
    }
}

#[test]
fn a_run_that_was_cut_off_and_may_not_go_on_leaves_no_new_files() {
    let Some(bench) = Bench::opkg() else { return };
    let repair = || bench.manager().repair(&name("acme"), None, QUIET.printed);
    cut_off(&bench, Script::Postinst, "1");
    let version = bench.place.path().join("usr/share/acme/version");
    assert!(version.exists(), "opkg had unpacked it");
    assert_eq!(repair(), Ok(Change::Changed));
    assert!(!version.exists());
    assert_eq!(told(&bench, "acme"), None);
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);

    // Of an upgrade, the old files are gone: it takes the file, or an operator.
    bench.install(&bench.plain("acme", "1")).unwrap();
    cut_off(&bench, Script::Postinst, "2");
    let failure = repair().unwrap_err();
    assert_eq!(failure.cause, Cause::Interrupted);
    assert!(
        failure.detail.as_str().contains("/usr/share/acme/version"),
        "{failure}"
    );
    assert_eq!(
        bench.manager().remove(&name("acme"), QUIET),
        Ok(Change::Changed)
    );
    assert!(!version.exists());

    // Before the first file is changed, the old version is whole.
    bench.install(&bench.plain("acme", "1")).unwrap();
    cut_off(&bench, Script::Preinst, "3");
    assert_eq!(repair(), Ok(Change::Changed));
    assert_eq!(bench.version("acme").as_deref(), Some("1"));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn a_database_that_was_cut_is_put_back_before_the_repair() {
    for cut in [0, 20, 200] {
        let Some(bench) = Bench::opkg() else { return };
        for package in ["one", "two", "three"] {
            bench.install(&bench.plain(package, "1")).unwrap();
        }
        let file = cut_off(&bench, Script::Postinst, "1");
        let status = bench.place.path().join("var/lib/opkg/status");
        let whole = fs::read(&status).unwrap();
        fs::write(&status, &whole[..cut]).unwrap();
        let repaired = bench
            .manager()
            .repair(&name("acme"), Some(&file.path), QUIET.printed);
        assert_eq!(repaired, Ok(Change::Changed), "cut to {cut} bytes");
        for package in ["one", "two", "three", "acme"] {
            assert_eq!(
                bench.version(package).as_deref(),
                Some("1"),
                "{package}, {cut}"
            );
        }
        let listed = text_of(opkg(&bench).command("opkg").arg("list-installed"));
        assert_eq!(listed.lines().count(), 4, "{listed}");
    }
}

#[test]
fn the_damage_that_doctor_tells_is_repaired_by_its_command() {
    let Some(bench) = Bench::opkg() else { return };
    bench.install(&bench.plain("acme", "1")).unwrap();
    let failing = Deb::new("acme", "2").script(Script::Postinst, "test -e /lamp");
    let failed = failure(&bench, &bench.file(&failing, "acme", "2"));
    assert_eq!(failed.cause, Cause::Script, "{failed}");
    assert_eq!(bench.manager().audit().unwrap().len(), 1);

    fs::write(bench.place.path().join("lamp"), "").unwrap();
    // opkg's database counts in seconds, and an installation by hand comes in a later one.
    let second = || UNIX_EPOCH.elapsed().unwrap().as_secs();
    let failed_at = second();
    wait_until("the next second", || (second() > failed_at).then_some(()));
    let remedy = bench.manager().remedy();
    let command = remedy.split('`').nth(1).unwrap();
    let command = command.replace("FILE", "/tmp/acme-2");
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[0], "opkg", "{remedy}");
    by_hand(&bench, &words[1..]);
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
    assert_eq!(bench.version("acme").as_deref(), Some("2"));
}

#[test]
fn a_script_that_does_not_end_is_ended_and_told() {
    let Some(bench) = Bench::opkg_that_ends_scripts_after(Duration::from_secs(2)) else {
        return;
    };
    let hanging = Deb::new("acme", "1").script(Script::Postinst, "sleep 1000");
    let failed = failure(&bench, &bench.file(&hanging, "acme", "1"));
    assert_eq!(failed.cause, Cause::Script, "{failed}");
    assert_eq!(told(&bench, "acme"), None);
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn the_owners_of_paths_are_those_that_opkg_lists() {
    let Some(bench) = Bench::opkg() else { return };
    let unit = "/lib/systemd/system/acme.service";
    let deb = Deb::new("acme", "1").file(unit, "[Service]\nExecStart=/bin/true\n");
    bench.install(&bench.file(&deb, "acme", "1")).unwrap();
    let unit = "usr/lib/systemd/system/acme.service".to_owned();
    let paths = [unit.clone(), "etc/passwd".to_owned()].into();
    let owners = bench.manager().owners(&paths).unwrap();
    assert_eq!(owners, [(unit, ["acme".to_owned()].into())].into());
    let mut listed = Vec::new();
    let root = bench.place.path();
    bench
        .manager()
        .each_path(&name("acme"), &mut |path| listed.push(path.to_owned()))
        .unwrap();
    assert!(
        listed.contains(&root.join("usr/share/acme/version")),
        "{listed:?}"
    );
    assert!(listed.contains(&root.join("usr/share/acme")), "{listed:?}");
}
