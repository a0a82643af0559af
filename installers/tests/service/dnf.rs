//! Tests of dnf alone: dnf 4 in a root with rpm 4.18, or dnf 5 with rpm 6 if `WHARF_DNF5` is set.

use std::{
    cell::{Cell, RefCell},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use wharf_frames::{Cause, Failure, PackageVersion};
use wharf_managers::{InstallOptions, PackageFile, PackageManager, Supervisor, Times, dnf::Dnf};
use wharf_root::{Change, Root};
use wharf_tests::{
    command::{output_of, text_of},
    rpm_root::{RpmRoot, is_dnf5},
    waiting::wait_until,
};

use crate::{
    contract::{Bench, PLAIN, QUIET, install_alone, with_enough_time},
    machine::{Deb, Script, name, place_script},
};

pub(crate) fn bench() -> Bench {
    bench_that_waits(Duration::from_secs(1), Duration::from_secs(60))
}

pub(crate) fn bench_that_waits(lock_wait: Duration, time_limit: Duration) -> Bench {
    let root = match is_dnf5() {
        true => RpmRoot::dnf5(),
        false => RpmRoot::dnf4(),
    };
    Bench::dnf(root, lock_wait, time_limit)
}

/// rpm as an administrator calls it.
fn rpm(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = bench.place.rpm().command("rpm");
    command.args(arguments);
    command
}

pub(crate) fn write(bench: &Bench, path: &str, text: &str) -> PathBuf {
    let path = bench.place.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

/// The same record as a job leaves that was killed in the middle.
fn cut_off(bench: &Bench, package: &str) {
    write(
        bench,
        &format!("var/lib/wharf-installer/rpm-unfinished/{package}"),
        "begun\n",
    );
}

pub(crate) fn install(bench: &Bench, file: &PackageFile) -> Result<Change, Failure> {
    install_alone(bench.manager(), file, PLAIN, QUIET)
}

pub(crate) fn remove(bench: &Bench, package: &str) -> Result<Change, Failure> {
    bench.manager().remove(&name(package), QUIET)
}

pub(crate) fn refused(done: Result<Change, Failure>, cause: Cause, words: &str) -> Failure {
    let failure = done.unwrap_err();
    assert_eq!(failure.cause, cause, "{failure}");
    assert!(failure.detail.as_str().contains(words), "{failure}");
    failure
}

/// It is refused before the device is changed, which stays as it is.
fn is_refused(bench: &Bench, file: &PackageFile, cause: Cause, words: &str) -> Failure {
    let install =
        |supervisor: Supervisor<'_>| install_alone(bench.manager(), file, PLAIN, supervisor);
    order_is_refused(bench, install, cause, words)
}

fn removal_is_refused(bench: &Bench, package: &str, cause: Cause, words: &str) {
    let remove = |supervisor: Supervisor<'_>| bench.manager().remove(&name(package), supervisor);
    order_is_refused(bench, remove, cause, words);
}

fn order_is_refused(
    bench: &Bench,
    order: impl Fn(Supervisor<'_>) -> Result<Change, Failure>,
    cause: Cause,
    words: &str,
) -> Failure {
    let before = text_of(&mut rpm(bench, &["-qa"]));
    let begun = Cell::new(false);
    let supervisor = Supervisor {
        begin: &|_| {
            begun.set(true);
            Ok(())
        },
        ..QUIET
    };
    let failure = refused(order(supervisor), cause, words);
    assert!(!begun.get(), "{words}");
    assert_eq!(text_of(&mut rpm(bench, &["-qa"])), before);
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
    failure
}

#[test]
fn nothing_but_the_package_itself_is_changed() {
    let bench = bench();
    let put = |deb: Deb, package: &str| install(&bench, &bench.file(&deb, package, "1")).unwrap();
    put(Deb::new("base", "1"), "base");
    put(Deb::new("user", "1").depends("base (= 1-1)"), "user");
    write(&bench, "etc/dnf/protected.d/guarded.conf", "guarded\n");
    put(Deb::new("guarded", "1"), "guarded");

    let rival = Deb::new("rival", "1").field("Conflicts", "user");
    is_refused(
        &bench,
        &bench.file(&rival, "rival", "1"),
        Cause::Plan,
        "user",
    );
    let successor = Deb::new("successor", "1").field("Replaces", "guarded");
    let successor = bench.file(&successor, "successor", "1");
    is_refused(&bench, &successor, Cause::Plan, "guarded");
    is_refused(&bench, &bench.plain("base", "2"), Cause::Plan, "user");
    let needs = Deb::new("needs", "1").depends("nowhere");
    let needs = bench.file(&needs, "needs", "1");
    is_refused(&bench, &needs, Cause::Dependency, "nowhere");
    let clash = Deb::new("clash", "1").file("/usr/share/base/version", "other");
    let clash = bench.file(&clash, "clash", "1");
    let words = "conflicts with file from package base";
    is_refused(&bench, &clash, Cause::Plan, words);

    let words = "user-1-1.noarch requires base = 1-1";
    removal_is_refused(&bench, "base", Cause::Plan, words);
    removal_is_refused(&bench, "guarded", Cause::Plan, "protected");
    for package in ["base", "user", "guarded"] {
        assert_eq!(bench.version(package).as_deref(), Some("1"), "{package}");
    }
    assert_eq!(bench.found("clash"), None);
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn a_database_that_rpm_cannot_read_is_no_missing_package() {
    let bench = bench();
    install(&bench, &bench.plain("acme", "1")).unwrap();
    let folder = bench.place.path().join("var/lib/rpm");
    let files = ["rpmdb.sqlite", "rpmdb.sqlite-wal", "rpmdb.sqlite-shm"];
    let paths = files.map(|file| (folder.join(file), folder.join(format!("away.{file}"))));
    for (path, away) in paths.iter().filter(|(path, _)| path.exists()) {
        fs::rename(path, away).unwrap();
    }
    write(&bench, "var/lib/rpm/rpmdb.sqlite", "no database");
    let manager = bench.manager();
    let told = [
        manager.found(&name("acme")).map(drop),
        manager.each_path(&name("acme"), &mut |_| ()),
        remove(&bench, "acme").map(drop),
    ];
    for told in told {
        let failure = told.unwrap_err();
        assert_eq!(failure.cause, Cause::Unavailable, "{failure}");
    }
    for (path, away) in &paths {
        let _ = fs::remove_file(path);
        let _ = fs::rename(away, path);
    }
    assert_eq!(bench.version("acme").as_deref(), Some("1"));
}

#[test]
fn rpm_is_asked_about_a_package_once_for_each_change_of_its_database() {
    let bench = bench();
    let root = bench.place.path();
    install(&bench, &bench.plain("acme", "1")).unwrap();
    fs::rename(root.join("usr/bin/rpm"), root.join("usr/bin/rpm.real")).unwrap();
    let script = "#!/bin/sh\necho \"$1\" >>/asked\nexec rpm.real \"$@\"\n";
    place_script(script, &root.join("usr/bin/rpm"));
    let asked = || {
        let lines = fs::read_to_string(root.join("asked")).unwrap_or_default();
        lines.lines().filter(|line| *line == "-q").count()
    };
    let looks = || {
        let mut paths = 0;
        let each = &mut |_: &Path| paths += 1;
        bench.manager().each_path(&name("acme"), each).unwrap();
        (bench.version("acme"), paths)
    };
    let is = |version: &str| (Some(version.to_owned()), 1);
    // Right after a change, a second one may leave the times of the file as they are.
    wait_until("a second look without rpm", || {
        let before = (looks(), asked());
        (looks() == before.0 && asked() == before.1).then_some(())
    });
    assert_eq!(looks(), is("1"));
    for version in ["2", "3"] {
        let file = bench.plain("acme", version);
        let path = Path::new("/").join(file.path.strip_prefix(&root).unwrap());
        output_of(rpm(&bench, &["-U"]).arg(path));
        assert_eq!(looks(), is(version));
    }
}

#[test]
fn what_dnf_lets_pass_is_refused() {
    let bench = bench();
    install(&bench, &bench.plain("acme", "2:1")).unwrap();
    let lower = bench.plain("acme", "1:9");
    is_refused(
        &bench,
        &lower,
        Cause::Downgrade,
        "lower than the installed version",
    );
    let allowed = InstallOptions {
        allow_downgrade: true,
        ..PLAIN
    };
    assert_eq!(
        install_alone(bench.manager(), &lower, allowed, QUIET),
        Ok(Change::Changed)
    );
    assert_eq!(bench.version("acme").as_deref(), Some("1:9"));

    bench.place.rpm().lock_versions("acme", "9-1");
    is_refused(&bench, &bench.plain("acme", "3:1"), Cause::Held, "lock");
    removal_is_refused(&bench, "acme", Cause::Held, "acme is locked");
    write(
        &bench,
        "etc/dnf/dnf.conf",
        "[main]\nexcludepkgs=unwanted*\n",
    );
    let unwanted = bench.plain("unwanted", "1");
    is_refused(&bench, &unwanted, Cause::Held, "unwanted");
    assert!(bench.manager().takes("x86_64") && bench.manager().takes("noarch"));
    assert!(!bench.manager().takes("i686"), "rpm itself would take it");
    let deb = Deb::new("old", "1").architecture("i686");
    let mut file = bench.file(&deb, "old", "1");
    file.package.architecture = "i686".into();
    is_refused(&bench, &file, Cause::WrongArchitecture, "i686");
}

#[test]
fn no_version_is_installed_beside_another() {
    let bench = bench();
    install(&bench, &bench.plain("acme", "1")).unwrap();
    write(&bench, "etc/dnf/dnf.conf", "[main]\ninstallonlypkgs=acme\n");
    let two = bench.plain("acme", "2");
    if is_dnf5() {
        // The transaction names the version that goes.
        install(&bench, &two).unwrap();
        assert_eq!(bench.version("acme").as_deref(), Some("2"));
        return;
    }
    let words = "acme 2-1 would be installed beside the installed version, which wharfd does not manage: \
                 `installonlypkgs` in dnf.conf names it";
    is_refused(&bench, &two, Cause::Plan, words);
}

#[test]
fn another_package_than_was_sealed_is_not_installed() {
    let bench = bench();
    let mut file = bench.plain("acme", "1");
    file.package.version = PackageVersion::new("2-1").unwrap();
    let words = "rpm reads acme 1-1 (noarch) in the file, and wharf-inspect acme 2-1 (noarch)";
    is_refused(&bench, &file, Cause::Malformed, words);
    file.package.name = name("other");
    is_refused(&bench, &file, Cause::Malformed, "rpm reads another package");
}

#[test]
fn a_dnf_that_cannot_be_run_is_a_failure_of_the_package_manager() {
    let bench = bench();
    let folder = bench.place.path().join("run/wharf-installer/dnf");
    let _ = fs::remove_dir_all(&folder);
    write(&bench, "run/wharf-installer/dnf", "no folder");
    let installed = install(&bench, &bench.plain("acme", "1"));
    refused(installed, Cause::PackageManager, "cannot run dnf");
    assert_eq!(bench.version("acme"), None);
}

#[test]
fn a_package_is_asked_for_by_its_name_alone() {
    let bench = bench();
    install(&bench, &bench.plain("acme", "1")).unwrap();
    // rpm takes NAME-VERSION and NAME.ARCHITECTURE as well.
    for label in ["acme-1", "acme-1-1", "acme.noarch", "acme-1-1.noarch"] {
        assert_eq!(bench.found(label), None, "{label}");
        assert_eq!(remove(&bench, label), Ok(Change::Unchanged), "{label}");
        let visit = |path: &Path| panic!("{label} has {path:?}");
        bench
            .manager()
            .each_path(&name(label), &mut { visit })
            .unwrap();
    }
    assert_eq!(bench.version("acme").as_deref(), Some("1"));
    let mut paths = Vec::new();
    let mut visit = |path: &Path| paths.push(path.to_owned());
    bench
        .manager()
        .each_path(&name("acme"), &mut visit)
        .unwrap();
    assert_eq!(paths, [bench.place.path().join("usr/share/acme/version")]);
    let asked = ["usr/share/acme/version", "usr/share/nothing"].map(str::to_owned);
    let owners = bench.manager().owners(&asked.into()).unwrap();
    assert_eq!(owners.len(), 1);
    assert!(owners["usr/share/acme/version"].contains("acme"));
}

#[test]
fn a_script_that_failed_after_unpacking_leaves_the_package_in_part() {
    let bench = bench();
    let fails = "echo no anchor; [ -e /etc/anchor ]";
    let deb = Deb::new("acme", "1").script(Script::Postinst, fails);
    let file = bench.file(&deb, "acme", "1");
    let words =
        "acme 1-1 is installed in part: %post failed, exit status 1 in acme; it said: no anchor";
    for _ in 0..2 {
        refused(install(&bench, &file), Cause::Script, words);
        let left = bench.found("acme").unwrap();
        let expected = "acme 1 (installed in part: %post failed, exit status 1)";
        assert_eq!(left.to_string(), expected);
        let told = "acme: installed in part: %post failed, exit status 1";
        assert_eq!(bench.manager().audit().unwrap(), [told]);
    }
    write(&bench, "etc/anchor", "");
    // The same file again repairs it, and so does an administrator.
    assert_eq!(install(&bench, &file), Ok(Change::Changed));
    assert_eq!(install(&bench, &file), Ok(Change::Unchanged));
    fs::remove_file(bench.place.path().join("etc/anchor")).unwrap();
    let second = bench.file(
        &Deb::new("acme", "2").script(Script::Postinst, fails),
        "acme",
        "2",
    );
    refused(
        install(&bench, &second),
        Cause::Script,
        "acme 2-1 is installed in part",
    );
    assert_eq!(bench.version("acme"), None);
    write(&bench, "etc/anchor", "");
    output_of(&mut rpm(&bench, &["-U", "--replacepkgs", "/tmp/acme-2"]));
    assert_eq!(bench.version("acme").as_deref(), Some("2"));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn a_script_that_fails_before_unpacking_leaves_the_old_version() {
    let bench = bench();
    install(&bench, &bench.plain("acme", "1")).unwrap();
    let deb = Deb::new("acme", "2").script(Script::Preinst, "echo not here; exit 4");
    let file = bench.file(&deb, "acme", "2");
    refused(
        install(&bench, &file),
        Cause::Script,
        "%pre failed, exit status 4 in acme; it said: not here",
    );
    assert_eq!(bench.version("acme").as_deref(), Some("1"));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn an_old_script_that_stops_an_upgrade_leaves_two_versions() {
    let bench = bench();
    let stops = Deb::new("acme", "1").script(Script::Prerm, "[ ! -e /etc/stays ]");
    install(&bench, &bench.file(&stops, "acme", "1")).unwrap();
    let stays = write(&bench, "etc/stays", "");
    let two = bench.plain("acme", "2");
    refused(
        install(&bench, &two),
        Cause::Script,
        "acme is installed as 2-1 and as 1-1: %preun failed",
    );
    let left = bench.found("acme").unwrap();
    assert_eq!((left.version.as_str(), left.is_whole()), ("2", false));
    let audit = bench.manager().audit().unwrap();
    assert!(audit[0].starts_with("acme is installed as "), "{audit:?}");
    fs::remove_file(stays).unwrap();
    assert_eq!(install(&bench, &two), Ok(Change::Changed));
    assert_eq!(bench.version("acme").as_deref(), Some("2"));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn configuration_is_kept_and_a_removal_leaves_a_changed_file_to_the_administrator() {
    let bench = bench();
    let with = |version: &str| {
        let deb = Deb::new("acme", version).conffile("/etc/acme.conf", &format!("of {version}\n"));
        bench.file(&deb, "acme", version)
    };
    install(&bench, &with("1")).unwrap();
    let path = write(&bench, "etc/acme.conf", "mine\n");
    assert_eq!(install(&bench, &with("1")), Ok(Change::Unchanged));
    install(&bench, &with("2")).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine\n");
    let new = bench.place.path().join("etc/acme.conf.rpmnew");
    assert_eq!(fs::read_to_string(new).unwrap(), "of 2\n");

    remove(&bench, "acme").unwrap();
    assert!(!path.exists());
    assert!(!bench.manager().leaves_configuration(&name("acme")).unwrap());
    assert_eq!(
        bench.manager().purge(&name("acme"), QUIET),
        Ok(Change::Unchanged)
    );
    let saved = bench.place.path().join("etc/acme.conf.rpmsave");
    assert_eq!(fs::read_to_string(saved).unwrap(), "mine\n");
}

#[test]
fn damaged_files_and_other_bytes_of_the_same_version_are_installed_again() {
    let bench = bench();
    let file = bench.plain("acme", "1");
    install(&bench, &file).unwrap();
    let version = bench.place.path().join("usr/share/acme/version");
    for damage in ["cut", ""] {
        fs::write(&version, damage).unwrap();
        assert_eq!(install(&bench, &file), Ok(Change::Changed));
        assert_eq!(fs::read_to_string(&version).unwrap(), "1\n");
    }
    assert_eq!(install(&bench, &file), Ok(Change::Unchanged));
    let other = Deb::new("acme", "1").file("/usr/share/acme/more", "x");
    let other = bench.file(&other, "acme", "1");
    assert_eq!(install(&bench, &other), Ok(Change::Changed));
    assert!(bench.place.path().join("usr/share/acme/more").exists());
    assert_eq!(install(&bench, &other), Ok(Change::Unchanged));
}

/// Kills the tool that runs this script, once.
pub(crate) const KILL: &str = "if mkdir /killed 2>/dev/null; then kill -9 $PPID $$; fi";

#[test]
fn an_install_goes_on_when_the_tool_was_killed() {
    let bench = bench();
    let deb = Deb::new("acme", "1").script(Script::Postinst, KILL);
    let file = bench.file(&deb, "acme", "1");
    assert_eq!(install(&bench, &file), Ok(Change::Changed));
    assert!(bench.place.path().join("killed").exists());
    assert_eq!(bench.version("acme").as_deref(), Some("1"));

    fs::remove_dir(bench.place.path().join("killed")).unwrap();
    let deb = Deb::new("other", "1").script(Script::Preinst, KILL);
    let file = bench.file(&deb, "other", "1");
    assert_eq!(
        install(&bench, &file).unwrap_err().cause,
        Cause::PackageManager
    );
    assert_eq!(bench.found("other"), None, "nothing was unpacked");
    assert_eq!(install(&bench, &file), Ok(Change::Changed));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn each_state_that_a_killed_tool_and_a_killed_job_leave_is_repaired() {
    for (script, is_upgrade, left) in [
        (Script::Preinst, false, None),
        (Script::Postinst, false, Some("2")),
        (Script::Preinst, true, Some("1")),
        (Script::Postinst, true, Some("2")),
        (Script::Prerm, true, Some("2")),
        (Script::Postrm, true, Some("2")),
    ] {
        let bench = bench();
        let of_old = matches!(script, Script::Prerm | Script::Postrm);
        let scripted = |version: &str, with: bool| {
            let deb = Deb::new("acme", version);
            let deb = if with { deb.script(script, KILL) } else { deb };
            bench.file(&deb, "acme", version)
        };
        if is_upgrade {
            install(&bench, &scripted("1", of_old)).unwrap();
        }
        let file = scripted("2", !of_old);
        cut_off(&bench, "acme");
        let killed = rpm(&bench, &["-U", "/tmp/acme-2"]).output().unwrap();
        assert!(!killed.status.success(), "{script:?}");
        let told = format!("{script:?} {is_upgrade}");
        let found = bench.found("acme");
        assert_eq!(
            found.as_ref().map(|found| found.version.as_str()),
            left,
            "{told}"
        );
        assert!(found.is_none_or(|found| !found.is_whole()), "{told}");
        assert!(!bench.manager().audit().unwrap().is_empty(), "{told}");

        let printed = RefCell::new(Vec::new());
        let listen = |program: &str, _: &str| printed.borrow_mut().push(program.to_owned());
        let repaired = bench
            .manager()
            .repair(&name("acme"), Some(&file.path), &listen);
        let unpacked = left == Some("2");
        let expected = if unpacked {
            Change::Changed
        } else {
            Change::Unchanged
        };
        assert_eq!(repaired, Ok(expected), "{told}");
        assert_eq!(printed.take().is_empty(), !unpacked, "{told}");
        let change = install(&bench, &file).unwrap();
        assert_eq!(change == Change::Unchanged, unpacked, "{told}");
        assert_eq!(bench.version("acme").as_deref(), Some("2"), "{told}");
        assert_eq!(bench.manager().audit().unwrap(), [""; 0], "{told}");
        assert_eq!(remove(&bench, "acme"), Ok(Change::Changed), "{told}");
    }
}

#[test]
fn a_removal_goes_on_from_where_it_was_killed() {
    for script in [Script::Prerm, Script::Postrm] {
        let bench = bench();
        let deb = Deb::new("acme", "1").script(script, KILL);
        install(&bench, &bench.file(&deb, "acme", "1")).unwrap();
        assert!(remove(&bench, "acme").is_err(), "{script:?}");
        let left = bench.found("acme").expect("it is in the database");
        assert_eq!(
            left.to_string(),
            "acme 1 (cut off in the middle)",
            "{script:?}"
        );
        assert_eq!(remove(&bench, "acme"), Ok(Change::Changed), "{script:?}");
        assert_eq!(bench.manager().audit().unwrap(), [""; 0], "{script:?}");
    }
}

#[test]
fn an_upgrade_that_may_not_be_finished_from_its_file_ends_with_one_version() {
    let bench = bench();
    install(&bench, &bench.plain("acme", "1")).unwrap();
    bench.file(
        &Deb::new("acme", "2").script(Script::Postinst, KILL),
        "acme",
        "2",
    );
    cut_off(&bench, "acme");
    rpm(&bench, &["-U", "/tmp/acme-2"]).output().unwrap();
    let repair = || bench.manager().repair(&name("acme"), None, QUIET.printed);
    assert_eq!(repair(), Ok(Change::Changed));
    let left = bench.found("acme").unwrap();
    assert_eq!(left.to_string(), "acme 2 (cut off in the middle)");
    assert_eq!(repair(), Ok(Change::Unchanged));
    let told = "acme: cut off in the middle";
    assert_eq!(bench.manager().audit().unwrap(), [told]);

    cut_off(&bench, "acme");
    assert_eq!(repair().unwrap_err().cause, Cause::Interrupted);
}

#[test]
fn leftovers_of_a_killed_unpacking_are_deleted() {
    let bench = bench();
    let file = bench.plain("acme", "1");
    install(&bench, &file).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = format!("{:08x}", now.as_secs());
    let path = |name: &str, suffix: &str| format!("usr/share/acme/{name};{suffix}");
    let left = write(&bench, &path("version", &now), "half");
    let others = [
        ("other", now.as_str()),
        ("version", "6752a1b"),
        ("version", "20241130"),
    ];
    let others = others.map(|(name, suffix)| write(&bench, &path(name, suffix), "not ours"));
    let repair = || {
        bench
            .manager()
            .repair(&name("acme"), Some(&file.path), QUIET.printed)
    };
    assert_eq!(repair(), Ok(Change::Unchanged));
    assert!(left.exists(), "nothing was cut off");
    cut_off(&bench, "acme");
    assert_eq!(repair(), Ok(Change::Changed));
    assert!(!left.exists());
    assert!(others.iter().all(|path| path.exists()));
}

#[test]
fn work_that_no_job_continues_is_repaired_by_any_installation() {
    let bench = bench();
    install(&bench, &bench.plain("acme", "1")).unwrap();
    for package in ["acme", "gone"] {
        cut_off(&bench, package);
    }
    bench.manager().tidy(&|_| true);
    assert_eq!(
        bench.manager().audit().unwrap().len(),
        2,
        "jobs continue it"
    );
    bench.manager().tidy(&|_| false);
    let told = "acme: cut off in the middle";
    assert_eq!(bench.manager().audit().unwrap(), [told]);
    let left = bench.found("acme").unwrap();
    assert_eq!(left.to_string(), "acme 1 (cut off in the middle)");
    output_of(&mut rpm(&bench, &["-U", "--replacepkgs", "/tmp/acme-1"]));
    assert_eq!(bench.version("acme").as_deref(), Some("1"));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn nobody_else_changes_packages_between_plan_and_end() {
    let bench = bench();
    let file = bench.plain("acme", "1");
    bench.plain("other", "1");
    let tried = RefCell::new(None);
    let begin = |_: &wharf_managers::Brought| {
        tried.replace(Some(rpm(&bench, &["-U", "/tmp/other-1"]).output().unwrap()));
        Ok(())
    };
    let supervisor = Supervisor {
        begin: &begin,
        ..QUIET
    };
    assert_eq!(
        install_alone(bench.manager(), &file, PLAIN, supervisor),
        Ok(Change::Changed)
    );
    let tried = tried.take().unwrap();
    assert!(!tried.status.success());
    let said = String::from_utf8_lossy(&tried.stderr);
    assert!(said.contains("can't create transaction lock"), "{said}");
    assert_eq!(bench.found("other"), None);
}

#[test]
fn a_script_that_does_not_end_is_ended_and_told() {
    let deb = Deb::new("acme", "1").script(Script::Postinst, "touch /begun\nsleep 1000");
    let (bench, failure) = with_enough_time(|limit| {
        let bench = bench_that_waits(Duration::from_secs(1), limit);
        let failure = install(&bench, &bench.file(&deb, "acme", "1")).unwrap_err();
        let begun = bench.place.path().join("begun").exists();
        begun.then_some((bench, failure))
    });
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    assert!(
        failure
            .detail
            .as_str()
            .contains("installed in part: %post failed"),
        "{failure}"
    );
    let times = Times {
        lock_wait: Duration::from_secs(1),
        limit: Duration::from_secs(60),
    };
    let unhurried = Dnf::open(&Root::new(bench.place.path()), times).unwrap();
    let removed = unhurried.remove(&name("acme"), QUIET);
    assert_eq!(removed, Ok(Change::Changed));
}

#[test]
fn a_test_of_rpm_that_does_not_end_is_ended_and_told() {
    if !is_dnf5() {
        return; // dnf 4 tests in its own process
    }
    let hangs = "#!/bin/sh\ncase \"$*\" in *--test*) touch /begun; sleep 600;; esac\nexec /usr/bin/rpm \"$@\"\n";
    let failure = with_enough_time(|limit| {
        let bench = bench_that_waits(Duration::from_secs(1), limit);
        place_script(hangs, &bench.place.path().join("usr/local/bin/rpm"));
        let file = bench.plain("acme", "1");
        let seconds = limit.as_secs();
        let words = format!("was not ready to change the device within {seconds} s");
        let failure = is_refused(&bench, &file, Cause::PackageManager, &words);
        let begun = bench.place.path().join("begun").exists();
        begun.then_some(failure)
    });
    let told = failure.detail.as_str();
    assert!(told.starts_with("rpm --test was not ready"), "{failure}");
}

#[test]
fn the_end_of_a_session_does_not_stop_the_tool() {
    let bench = bench();
    install(&bench, &bench.plain("acme", "1")).unwrap();
    let signals = "for signal in TERM INT HUP; do kill -$signal $PPID; done; sleep 0.1";
    let deb = Deb::new("acme", "2").script(Script::Postinst, signals);
    assert_eq!(
        install(&bench, &bench.file(&deb, "acme", "2")),
        Ok(Change::Changed)
    );
    assert_eq!(bench.version("acme").as_deref(), Some("2"));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn a_history_that_a_power_cut_left_half_made_is_made_again() {
    if is_dnf5() {
        return; // a history of its own
    }
    let made = |statements: &str| {
        format!(
            "import sqlite3; sqlite3.connect('/var/lib/dnf/history.sqlite').executescript('{statements}')"
        )
    };
    for statements in [
        "",
        "create table trans (id)",
        "create table config (key, value)",
    ] {
        let bench = bench();
        write(&bench, "var/lib/dnf/history.sqlite", "");
        let mut python = bench.place.rpm().command("python3");
        output_of(python.args(["-c", &made(statements)]));
        let installed = install(&bench, &bench.plain("acme", "1"));
        assert_eq!(installed, Ok(Change::Changed), "{statements}");
        let mut history = bench.place.rpm().command("dnf");
        let history = text_of(history.args(["history", "info", "last"]));
        assert!(history.contains("acme"), "{statements}: {history}");
    }
}

#[test]
fn a_state_that_a_power_cut_left_empty_is_made_again() {
    if !is_dnf5() {
        return; // it has no such files
    }
    let bench = bench();
    for version in ["1", "2", "3"] {
        let file = bench.plain("acme", version);
        assert_eq!(install(&bench, &file), Ok(Change::Changed));
        let state = bench.place.path().join("usr/lib/sysimage/libdnf5");
        for path in fs::read_dir(state).unwrap().flatten() {
            if path.path().extension().is_some_and(|end| end == "toml") {
                fs::write(path.path(), if version == "1" { "" } else { "\0\0" }).unwrap();
            }
        }
        let next = bench.plain("acme", "9");
        let words = "Loading system state TOML file";
        is_refused(&bench, &next, Cause::PackageManager, words);
        let repaired = bench
            .manager()
            .repair(&name("acme"), Some(&file.path), QUIET.printed);
        assert_eq!(repaired, Ok(Change::Unchanged));
    }
}

#[test]
fn the_history_and_what_is_printed_stay() {
    let bench = bench();
    let told = RefCell::new(String::new());
    let supervisor = Supervisor {
        printed: &|program, text| told.borrow_mut().push_str(&format!("{program}: {text}")),
        ..QUIET
    };
    let deb = Deb::new("acme", "1").script(
        Script::Postinst,
        "echo to stdout; echo to stderr >&2; false",
    );
    let failed = install_alone(
        bench.manager(),
        &bench.file(&deb, "acme", "1"),
        PLAIN,
        supervisor,
    );
    assert_eq!(failed.unwrap_err().cause, Cause::Script);
    for words in ["dnf: ", "to stdout\n", "to stderr\n"] {
        assert!(told.borrow().contains(words), "{told:?}");
    }
    let program = if is_dnf5() { "dnf5" } else { "dnf" };
    let mut history = bench.place.rpm().command(program);
    let history = text_of(history.args(["history", "info", "last"]));
    assert!(history.contains("acme"), "{history}");
}
