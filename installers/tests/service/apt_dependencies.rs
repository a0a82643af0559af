//! Dependencies by apt, from a repository of the root that is signed, or not. The contract has what each package manager does.

use std::{fs, time::Duration};

use wharf_frames::{
    Cause, Failure, PackageVersion,
    installer::{Dependency, Outcome},
};
use wharf_managers::{Brought, Dependencies, PackageFile};
use wharf_root::pattern::Pattern;
use wharf_tests::{command::output_of, keys::Signer, repository::Repository};

use crate::{
    contract::{Bench, QUIET},
    machine::{Deb, Machine, Script, name},
};

/// A root whose only source has libfoo 2, and acme 1, which needs it.
struct Sources {
    bench: Bench,
    repository: Repository,
    acme: PackageFile,
}

fn library() -> Deb {
    Deb::new("libfoo", "2")
}

impl Sources {
    fn new() -> Self {
        Self::with(&library())
    }

    fn with(library: &Deb) -> Self {
        Self::of(Bench::apt(), library)
    }

    fn of(bench: Bench, library: &Deb) -> Self {
        let repository = Repository::new(&bench.place.path());
        repository.offer(library);
        repository.fetch();
        let acme = Deb::new("acme", "1").depends("libfoo (>= 2)");
        Self {
            acme: bench.file(&acme, "acme", "1"),
            bench,
            repository,
        }
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
            assert!(
                failure.detail.as_str().contains(word),
                "{failure}: {word:?}"
            );
        }
        let found = ["acme", "libfoo"].map(|name| self.bench.found(name));
        assert_eq!(found, [None, None]);
        assert_eq!(self.bench.manager().audit().unwrap(), [""; 0]);
    }

    /// The administrator has these lines in a file of apt.conf(5).
    fn configures(&self, lines: &str) {
        let file = "etc/apt/apt.conf.d/99-administrator";
        fs::write(self.bench.place.path().join(file), lines).unwrap();
    }

    fn names(&self, options: &str) {
        let line = format!("deb [{options}] copy:/srv/repository ./");
        self.repository.is_named_as(&line);
    }
}

#[test]
fn packages_of_a_source_without_a_signature_come_only_if_its_line_trusts_it() {
    let sources = Sources::new();
    let lists = sources.bench.place.path().join("var/lib/apt/lists");
    sources.repository.publish_signed(None, "");
    fs::remove_dir_all(lists).unwrap();
    sources.names("arch=all,amd64");
    sources.is_refused(Cause::Dependency, &["libfoo (>= 2)", "is not signed"]);
    sources.names("allow-insecure=yes");
    sources.repository.fetch();
    sources.is_refused(Cause::Plan, &["no signature of a source covers libfoo"]);
    sources.names("trusted=yes");
    sources.install().unwrap();
    assert_eq!(sources.bench.version("libfoo").as_deref(), Some("2"));
}

#[test]
fn no_option_of_the_administrator_lets_a_package_without_a_signature_come() {
    let sources = Sources::new();
    let lists = sources.bench.place.path().join("var/lib/apt/lists");
    sources.repository.publish_signed(None, "");
    fs::remove_dir_all(lists).unwrap();
    sources.names("allow-insecure=yes");
    sources.repository.fetch();
    sources.configures("APT::Get::Force-Yes \"true\";\n");
    sources.is_refused(Cause::Plan, &["no signature of a source covers libfoo"]);
}

#[test]
fn packages_of_a_source_with_the_signature_of_another_key_do_not_come() {
    let sources = Sources::new();
    let lists = sources.bench.place.path().join("var/lib/apt/lists");
    sources
        .repository
        .publish_signed(Some(Signer::Stranger), "");
    fs::remove_dir_all(lists).unwrap();
    sources.is_refused(Cause::Dependency, &["libfoo (>= 2)", "cannot be fetched"]);
}

#[test]
fn lists_that_have_expired_on_the_device_still_bring_packages_and_new_expired_ones_do_not() {
    let sources = Sources::new();
    let expired = "Valid-Until: Wed, 01 Jan 2025 00:00:00 +0000\n";
    let newer = Deb::new("libnew", "1");
    newer.build(&sources.repository.folder());
    sources
        .repository
        .publish_signed(Some(Signer::Vendor), expired);
    let tool = Deb::new("tool", "1").depends("libnew");
    let tool = [sources.bench.file(&tool, "tool", "1")];
    let refused = sources
        .bench
        .install_with(&tool, &Dependencies::ConfiguredSources);
    let failure = refused.unwrap_err();
    assert_eq!(failure.cause, Cause::Dependency, "{failure}");
    assert!(failure.detail.as_str().contains("expired"), "{failure}");
    sources.install().unwrap();
    assert_eq!(sources.bench.version("libfoo").as_deref(), Some("2"));
}

