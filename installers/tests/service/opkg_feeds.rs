//! Dependencies that opkg gets from feeds, where this machine has an opkg. The contract has what each package manager does.

use std::{cell::RefCell, fs};

use wharf_frames::{
    Cause, Failure, PackageVersion,
    installer::{Dependency, Outcome},
};
use wharf_managers::{Brought, Dependencies, Install, PackageFile, Supervisor};
use wharf_tests::{keys::Signer, opkg_feed::OpkgFeed};

use crate::{
    contract::{Bench, PLAIN, QUIET},
    crash::mount_proc,
    machine::{Deb, Machine, Script, name, place_script},
    opkg_jobs,
};

/// A root whose only feed has libfoo 2, and acme 1, which needs it.
struct Sources {
    bench: Bench,
    feed: OpkgFeed,
    acme: PackageFile,
}

impl Sources {
    fn new() -> Option<Self> {
        Self::with(&Deb::new("libfoo", "2"))
    }

    /// None where this machine has no opkg.
    fn with(library: &Deb) -> Option<Self> {
        let bench = Bench::opkg()?;
        let feed = OpkgFeed::new(bench.place.opkg());
        feed.offer(library);
        feed.fetch(bench.place.opkg());
        let acme = Deb::new("acme", "1").depends("libfoo (>= 2)");
        Some(Self {
            acme: bench.file(&acme, "acme", "1"),
            bench,
            feed,
        })
    }

    fn install(&self) -> Result<Vec<Brought>, Failure> {
        let acme = std::slice::from_ref(&self.acme);
        self.bench
            .install_with(acme, &Dependencies::ConfiguredSources)
    }

    /// The order is refused with these words, and the device stays as it is.
    fn is_refused(&self, cause: Cause, words: &[&str]) {
        let failure = self.install().unwrap_err();
        assert_eq!(failure.cause, cause, "{failure}");
        for word in words {
            let detail = failure.detail.as_str();
            assert!(detail.contains(word), "{failure}: {word:?}");
        }
        let found = ["acme", "libfoo"].map(|name| self.bench.found(name));
        assert_eq!(found, [None, None]);
        self.nothing_is_left();
    }

    /// The order fails after it began, and leaves nothing.
    fn is_refused_after(&self, cause: Cause, words: &str) {
        self.is_refused(cause, &[words]);
        let version = "usr/share/libfoo/version";
        assert!(!self.bench.place.path().join(version).exists());
    }

    fn nothing_is_left(&self) {
        let folder = "var/lib/wharf-installer/opkg-dependencies";
        let left = fs::read_dir(self.bench.place.path().join(folder)).unwrap();
        assert_eq!(left.count(), 0);
        assert_eq!(self.bench.manager().audit().unwrap(), [""; 0]);
    }
}

#[test]
fn packages_of_a_feed_without_an_accepted_signature_come_only_if_its_line_trusts_it() {
    let Some(sources) = Sources::new() else {
        return;
    };
    let root = sources.bench.place.opkg();
    let line = "src/gz tests file:///srv/feed";
    let lists = sources.bench.place.path().join("var/lib/opkg/lists");
    let checks = "option check_signature 1\noption signature_type gpg-asc\noption gpg_trust_level TrustAny\n";
    // opkg keeps a list whose signature cannot be fetched.
    for (signer, cause) in [
        (None, Cause::Plan),
        (Some(Signer::Stranger), Cause::Dependency),
    ] {
        sources.feed.publish_signed(signer);
        // opkg itself takes such a list and its packages.
        sources.feed.is_configured_as(&format!("{line}\n"));
        sources.feed.fetch(root);
        let hint = "packages come only of a feed whose signature opkg accepts";
        sources.is_refused(Cause::Plan, &["Signature", "for tests", hint]);
        if root.checks_signatures() {
            sources.feed.is_configured_as(&format!("{line}\n{checks}"));
            fs::remove_dir_all(&lists).unwrap();
            sources.is_refused(cause, &["ignature"]);
        }
        sources
            .feed
            .is_configured_as(&format!("{line} [trusted=yes]\n{checks}"));
        sources.feed.fetch(root);
        sources.install().unwrap();
        assert_eq!(sources.bench.version("libfoo").as_deref(), Some("2"));
        for package in ["acme", "libfoo"] {
            sources
                .bench
                .manager()
                .remove(&name(package), QUIET)
                .unwrap();
        }
    }
    sources.nothing_is_left();
}

