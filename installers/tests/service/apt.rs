//! Tests of apt alone.

use std::{
    cell::{Cell, RefCell},
    fs,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use wharf_frames::{Cause, Failure, PackageVersion};
use wharf_managers::{PackageFile, PackageManager, Supervisor, Times, apt::Apt};
use wharf_root::{Change, Root};
use wharf_tests::{command::output_of, waiting::wait_until};

pub(crate) use wharf_tests::debian_root::frontend_lock;

use crate::{
    contract::{Bench, PLAIN, QUIET, install_alone, with_enough_time},
    machine::{Deb, Script, name, place_script},
};

#[test]
fn a_plan_that_changes_others_is_refused() {
    let bench = Bench::apt();
    bench.install(&bench.plain("base", "1")).unwrap();
    bench
        .install(&bench.file(&Deb::new("user", "1").depends("base (= 1)"), "user", "1"))
        .unwrap();
    let conflicting = Deb::new("rival", "1")
        .field("Conflicts", "user")
        .field("Replaces", "user");
    let refused = bench.install(&bench.file(&conflicting, "rival", "1"));
    assert!(
        matches!(refused, Err(Cause::Plan | Cause::Dependency)),
        "{refused:?}"
    );
    let removed = bench
        .manager()
        .remove(&name("base"), QUIET)
        .map_err(|failure| failure.cause);
    assert_eq!(removed, Err(Cause::Plan));
    let removed = bench
        .manager()
        .remove(&name("dpkg"), QUIET)
        .map_err(|failure| failure.cause);
    assert_eq!(removed, Err(Cause::Plan));
    assert_eq!(bench.version("user").as_deref(), Some("1"));
    assert_eq!(bench.version("base").as_deref(), Some("1"));
}

#[test]
fn a_refusal_names_the_packages_that_it_is_about() {
    let bench = Bench::apt();
    let put = |package: &str, field: (&str, &str)| {
        let deb = Deb::new(package, "1").field(field.0, field.1);
        bench.install(&bench.file(&deb, package, "1")).unwrap();
    };
    bench.install(&bench.plain("timed", "1")).unwrap();
    put("clock", ("Depends", "timed (= 1)"));
    put("mailer", ("Provides", "mail-agent"));
    put("guard", ("Breaks", "newcomer (<< 3)"));
    for (version, field, expected) in [
        (
            "1",
            ("Depends", "nowhere (>= 1) | nobody"),
            "acme depends on nowhere (>= 1) or nobody, and none of them is installed",
        ),
        (
            "1",
            ("Depends", "timed (>= 2), nowhere"),
            "acme depends on timed (>= 2), and here is timed 1; acme depends on nowhere, which is not installed",
        ),
        (
            "1",
            ("Pre-Depends", "nowhere"),
            "acme depends on nowhere, which is not installed",
        ),
        (
            "1",
            ("Conflicts", "timed"),
            "acme conflicts with timed, which is installed",
        ),
        (
            "1",
            ("Breaks", "timed (<< 2)"),
            "acme breaks timed (<< 2), and timed 1 is installed",
        ),
        (
            "1",
            ("Conflicts", "mail-agent"),
            "acme conflicts with mailer, which is installed",
        ),
    ] {
        let deb = Deb::new("acme", version).field(field.0, field.1);
        refused_in_words(&bench, &bench.file(&deb, "acme", version), expected);
    }
    refused_in_words(
        &bench,
        &bench.plain("newcomer", "2"),
        "guard, which is installed, breaks newcomer (<< 3)",
    );
    refused_in_words(
        &bench,
        &bench.plain("timed", "2"),
        "clock, which is installed, depends on timed (= 1)",
    );
    let removed = bench.manager().remove(&name("timed"), QUIET).unwrap_err();
    assert_eq!(
        removed.to_string(),
        "cannot remove timed: clock depends on it"
    );
    assert_eq!(removed.cause, Cause::Plan);
}

/// Expects this reason before the device is changed.
fn refused_in_words(bench: &Bench, file: &PackageFile, expected: &str) {
    let begun = Cell::new(false);
    let supervisor = Supervisor {
        begin: &|_| {
            begun.set(true);
            Ok(())
        },
        ..QUIET
    };
    let failure = install_alone(bench.manager(), file, PLAIN, supervisor).unwrap_err();
    assert_eq!(failure.to_string(), expected);
    let is_told = matches!(failure.cause, Cause::Plan | Cause::Dependency);
    assert!(is_told, "{failure:?}");
    assert!(!begun.get(), "{failure:?}");
}

#[test]
fn an_apt_that_cannot_be_run_is_a_failure_of_the_package_manager() {
    let bench = Bench::apt();
    let folder = Root::new(bench.place.path()).run().join("apt");
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let _ = fs::remove_dir_all(&folder);
    fs::write(&folder, "no folder").unwrap();
    let installed = bench.install(&bench.plain("acme", "1"));
    assert_eq!(installed, Err(Cause::PackageManager));
    assert_eq!(bench.version("acme"), None);
}

#[test]
fn what_a_killed_dpkg_left_of_a_first_installation_can_be_removed() {
    let bench = Bench::apt();
    let killed = Deb::new("acme", "1").script(Script::Preinst, "kill -9 $PPID");
    let file = bench.file(&killed, "acme", "1");
    let root = bench.place.debian();
    let inside = format!("/tmp/{}", file.path.file_name().unwrap().display());
    let dpkg = root.command("dpkg").args(["-i", &inside]).output().unwrap();
    assert!(!dpkg.status.success());
    let left = bench.found("acme").expect("a part of it");
    assert_eq!(left.to_string(), "acme 1 (half-installed, reinstreq)");
    let removed = bench.manager().remove(&name("acme"), QUIET);
    assert_eq!(removed, Ok(Change::Changed));
    assert_eq!(bench.found("acme"), None);
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn the_administrators_conffile_is_kept() {
    let bench = Bench::apt();
    let with = |version: &str, text: &str| {
        let deb = Deb::new("acme", version).conffile("/etc/acme.conf", text);
        bench.file(&deb, "acme", version)
    };
    bench.install(&with("1", "one\n")).unwrap();
    let conffile = bench.place.path().join("etc/acme.conf");
    fs::write(&conffile, "mine\n").unwrap();
    assert_eq!(
        bench.install(&with("1", "one\n")),
        Ok(Change::Unchanged),
        "a changed conffile is no damage"
    );
    assert_eq!(bench.install(&with("2", "two\n")), Ok(Change::Changed));
    assert_eq!(fs::read_to_string(&conffile).unwrap(), "mine\n");
}

#[test]
fn damaged_files_of_the_same_version_are_installed_again() {
    let bench = Bench::apt();
    let file = bench.plain("acme", "1");
    bench.install(&file).unwrap();
    let damaged = bench.place.path().join("usr/share/acme/version");
    fs::write(&damaged, "rubbish").unwrap();
    assert_eq!(bench.install(&file), Ok(Change::Changed));
    assert_eq!(fs::read_to_string(&damaged).unwrap(), "1\n");
}

#[test]
fn another_package_than_was_sealed_is_not_installed() {
    let bench = Bench::apt();
    let mut file = bench.plain("acme", "1");
    file.package.version = PackageVersion::new("2").unwrap();
    assert_eq!(bench.install(&file), Err(Cause::Malformed));
    file = bench.plain("acme", "1");
    file.package.name = name("bulb");
    assert_eq!(bench.install(&file), Err(Cause::Plan));
    assert_eq!(bench.version("acme"), None);
}

#[test]
fn a_lock_that_another_holds_too_long_is_told() {
    let bench = Bench::apt();
    let lock = frontend_lock(&bench.place.path());
    assert_eq!(bench.install(&bench.plain("acme", "1")), Err(Cause::Locked));
    drop(lock);
    assert_eq!(
        bench.install(&bench.plain("acme", "1")),
        Ok(Change::Changed)
    );
}

/// Changes a package under another program's lock, while our apt waits for the lock.
fn while_apt_waits<T: Send>(
    bench: &Bench,
    ours: impl FnOnce(&dyn PackageManager) -> T + Send,
    others: impl FnOnce(),
) -> T {
    let root = bench.place.path();
    let lock = frontend_lock(&root);
    let manager = bench.manager();
    thread::scope(|scope| {
        let ours = scope.spawn(|| ours(manager));
        wait_for_apt_to_wait(&root);
        others();
        drop(lock);
        ours.join().unwrap()
    })
}

pub(crate) fn wait_for_apt_to_wait(root: &Path) {
    let folder = root.join("run/wharf-installer/apt");
    wait_until("apt that waits for the lock", || {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut outputs = entries
            .map(|entry| entry.path())
            .filter(|path| path.file_stem().is_some_and(|stem| stem == "output"));
        let waits = outputs.any(|path| {
            let printed = fs::read_to_string(path).unwrap_or_default();
            printed.contains("lock")
        });
        waits.then_some(())
    });
}

#[test]
fn a_wait_for_a_lock_that_came_is_not_the_reason() {
    let bench = Bench::apt_that_waits(Duration::from_secs(60), Duration::from_secs(60));
    let deb = Deb::new("acme", "1").depends("nowhere");
    let file = bench.file(&deb, "acme", "1");
    let failed = while_apt_waits(&bench, |apt| install_alone(apt, &file, PLAIN, QUIET), || {});
    let failure = failed.unwrap_err();
    assert_eq!(failure.cause, Cause::Dependency, "{failure}");
    let expected = "acme depends on nowhere, which is not installed";
    assert_eq!(failure.to_string(), expected);
}

/// dpkg as another front end calls it.
pub(crate) fn dpkg(bench: &Bench, arguments: &[&str]) {
    let root = bench.place.debian();
    let mut command = root.command("dpkg");
    output_of(command.env("DPKG_FRONTEND_LOCKED", "1").args(arguments));
}

#[test]
fn what_came_to_need_a_package_while_apt_waited_stays_with_it() {
    let bench = Bench::apt_that_waits(Duration::from_secs(60), Duration::from_secs(60));
    bench.install(&bench.plain("needed", "1")).unwrap();
    bench.file(&Deb::new("user", "1").depends("needed"), "user", "1");
    let removed = while_apt_waits(
        &bench,
        |manager| manager.remove(&name("needed"), QUIET),
        || dpkg(&bench, &["--install", "/tmp/user-1"]),
    );
    let failure = removed.unwrap_err();
    assert_eq!(failure.cause, Cause::Plan, "{failure}");
    let expected = "cannot remove needed: user depends on it";
    assert_eq!(failure.to_string(), expected);
    assert_eq!(bench.version("needed").as_deref(), Some("1"));
    assert_eq!(bench.version("user").as_deref(), Some("1"));
    dpkg(&bench, &["--remove", "user"]);
    let removed = bench.manager().remove(&name("needed"), QUIET);
    assert_eq!(removed, Ok(Change::Changed));
}

#[test]
fn what_was_left_half_way_while_apt_waited_is_left_to_whom_it_belongs() {
    let bench = Bench::apt_that_waits(Duration::from_secs(60), Duration::from_secs(60));
    bench.plain("foreign", "1");
    let file = bench.plain("acme", "1");
    let installed = while_apt_waits(
        &bench,
        |manager| install_alone(manager, &file, PLAIN, QUIET),
        || dpkg(&bench, &["--unpack", "/tmp/foreign-1"]),
    );
    let failure = installed.unwrap_err();
    assert_eq!(failure.cause, Cause::Plan, "{failure}");
    assert!(
        failure.detail.as_str().contains("Conf foreign"),
        "{failure}"
    );
    let way_out = "(run `dpkg --configure -a` as root)";
    assert!(failure.detail.as_str().ends_with(way_out), "{failure}");
    assert_eq!(bench.found("acme"), None);
}

#[test]
fn the_administrators_hooks_and_the_history_stay() {
    let bench = Bench::apt();
    let root = bench.place.path();
    fs::write(
        root.join("etc/apt/apt.conf.d/99hook"),
        "DPkg::Pre-Install-Pkgs { \"cat >>/hooked\"; };\nDPkg::Tools::Options::cat::Version \"2\";\n",
    )
    .unwrap();
    bench.install(&bench.plain("acme", "1")).unwrap();
    bench.manager().remove(&name("acme"), QUIET).unwrap();
    let hooked = fs::read_to_string(root.join("hooked")).unwrap();
    assert!(hooked.contains("acme 1 > - **REMOVE**"), "{hooked}");
    let history = fs::read_to_string(root.join("var/log/apt/history.log")).unwrap();
    for line in ["Install: acme:", "Remove: acme:"] {
        assert!(history.contains(line), "{history}");
    }
}

/// Replaces apt-get with this script, which can call the original as apt-get.real.
pub(crate) fn replace_apt_get(root: &Path, script: &str) {
    let apt = root.join("usr/bin/apt-get");
    fs::rename(&apt, root.join("usr/bin/apt-get.real")).unwrap();
    place_script(&format!("#!/bin/sh\n{script}\n"), &apt);
}

/// A script that drops each word of the command line that contains one of these.
pub(crate) fn apt_get_without(words: &[&str]) -> String {
    let pattern: Vec<String> = words.iter().map(|word| format!("*{word}*")).collect();
    format!(
        "for word; do shift; case $word in {}) word=Left::Out=1;; esac; set -- \"$@\" \"$word\"; done\n\
         exec /usr/bin/apt-get.real \"$@\"",
        pattern.join("|")
    )
}

/// Another apt of the same root, as another program opens it.
fn another(bench: &Bench) -> Apt {
    let times = Times {
        lock_wait: Duration::from_secs(1),
        limit: Duration::from_secs(3600),
    };
    Apt::open(&Root::new(bench.place.path()), times).unwrap()
}

/// The cause of the failure if consent is refused.
fn refused_by(manager: &dyn PackageManager, file: &PackageFile) -> Cause {
    let supervisor = Supervisor {
        begin: &|_| Err(Failure::new(Cause::Policy, "not now")),
        ..QUIET
    };
    let installed = install_alone(manager, file, PLAIN, supervisor);
    installed.expect_err("nothing without consent").cause
}

#[test]
fn no_file_of_apts_configuration_takes_consent_away() {
    for text in [
        "#clear DPkg::Pre-Install-Pkgs;\n#clear DPkg::Tools;\n#clear APT::Keep-Fds;\n#clear DPkg::Options;\n",
        "DPkg::Pre-Install-Pkgs \"true\";\nDPkg::Tools::Options::sed { Version \"1\"; InfoFD \"20\"; };\n",
        "Binary::apt-get { DPkg::Pre-Install-Pkgs \"true\"; DPkg::Tools::Options::sed::InfoFD \"20\"; };\n",
    ] {
        let bench = Bench::apt();
        let last = bench.place.path().join("etc/apt/apt.conf.d/zz-last");
        fs::write(last, text).unwrap();
        let file = bench.plain("acme", "1");
        let manager = bench.manager();
        assert_eq!(refused_by(manager, &file), Cause::Policy, "{text}");
        assert_eq!(bench.version("acme"), None, "{text}");
        assert_eq!(bench.install(&file), Ok(Change::Changed), "{text}");
    }
}

#[test]
fn a_configuration_that_was_changed_after_its_first_line_is_written_anew_and_takes_no_consent_away()
{
    let bench = Bench::apt();
    let root = Root::new(bench.place.path());
    bench.install(&bench.plain("base", "1")).unwrap();
    let path = root.run().join("apt/apt.conf");
    let whole = fs::read_to_string(&path).unwrap();
    let clears = "#clear DPkg::Pre-Install-Pkgs;\n#clear DPkg::Options;\n";
    fs::write(&path, format!("{whole}{clears}")).unwrap();

    // Repeated calls, by the same manager and by a new one.
    let file = bench.plain("acme", "1");
    assert_eq!(refused_by(bench.manager(), &file), Cause::Policy);
    let later = another(&bench);
    assert_eq!(refused_by(&later, &file), Cause::Policy);
    assert_eq!(bench.version("acme"), None);
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
}

#[test]
fn no_program_is_started_for_what_a_file_tells() {
    let bench = Bench::apt();
    let root = bench.place.path();
    bench.install(&bench.plain("base", "1")).unwrap(); // writes the configuration
    fs::remove_dir_all(root.join("usr/lib/apt/methods")).unwrap();
    for program in ["dpkg", "dpkg-query"] {
        let path = root.join("usr/bin").join(program);
        fs::rename(&path, root.join(format!("usr/bin/{program}.real"))).unwrap();
        let script = format!("echo {program} \"$@\" >>/asked\nexec /usr/bin/{program}.real \"$@\"");
        place_script(&format!("#!/bin/sh\n{script}\n"), &path);
    }
    let apt = another(&bench);
    assert_eq!(apt.architecture(), bench.manager().architecture());
    // As a sealed file, without an ending.
    let path = root.join("var/lib/sealed");
    let file = bench.plain("acme", "1:2.0+b~1-3");
    fs::copy(&file.path, &path).unwrap();
    let file = PackageFile { path, ..file };
    assert_eq!(
        install_alone(&apt, &file, PLAIN, QUIET),
        Ok(Change::Changed)
    );
    let found = apt.found(&name("acme")).unwrap().unwrap();
    assert_eq!((found.version, found.damage), (file.package.version, None));
    let asked = fs::read_to_string(root.join("asked")).unwrap();
    let is_of_apts_work = |line: &str| {
        let words = ["--assert-", "--unpack", "--configure"];
        line.starts_with("dpkg ") && words.iter().any(|word| line.contains(word))
    };
    assert!(asked.lines().all(is_of_apts_work), "{asked}");
    let left: Vec<_> = fs::read_dir(root.join("run/wharf-installer/apt"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("run."))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn another_architecture_of_dpkg_is_one_of_apts_too() {
    let bench = Bench::apt();
    let root = bench.place.path();
    let conf = root.join("run/wharf-installer/apt/apt.conf");
    let dpkg = |word: &str| {
        output_of(
            Command::new("chroot")
                .arg(&root)
                .args(["dpkg", word, "sh4"]),
        )
    };
    let architectures = |version: &str| {
        let (apt, file) = (another(&bench), bench.plain("acme", version));
        install_alone(&apt, &file, PLAIN, QUIET).unwrap();
        let text = fs::read_to_string(&conf).unwrap();
        let own = apt.architecture();
        let list = text
            .lines()
            .find(|line| line.starts_with("APT::Architectures"));
        list.unwrap_or_default().replace(own, "OWN")
    };
    let alone = "APT::Architectures { \"OWN\"; };";
    assert_eq!(architectures("1"), alone);
    dpkg("--add-architecture");
    assert_eq!(
        architectures("2"),
        "APT::Architectures { \"OWN\"; \"sh4\"; };"
    );
    dpkg("--remove-architecture");
    assert_eq!(architectures("3"), alone);
}

#[test]
fn an_apt_that_does_not_ask_for_consent_gets_nothing_done() {
    let bench = Bench::apt();
    replace_apt_get(&bench.place.path(), &apt_get_without(&["Pre-Install-Pkgs"]));
    let ran = "touch /ran";
    let deb = Deb::new("acme", "1").script(Script::Preinst, ran);
    let file = bench.file(&deb, "acme", "1");
    let failure = install_alone(bench.manager(), &file, PLAIN, QUIET).unwrap_err();
    assert_eq!(failure.cause, Cause::PackageManager);
    let words = "without asking wharfd for consent";
    assert!(failure.detail.as_str().contains(words), "{failure}");
    assert_eq!(bench.version("acme"), None);
    assert!(!bench.place.path().join("ran").exists());
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn a_hook_that_never_answers_is_ended_and_nothing_is_changed() {
    let (bench, failure, waited) = with_enough_time(|limit| {
        let bench = Bench::apt_that_waits(Duration::from_secs(1), limit);
        let root = bench.place.path();
        let hook = "DPkg::Pre-Install-Pkgs { \"echo $$ >/waits; exec sleep 1000\"; };\n";
        fs::write(root.join("etc/apt/apt.conf.d/99waits"), hook).unwrap();
        let file = bench.plain("acme", "1");
        let failure = install_alone(bench.manager(), &file, PLAIN, QUIET).unwrap_err();
        let waited = fs::read_to_string(root.join("waits")).unwrap_or_default();
        waited.ends_with('\n').then_some((bench, failure, waited))
    });
    assert_eq!(failure.cause, Cause::PackageManager);
    assert!(failure.detail.as_str().contains("hooks"), "{failure}");
    assert_eq!(bench.version("acme"), None);
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
    wait_until("the end of the hook", || {
        let there = Path::new("/proc").join(waited.trim()).join("exe");
        there.read_link().is_err().then_some(())
    });
}

#[test]
fn what_is_printed_is_told_whether_it_succeeds_or_fails() {
    let bench = Bench::apt();
    let told = RefCell::new(Vec::new());
    let supervisor = Supervisor {
        printed: &|program, text| {
            told.borrow_mut()
                .push((program.to_owned(), text.to_owned()))
        },
        ..QUIET
    };
    let prints = |version: &str, then: &str| {
        let script = format!("echo to stdout {version}\necho to stderr {version} >&2\n{then}");
        let deb = Deb::new("acme", version).script(Script::Postinst, &script);
        let deb = deb.script(Script::Prerm, "echo it goes");
        bench.file(&deb, "acme", version)
    };
    let runs = |programs: &[&str], words: &[&str]| {
        let told = told.take();
        let ran: Vec<&str> = told.iter().map(|(program, _)| program.as_str()).collect();
        assert_eq!(ran, programs, "{told:?}");
        let printed: String = told.iter().map(|(_, text)| text.as_str()).collect();
        for words in words {
            assert!(printed.contains(words), "{words} is not in {printed}");
        }
    };
    let install = |file: &PackageFile| install_alone(bench.manager(), file, PLAIN, supervisor);

    let failed = install(&prints("1", "exit 3"));
    assert_eq!(failed.unwrap_err().cause, Cause::Script);
    let words = [
        "to stdout 1\nto stderr 1\n",
        "exit status 3",
        "Removing acme",
    ];
    runs(&["apt", "dpkg"], &words);
    install(&prints("2", "")).unwrap();
    runs(
        &["apt"],
        &["Setting up acme (2)", "to stdout 2\nto stderr 2\n"],
    );
    install(&prints("2", "")).unwrap();
    runs(&[], &[]);
    bench.manager().remove(&name("acme"), supervisor).unwrap();
    runs(&["apt"], &["it goes"]);
}

#[test]
fn a_script_that_does_not_end_is_ended_and_told() {
    let hanging = Deb::new("acme", "1").script(Script::Postinst, "touch /begun\nsleep 1000");
    let (bench, installed) = with_enough_time(|limit| {
        let bench = Bench::apt_that_waits(Duration::from_secs(1), limit);
        let installed = bench.install(&bench.file(&hanging, "acme", "1"));
        let begun = bench.place.path().join("begun").exists();
        begun.then_some((bench, installed))
    });
    assert_eq!(installed, Err(Cause::Script));
    assert_eq!(bench.version("acme"), None);
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn an_install_goes_on_when_dpkg_alone_is_killed() {
    let kill = "if mkdir /killed 2>/dev/null; then kill -9 $PPID $$; fi";
    for script in [Script::Preinst, Script::Postinst] {
        let bench = Bench::apt();
        let file = bench.file(&Deb::new("acme", "1").script(script, kill), "acme", "1");
        assert_eq!(bench.install(&file), Ok(Change::Changed), "{script:?}");
        assert!(bench.place.path().join("killed").exists(), "{script:?}");
        assert_eq!(bench.manager().audit().unwrap(), [""; 0], "{script:?}");
    }
}

#[test]
fn damage_that_was_there_before_is_told_and_left() {
    let bench = Bench::apt();
    let update = bench.place.path().join("var/lib/dpkg/updates/0001");
    fs::write(&update, "Package: foreign\nStatus: install ok unpacked\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n").unwrap();
    assert_eq!(
        bench.install(&bench.plain("acme", "1")),
        Err(Cause::Interrupted)
    );
    assert!(update.exists());
}

#[test]
fn each_state_that_a_killed_dpkg_leaves_is_repaired() {
    for (script, killed_at) in [
        (Script::Preinst, "install"),
        (Script::Postinst, "upgrade"),
        (Script::Prerm, "upgrade"),
        (Script::Postrm, "upgrade"),
    ] {
        let bench = Bench::apt();
        // Only the first run kills, so that the repair's run of the script succeeds: it kills apt and dpkg, then
        // itself.
        let kill = "if mkdir /killed 2>/dev/null; then kill -9 $(cat /proc/$PPID/stat | cut -d' ' -f4) $PPID $$; fi";
        let scripted = |version: &str, with: bool| {
            let deb = Deb::new("acme", version);
            let deb = if with { deb.script(script, kill) } else { deb };
            bench.file(&deb, "acme", version)
        };
        let old_is_killed = matches!(script, Script::Prerm | Script::Postrm);
        if killed_at == "upgrade" {
            bench.install(&scripted("1", old_is_killed)).unwrap();
        }
        let proc = bench.place.path().join("proc");
        nix::mount::mount(
            Some("proc"),
            &proc,
            Some("proc"),
            nix::mount::MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        let file = scripted("2", !old_is_killed);
        let killed = install_alone(bench.manager(), &file, PLAIN, QUIET);
        assert!(killed.is_err(), "{script:?}: {killed:?}");
        let told = RefCell::new(String::new());
        let printed = |_: &str, text: &str| told.borrow_mut().push_str(text);
        let repaired = bench
            .manager()
            .repair(&name("acme"), Some(&file.path), &printed);
        assert!(repaired.is_ok(), "{script:?}: {repaired:?}");
        let has_run = told.borrow().contains("acme");
        assert_eq!(
            repaired == Ok(Change::Changed),
            has_run,
            "{script:?}: {told:?}"
        );
        assert!(bench.install(&file).is_ok(), "{script:?}");
        assert_eq!(bench.version("acme").as_deref(), Some("2"), "{script:?}");
        assert_eq!(bench.manager().audit().unwrap(), [""; 0], "{script:?}");
        nix::mount::umount(&proc).unwrap();
    }
}