#[test]
fn a_source_that_cannot_be_reached_is_named_with_the_missing_package() {
    let sources = Sources::new();
    let away = sources.bench.place.path().join("srv/away");
    fs::rename(sources.repository.folder(), away).unwrap();
    let words = ["libfoo (>= 2)", "copy:/srv/repository", "libfoo_2_all.deb"];
    sources.is_refused(Cause::Dependency, &words);
}

#[test]
fn an_archive_that_is_gone_is_replaced_by_the_one_of_new_lists() {
    let sources = Sources::new();
    fs::remove_file(sources.repository.folder().join("libfoo_2_all.deb")).unwrap();
    sources.repository.offer(&Deb::new("libfoo", "3"));
    let begun = sources.install().unwrap();
    let told = begun.iter().map(|it| (it.dependencies.len(), it.refreshed));
    assert_eq!(told.collect::<Vec<_>>(), [(1, true)]);
    assert_eq!(sources.bench.version("libfoo").as_deref(), Some("3"));
}

/// Another front end, such as unattended-upgrades, installs a package that does not get through its postinst the first time.
fn is_left_half_way(sources: &Sources, package: &str, version: &str, how: &str) {
    let postinst = format!("if mkdir /left 2>/dev/null; then {how}; fi");
    let left = Deb::new(package, version).script(Script::Postinst, &postinst);
    let left = sources.bench.file(&left, package, version);
    let inside = format!("/tmp/{}", left.path.file_name().unwrap().to_str().unwrap());
    let mut dpkg = sources.bench.place.debian().command("dpkg");
    let installed = dpkg.args(["--install", &inside]).output().unwrap();
    assert!(!installed.status.success(), "{installed:?}");
    let left = sources.bench.found(package).and_then(|found| found.damage);
    assert_eq!(left, Some("half-configured".into()));
}

/// Whether a dpkg that was killed left changes that are not in its database.
fn has_updates(sources: &Sources) -> bool {
    let updates = sources.bench.place.path().join("var/lib/dpkg/updates");
    fs::read_dir(updates).unwrap().count() > 0
}

#[test]
fn what_another_front_end_left_half_way_is_configured_along_unless_dpkg_was_interrupted() {
    for (left, version, how, updates) in [
        ("other", "1", "kill -9 $PPID $$", true),
        ("other", "1", "exit 1", false),
        ("libfoo", "2", "exit 1", false),
    ] {
        let sources = Sources::new();
        is_left_half_way(&sources, left, version, how);
        assert_eq!(has_updates(&sources), updates, "{how}");
        if updates {
            is_refused_until_dpkg_has_finished(&sources);
        }
        let brought = sources.install().unwrap();
        let brought: usize = brought.iter().map(|it| it.dependencies.len()).sum();
        assert_eq!(brought, usize::from(left != "libfoo"), "{left} {how}");
        for package in ["acme", "libfoo", left] {
            let whole = sources.bench.found(package).is_some_and(|it| it.is_whole());
            assert!(whole, "{package} after {left} {how}");
        }
    }
}

/// The failure names the command that finishes the work of dpkg, and the command is right.
fn is_refused_until_dpkg_has_finished(sources: &Sources) {
    let damage = sources.bench.manager().audit().unwrap();
    let failure = sources.install().unwrap_err();
    assert_eq!(failure.cause, Cause::Interrupted, "{failure}");
    let words = failure.detail.as_str();
    assert!(words.contains("`dpkg --configure -a`"), "{failure}");
    assert_eq!(sources.bench.found("acme"), None);
    assert_eq!(sources.bench.manager().audit().unwrap(), damage);
    let mut dpkg = sources.bench.place.debian().command("dpkg");
    output_of(dpkg.args(["--configure", "-a"]));
}

#[test]
fn lists_of_one_source_that_were_fetched_again_are_told_although_another_source_is_away() {
    let sources = Sources::new();
    let line = "deb [signed-by=/etc/apt/keyrings/repository.asc] copy:/srv/repository ./";
    let both = format!("{line}\n{}", line.replace("repository ./", "away ./"));
    sources.repository.is_named_as(&both);
    fs::remove_file(sources.repository.folder().join("libfoo_2_all.deb")).unwrap();
    sources.repository.offer(&Deb::new("libfoo", "3"));
    let begun = sources.install().unwrap();
    let told = begun.iter().map(|it| (it.dependencies.len(), it.refreshed));
    assert_eq!(told.collect::<Vec<_>>(), [(1, true)]);
}