#[test]
fn a_file_that_is_not_the_one_of_the_signed_list_does_not_come() {
    let Some(sources) = Sources::new() else {
        return;
    };
    let (root, list) = (sources.bench.place.opkg(), sources.feed.list());
    let digest = |line: &&str| line.starts_with("SHA256sum: ");
    let digest = list.lines().find(digest).unwrap().to_owned();
    for (instead, cause, words) in [
        (
            format!("SHA256sum: {:064}", 0),
            Cause::Dependency,
            "SHA-256 differs",
        ),
        (
            "Section: libs".to_owned(),
            Cause::Plan,
            "has no SHA-256 of libfoo",
        ),
    ] {
        let altered = list.replace(&digest, &instead);
        sources.feed.publish_as(&altered, Some(Signer::Vendor));
        sources.feed.fetch(root);
        sources.is_refused(cause, &[words, "feed tests"]);
    }
    sources.feed.publish();
    sources.feed.fetch(root);
    sources.install().unwrap();
    sources.nothing_is_left();
}

#[test]
fn an_unsigned_feed_cannot_state_the_sha256_of_the_file_of_another_feed() {
    let Some(sources) = Sources::new() else {
        return;
    };
    let (root, list) = (sources.bench.place.opkg(), sources.feed.list());
    let digest = |line: &&str| line.starts_with("SHA256sum: ");
    let digest = list.lines().find(digest).unwrap();
    let altered = list.replace(digest, &format!("SHA256sum: {:064}", 0));
    sources.feed.publish_as(&altered, Some(Signer::Vendor));
    sources.feed.fetch(root);
    // The address of this feed is the beginning of the other one's: its entry has the address of the same file.
    let configuration = sources.bench.place.path().join("etc/opkg/feed.conf");
    let lines = fs::read_to_string(&configuration).unwrap();
    fs::write(&configuration, format!("src other file:///srv\n{lines}")).unwrap();
    let other = list.replace("Filename: ", "Filename: feed/");
    let lists = sources.bench.place.path().join("var/lib/opkg/lists");
    fs::write(lists.join("other"), other).unwrap();
    sources.is_refused(Cause::Plan, &["feed tests", "feed other", "libfoo"]);
}

#[test]
fn a_feed_that_is_away_is_told_with_what_it_has() {
    let Some(sources) = Sources::new() else {
        return;
    };
    let folder = sources.feed.folder();
    let away = folder.with_extension("away");
    fs::rename(&folder, &away).unwrap();
    let words = ["libfoo", "feed tests has libfoo 2", "cannot be fetched"];
    sources.is_refused(Cause::Dependency, &words);
    fs::rename(&away, &folder).unwrap();
    sources.install().unwrap();
    sources.nothing_is_left();
}

#[test]
fn a_password_of_a_feed_is_told_nowhere() {
    let Some(sources) = Sources::new() else {
        return;
    };
    let secret = "hunter2";
    let line = format!("src/gz tests http://me:{secret}@127.0.0.1:1/{secret} [trusted=yes]\n");
    sources.feed.is_configured_as(&line);
    let told = RefCell::new(String::new());
    let supervisor = Supervisor {
        printed: &|_, text| told.borrow_mut().push_str(text),
        ..QUIET
    };
    let install = Install {
        file: sources.acme.clone(),
        options: PLAIN,
    };
    let dependencies = Dependencies::ConfiguredSources;
    let manager = sources.bench.manager();
    let installed = manager.install(&[install], &dependencies, supervisor);
    let failure = Failure::from(installed.unwrap_err());
    assert_eq!(failure.cause, Cause::Dependency, "{failure}");
    let told = told.into_inner() + failure.detail.as_str();
    assert!(told.contains("http://127.0.0.1:1/…"), "{told}");
    assert!(!told.contains(secret), "{told}");
}