#[test]
fn lists_that_are_not_fetched_in_time_are_not_up_to_date() {
    let bench = Bench::apt_that_waits(Duration::from_secs(1), Duration::from_secs(10));
    let sources = Sources::of(bench, &library());
    fs::remove_file(sources.repository.folder().join("libfoo_2_all.deb")).unwrap();
    sources.configures("APT::Update::Pre-Invoke { \"exec sleep 1000\"; };\n");
    let words = ["libfoo (>= 2)", "apt-get update was ended after 10 s"];
    sources.is_refused(Cause::Dependency, &words);
}

#[test]
fn an_archive_that_lies_in_apts_folder_is_not_trusted_and_downloads_do_not_stay() {
    let sources = Sources::new();
    let offered = sources.repository.folder().join("libfoo_2_all.deb");
    let length = usize::try_from(fs::metadata(&offered).unwrap().len()).unwrap();
    let cache = sources.bench.place.path().join("var/cache/apt");
    let old = cache.join("archives/libfoo_2_all.deb");
    fs::create_dir_all(old.parent().unwrap()).unwrap();
    fs::write(&old, vec![b'x'; length]).unwrap();
    let names = || {
        let entries = fs::read_dir(&cache).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names
            .filter(|name| !name.to_string_lossy().ends_with(".bin"))
            .collect();
        names.sort();
        names
    };
    let before = names();
    sources.install().unwrap();
    assert_eq!(sources.bench.version("libfoo").as_deref(), Some("2"));
    assert_eq!(fs::read(&old).unwrap(), vec![b'x'; length]);
    assert_eq!(names(), before);
}

#[test]
fn what_policy_refuses_is_not_downloaded() {
    let sources = Sources::new();
    // A download would fail, and new lists would be fetched.
    fs::remove_file(sources.repository.folder().join("libfoo_2_all.deb")).unwrap();
    sources.configures("APT::Update::Pre-Invoke { \"touch /run/updated\"; };\n");
    let acme = std::slice::from_ref(&sources.acme);
    for (listed, cause) in [
        (vec![Pattern::built_in("libbar*")], Cause::Plan),
        (vec![], Cause::Dependency),
    ] {
        let refused = sources
            .bench
            .install_with(acme, &Dependencies::Listed(listed));
        let failure = refused.unwrap_err();
        assert_eq!(failure.cause, cause, "{failure}");
        assert!(failure.detail.as_str().contains("libfoo"), "{failure}");
    }
    assert!(!sources.bench.place.path().join("run/updated").exists());
}

#[test]
fn nothing_is_removed_for_a_dependency() {
    let sources = Sources::with(&library().field("Conflicts", "oldfoo"));
    let oldfoo = sources.bench.plain("oldfoo", "1");
    sources.bench.install(&oldfoo).unwrap();
    sources.is_refused(Cause::Plan, &["would remove oldfoo"]);
    assert_eq!(sources.bench.version("oldfoo").as_deref(), Some("1"));
}

#[test]
fn a_dependency_that_cannot_be_configured_leaves_a_whole_device() {
    let sources = Sources::with(&library().script(Script::Postinst, "exit 3"));
    sources.is_refused(Cause::Script, &["libfoo", "exit status 3"]);
}

#[test]
fn scripts_have_all_their_time_after_a_long_download() {
    let bench = Bench::apt_that_waits(Duration::from_secs(1), Duration::from_secs(12));
    let sources = Sources::of(bench, &library().script(Script::Postinst, "sleep 8"));
    sources.configures("DPkg::Pre-Install-Pkgs { \"sleep 6\"; };\n");
    sources.install().unwrap();
    assert_eq!(sources.bench.version("acme").as_deref(), Some("1"));
}

#[test]
fn an_upgrade_whose_dependency_cannot_be_configured_stops_no_later_work() {
    for mended in [true, false] {
        let sources = Sources::with(&library().script(Script::Postinst, "exit 3"));
        let bench = &sources.bench;
        bench.install(&bench.plain("acme", "0")).unwrap();
        assert_eq!(sources.install().unwrap_err().cause, Cause::Script);
        bench.install(&bench.plain("lamp", "1")).unwrap();
        if mended {
            bench.install(&bench.plain("acme", "2")).unwrap();
        } else {
            bench.manager().remove(&name("acme"), QUIET).unwrap();
        }
        let acme = mended.then_some("2");
        assert_eq!(bench.version("acme").as_deref(), acme);
        assert_eq!(bench.version("lamp").as_deref(), Some("1"));
        assert_eq!(bench.found("libfoo"), None, "{mended}");
        assert_eq!(bench.manager().audit().unwrap(), [""; 0], "{mended}");
    }
}

/// A root with acme 1, which needs liba and, in a circle, libb. The configuration of libb runs these commands.
fn circle(commands: &str) -> Sources {
    let liba = Deb::new("liba", "1").depends("libb");
    let libb = Deb::new("libb", "1").depends("liba");
    let mut sources = Sources::with(&liba);
    let libb = libb.script(Script::Postinst, commands);
    sources.repository.offer(&libb);
    sources.repository.fetch();
    let acme = Deb::new("acme", "1").depends("liba");
    sources.acme = sources.bench.file(&acme, "acme", "1");
    sources
}

fn is_whole_or_gone(bench: &Bench, version: Option<&str>) {
    let found = ["acme", "liba", "libb"].map(|name| bench.found(name));
    let versions = found.map(|it| it.map(|it| it.to_string()));
    let whole = |name| version.map(|version| format!("{name} {version}"));
    assert_eq!(versions, ["acme", "liba", "libb"].map(whole));
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn dependencies_that_need_each_other_are_cleaned_up_together() {
    let sources = circle("exit 3");
    assert_eq!(sources.install().unwrap_err().cause, Cause::Script);
    is_whole_or_gone(&sources.bench, None);
}

#[test]
fn dependencies_that_need_each_other_are_repaired_together() {
    let sources = circle("if mkdir /killed 2>/dev/null; then kill -9 $PPID $$; fi");
    sources.install().unwrap();
    is_whole_or_gone(&sources.bench, Some("1"));
}

#[test]
fn what_kills_dpkg_each_time_is_cleaned_up() {
    let sources = circle("kill -9 $PPID $$");
    sources.install().unwrap_err();
    is_whole_or_gone(&sources.bench, None);
}

#[test]
fn the_sealed_file_is_installed_although_a_source_has_the_same_version() {
    let sources = Sources::new();
    let other = Deb::new("acme", "1").depends("libfoo (>= 2)");
    let other = other.file("/usr/share/acme/from-the-source", "x");
    sources.repository.offer(&other);
    sources.repository.fetch();
    let installed = sources.install();
    let from_the_source = sources
        .bench
        .place
        .path()
        .join("usr/share/acme/from-the-source");
    assert!(!from_the_source.exists());
    installed.unwrap();
    assert_eq!(sources.bench.version("acme").as_deref(), Some("1"));
}

#[test]
fn a_file_that_a_source_has_too_is_installed_with_its_dependencies() {
    let sources = Sources::new();
    let offered = sources.repository.folder().join("acme_1_all.deb");
    fs::copy(&sources.acme.path, offered).unwrap();
    sources.repository.publish();
    sources.repository.fetch();
    sources.install().unwrap();
    assert_eq!(sources.bench.version("acme").as_deref(), Some("1"));
    assert_eq!(sources.bench.version("libfoo").as_deref(), Some("2"));
}

#[test]
fn what_came_along_and_what_is_unused_is_in_the_outcomes() {
    let machine = Machine::debian().started();
    let repository = Repository::new(&machine.place.path());
    // Its service starts as its own scripts say: it is another package.
    let started = library().script(Script::Postinst, "echo started >/run/libfoo");
    repository.offer(&started);
    let outcome = machine.install(&Deb::new("acme", "1").depends("libfoo (>= 2)"));
    let libfoo = Dependency {
        name: name("libfoo"),
        version: PackageVersion::new("2").unwrap(),
    };
    let told = |outcome: &Outcome| (outcome.dependencies.clone(), outcome.refreshed);
    assert_eq!(outcome.failure, None);
    assert_eq!(told(&outcome), (vec![libfoo], true));
    assert_eq!(outcome.unused, []);
    assert!(machine.place.path().join("run/libfoo").exists());

    let outcome = machine.remove("acme");
    assert_eq!(
        (outcome.failure.clone(), told(&outcome)),
        (None, (vec![], false))
    );
    assert_eq!(outcome.unused, [name("libfoo")]);
    let dpkg = machine.place.debian().installed_version("libfoo");
    assert_eq!(dpkg.as_deref(), Some("2"));
}

#[test]
fn no_package_is_told_as_unused_if_nobody_could_say_it_before() {
    let machine = Machine::debian().started();
    let repository = Repository::new(&machine.place.path());
    repository.offer(&library());
    repository.offer(&Deb::new("oldfoo", "1"));
    repository.fetch();
    let debian = machine.place.debian();
    let installed = ["-qy", "install", "oldfoo"];
    output_of(debian.command("apt-get").args(installed));
    output_of(debian.command("apt-mark").args(["auto", "oldfoo"]));
    let outcome = machine.install(&Deb::new("acme", "1").depends("libfoo (>= 2)"));
    assert_eq!(outcome.failure, None);
    let removed = ["--remove", "--force-depends", "libfoo"];
    output_of(debian.command("dpkg").args(removed));

    let outcome = machine.remove("acme");
    assert_eq!((outcome.failure, outcome.unused), (None, vec![]));
}