#[test]
fn no_package_comes_that_is_only_recommended() {
    let library = Deb::new("libfoo", "2").field("Recommends", "docs");
    let Some(sources) = Sources::with(&library) else {
        return;
    };
    sources.feed.offer(&Deb::new("docs", "1"));
    sources.feed.fetch(sources.bench.place.opkg());
    sources.install().unwrap();
    assert_eq!(sources.bench.found("docs"), None);
}

#[test]
fn a_dependency_whose_file_another_package_has_is_refused_before_any_script() {
    let library = Deb::new("libfoo", "2").file("/usr/share/other/version", "x");
    let Some(sources) = Sources::with(&library) else {
        return;
    };
    let other = sources.bench.plain("other", "1");
    sources.bench.install(&other).unwrap();
    let words = "libfoo brings /usr/share/other/version, which belongs to other";
    sources.is_refused(Cause::Plan, &[words]);

    let library = Deb::new("libfoo", "2").file("/usr/share/acme/version", "x");
    let sources = Sources::with(&library).unwrap();
    sources.is_refused(Cause::Plan, &["bring /usr/share/acme/version both"]);
}

#[test]
fn a_dependency_whose_script_fails_leaves_nothing_and_one_that_opkg_is_killed_in_is_finished() {
    for (commands, is_done) in [
        ("echo no anchor; exit 3", false),
        (
            "if mkdir /killed 2>/dev/null; then kill -9 $PPID $$; fi",
            true,
        ),
    ] {
        for script in [Script::Preinst, Script::Postinst] {
            let library = Deb::new("libfoo", "2").script(script, commands);
            let Some(sources) = Sources::with(&library) else {
                return;
            };
            match is_done {
                false => sources.is_refused_after(Cause::Script, "no anchor"),
                true => {
                    sources.install().unwrap();
                    let versions = ["acme", "libfoo"].map(|name| sources.bench.version(name));
                    assert_eq!(versions, [Some("1".to_owned()), Some("2".to_owned())]);
                    let manager = sources.bench.manager();
                    manager.remove(&name("acme"), QUIET).unwrap();
                    assert_eq!(manager.unused(), Ok([name("libfoo")].into()), "{script:?}");
                    sources.nothing_is_left();
                }
            }
        }
    }
}

#[test]
fn a_clean_up_that_fails_removes_what_it_can_and_keeps_the_reason() {
    let Some(machine) = Machine::opkg() else {
        return;
    };
    // No file can be written beside the database: its name would be too long.
    let configurations = machine.root().join("etc/opkg");
    for entry in fs::read_dir(configurations).unwrap().flatten() {
        let path = entry.path();
        if path.is_file() {
            let long = format!("/var/lib/opkg/{:0250}", 0);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace("/var/lib/opkg/status", &long)).unwrap();
        }
    }
    let machine = machine.started();
    // opkg notes acme, and does not get to it.
    let feed = OpkgFeed::new(machine.place.opkg());
    feed.offer(&Deb::new("libfoo", "2").script(Script::Preinst, "echo no anchor; exit 3"));
    feed.fetch(machine.place.opkg());
    let outcome = machine.install(&Deb::new("acme", "1").depends("libfoo"));
    let failure = outcome.failure.expect("the script fails");
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    assert!(failure.detail.as_str().contains("no anchor"), "{failure}");
    let information = machine.root().join("var/lib/opkg/info");
    let left = fs::read_dir(information).unwrap().flatten();
    let left: Vec<_> = left.map(|it| it.file_name()).collect();
    assert_eq!(left, [""; 0]);
}

/// The end of a first attempt.
#[derive(Clone, Copy, Debug)]
enum End {
    /// wharf-job, opkg and this script of libfoo are killed.
    Killed(Script),
    /// wharf-job ends at this point. opkg gets past libfoo's script, or not.
    At(&'static str),
}

/// Installs acme 1, which needs libfoo of a feed. The first attempt ends early; libfoo's script runs these commands before.
fn ended_with_a_dependency(
    end: End,
    is_upgrade: bool,
    commands: &str,
) -> Option<(Machine, Outcome)> {
    let mut machine = Machine::opkg()?;
    mount_proc(&machine);
    let programs = machine.programs();
    let (libfoo, point) = match end {
        End::Killed(script) => {
            let commands = format!("{commands}\n{}", opkg_jobs::KILL);
            (Deb::new("libfoo", "2").script(script, &commands), None)
        }
        End::At(point) => {
            let libfoo = Deb::new("libfoo", "2").script(Script::Postinst, commands);
            (libfoo, Some(point))
        }
    };
    if let Some(point) = point {
        let script = format!(
            "#!/bin/sh\n[ -e {0}/counts ] && mkdir {0}/ended 2>/dev/null && export WHARF_FAULT_AT={point}=1\n\
             exec {1} \"$@\"\n",
            programs.display(),
            machine.program("wharf-job").display()
        );
        place_script(&script, &programs.join("wharf-job"));
    }
    machine.start_program(&programs.join("wharf-installer"), &[]);
    if is_upgrade {
        assert_eq!(machine.install(&Deb::new("acme", "0.5")).failure, None);
    }
    fs::write(programs.join("counts"), "").unwrap();
    let feed = OpkgFeed::new(machine.place.opkg());
    feed.offer(&libfoo);
    feed.fetch(machine.place.opkg());
    let outcome = machine.install(&Deb::new("acme", "1").depends("libfoo"));
    Some((machine, outcome))
}

#[test]
fn an_install_with_a_dependency_that_ended_early_is_finished_and_tells_it() {
    for end in [
        End::Killed(Script::Preinst),
        End::Killed(Script::Postinst),
        End::At("opkg.begun"),
        End::At("opkg.ended"),
    ] {
        for is_upgrade in [false, true] {
            let Some((machine, outcome)) = ended_with_a_dependency(end, is_upgrade, "true") else {
                return;
            };
            let what = format!("{end:?}, upgrade: {is_upgrade}");
            assert_eq!((outcome.failure, outcome.attempts), (None, 2), "{what}");
            let libfoo = Dependency {
                name: name("libfoo"),
                version: PackageVersion::new("2").unwrap(),
            };
            assert_eq!(outcome.dependencies, [libfoo], "{what}");
            let versions = ["acme", "libfoo"].map(|name| machine.version(name));
            assert_eq!(versions, ["1", "2"].map(|it| Some(it.to_owned())), "{what}");
            let outcome = machine.remove("acme");
            assert_eq!(outcome.unused, [name("libfoo")], "{what}");
            let records = machine.root().join("var/lib/wharf-installer/opkg");
            let records = fs::read_dir(records).unwrap().flatten();
            let names: Vec<_> = records.map(|it| it.file_name()).collect();
            assert_eq!(names, ["libfoo:files"], "{what}");
        }
    }
}

#[test]
fn dependencies_of_a_killed_install_that_is_refused_now_are_removed() {
    let gone = "mv /etc/wharfd/keys/vendor.asc / 2>/dev/null || true";
    for script in [Script::Preinst, Script::Postinst] {
        let ended = ended_with_a_dependency(End::Killed(script), false, gone);
        let Some((machine, outcome)) = ended else {
            return;
        };
        let failure = outcome.failure.expect("its key is gone");
        assert_eq!(failure.cause, Cause::Policy, "{failure}");
        let found = ["acme", "libfoo"].map(|name| machine.state(name));
        assert_eq!(found, [None, None], "{script:?}");
        for package in ["acme", "libfoo"] {
            let version = machine.root().join(format!("usr/share/{package}/version"));
            assert!(!version.exists(), "{version:?} {script:?}");
        }
    }
}

#[test]
fn a_clean_up_that_ended_between_a_package_and_its_dependency_is_finished() {
    let end = End::At("opkg.package-taken-back");
    let fails = "echo no anchor; exit 3";
    let Some((machine, outcome)) = ended_with_a_dependency(end, false, fails) else {
        return;
    };
    let failure = outcome.failure.expect("the script fails each time");
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    assert_eq!(outcome.attempts, 2, "{failure}");
    let found = ["acme", "libfoo"].map(|name| machine.state(name));
    assert_eq!(found, [None, None]);
}
