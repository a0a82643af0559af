//! Dependencies that dnf gets from repositories: the tests of dnf 4 and dnf 5 alone.

use std::{
    cell::{Cell, RefCell},
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::PathBuf,
    process::Command,
    thread,
};

use wharf_frames::{Cause, Failure};
use wharf_managers::{Dependencies, Install, Supervisor};
use wharf_root::{Change, limits};
use wharf_tests::{
    command::output_of,
    keys::Signer,
    origin::{Fault, Origin},
    package::incompressible,
    rpm_repository::RpmRepository,
};

use crate::{
    contract::{Bench, PLAIN, QUIET},
    dnf::{KILL, bench},
    machine::{Deb, Script, name},
};

/// A bench and a repository, and acme, which needs libfoo.
struct Sources {
    bench: Bench,
    repository: RpmRepository,
    acme: Install,
    begun: Cell<u32>,
}

impl Sources {
    fn new() -> Self {
        let bench = bench();
        let repository = RpmRepository::new(&bench.place.path());
        let deb = Deb::new("acme", "1").depends("libfoo");
        let file = bench.file(&deb, "acme", "1");
        Self {
            bench,
            repository,
            acme: Install {
                file,
                options: PLAIN,
            },
            begun: Cell::new(0),
        }
    }

    fn offer(&self, deb: &Deb, signer: Option<Signer>) {
        self.repository.offer_signed(&deb.as_rpm(), signer);
        self.repository.fetch();
    }

    fn install(&self) -> Result<Change, Failure> {
        let supervisor = Supervisor {
            begin: &|_| {
                self.begun.set(self.begun.get() + 1);
                Ok(())
            },
            printed: &|program, text| println!("{program}: {text}"),
            ..QUIET
        };
        let installs = [self.acme.clone()];
        let dependencies = Dependencies::ConfiguredSources;
        let installed = self
            .bench
            .manager()
            .install(&installs, &dependencies, supervisor);
        installed.map_err(Failure::from)
    }

    /// It is refused before the device changes.
    fn is_refused(&self, cause: Cause, words: &[&str]) {
        let failure = self.install().unwrap_err();
        assert_eq!(failure.cause, cause, "{failure}");
        for words in words {
            assert!(failure.detail.as_str().contains(words), "{failure}");
        }
        assert_eq!(self.begun.get(), 0);
        let found = ["acme", "libfoo"].map(|package| self.bench.found(package));
        assert_eq!(found, [None, None]);
        self.nothing_is_left();
    }

    fn nothing_is_left(&self) {
        let folder = "var/lib/wharf-installer/rpm-dependencies";
        let left = fs::read_dir(self.bench.place.path().join(folder)).unwrap();
        assert_eq!(left.count(), 0);
        assert_eq!(self.bench.manager().audit().unwrap(), [""; 0]);
    }
}

#[test]
fn a_dependency_without_a_valid_signature_is_refused_whatever_its_repository_says() {
    let sources = Sources::new();
    let libfoo = Deb::new("libfoo", "1");
    sources.offer(&libfoo, None);
    let told = "rpm does not accept the signatures of libfoo-1-1.noarch of repository tests";
    sources.is_refused(Cause::Plan, &[told, "no signature", "rpmkeys --import"]);
    sources.offer(&libfoo, Some(Signer::Stranger));
    sources.is_refused(Cause::Plan, &[told, "NOKEY", "rpmkeys --import"]);
    sources.offer(&libfoo, Some(Signer::VendorRsa));
    assert_eq!(sources.install(), Ok(Change::Changed));
    sources.nothing_is_left();
}

#[test]
fn a_repository_that_is_away_is_told_with_what_it_has() {
    let sources = Sources::new();
    sources.offer(&Deb::new("libfoo", "1"), Some(Signer::VendorRsa));
    let folder = sources.repository.folder();
    let away = folder.with_extension("away");
    fs::rename(&folder, &away).unwrap();
    let words = ["nothing provides libfoo", "tests has libfoo", "ownload"];
    sources.is_refused(Cause::Dependency, &words);
    fs::rename(&away, &folder).unwrap();
    assert_eq!(sources.install(), Ok(Change::Changed));
    sources.nothing_is_left();
}

/// Mounts a file system of its own for downloads, with this room beside its reserve.
fn with_room(sources: &Sources, mebibytes: u64) -> PathBuf {
    let downloads = "var/lib/wharf-installer/rpm-dependencies";
    let downloads = sources.bench.place.path().join(downloads);
    fs::create_dir_all(&downloads).unwrap();
    let size = mebibytes + (limits::RESERVE_BYTES.start() >> 20);
    let options = format!("size={size}m,mode=700");
    let mut mount = Command::new("mount");
    output_of(
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&downloads),
    );
    downloads
}

/// libfoo has this many bytes that no compression reduces.
fn library(bytes: usize) -> Deb {
    Deb::new("libfoo", "1").file("/usr/share/libfoo/file", incompressible(bytes))
}

const LIBRARY: &str = "/libfoo-1-1.noarch.rpm";

/// Serves the repository as it is now.
fn served(sources: &Sources) -> Origin {
    let origin = Origin::http();
    let folder = sources.repository.folder();
    for below in ["", "/repodata"] {
        for entry in fs::read_dir(format!("{}{below}", folder.display())).unwrap() {
            let path = entry.unwrap().path();
            if let Ok(content) = fs::read(&path) {
                let name = path.file_name().unwrap().to_string_lossy();
                origin.serve(&format!("{below}/{name}"), content);
            }
        }
    }
    sources.repository.is_at(&origin.uri(""));
    sources.repository.fetch();
    origin
}

#[test]
fn dependencies_come_only_if_the_disk_has_room_for_them_beside_its_reserve() {
    let sources = Sources::new();
    let downloads = with_room(&sources, 1);
    sources.offer(&library(3 << 20), Some(Signer::VendorRsa));
    sources.is_refused(Cause::DiskFull, &["bytes"]);
    // The disk fills up in the middle of a download.
    sources.offer(&library(300 << 10), Some(Signer::VendorRsa));
    let origin = served(&sources);
    origin.fault(LIBRARY, Fault::StallAfter(1000));
    let filler = downloads.join("filler");
    thread::scope(|scope| {
        scope.spawn(|| {
            origin.wait_for_stall();
            let filled = fs::write(&filler, vec![1; 80 << 20]);
            filled.unwrap_err();
            origin.release();
        });
        let failure = sources.install().unwrap_err();
        assert_eq!(failure.cause, Cause::DiskFull, "{failure}");
    });
    fs::remove_file(filler).unwrap();
    sources.nothing_is_left();
    assert_eq!(sources.install(), Ok(Change::Changed));
    sources.nothing_is_left();
    output_of(Command::new("umount").arg(downloads));
}

/// A server that does not say how much it sends, and does not end after this many bytes.
fn sends(bytes: usize) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepts = listener.try_clone().unwrap();
    thread::spawn(move || {
        for mut connection in accepts.incoming().flatten() {
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            let _ = connection.write_all(&vec![1; bytes]);
            let _ = connection.read_to_end(&mut Vec::new());
        }
    });
    listener
}

#[test]
fn a_dependency_that_is_larger_than_its_repository_says_does_not_come() {
    let sources = Sources::new();
    sources.offer(&library(1000), Some(Signer::VendorRsa));
    let built = sources.repository.folder().join(&LIBRARY[1..]);
    let small = fs::read(&built).unwrap();
    let large = [small.clone(), incompressible(5 << 20)].concat();
    fs::write(&built, &large).unwrap();
    sources.is_refused(Cause::Dependency, &["libfoo"]);
    let origin = served(&sources);
    sources.is_refused(Cause::Dependency, &["libfoo"]);
    let sender = sends(2 << 20);
    let uri = format!("http://{}/", sender.local_addr().unwrap());
    origin.fault(LIBRARY, Fault::Redirect(uri));
    let downloads = with_room(&sources, 1);
    sources.is_refused(Cause::DiskFull, &["have sent", "bytes"]);
    output_of(Command::new("umount").arg(downloads));
    origin.serve(LIBRARY, small);
    assert_eq!(sources.install(), Ok(Change::Changed));
    sources.nothing_is_left();
}

#[test]
fn a_password_of_a_repository_is_told_nowhere() {
    let sources = Sources::new();
    sources.offer(&Deb::new("libfoo", "1"), Some(Signer::VendorRsa));
    let secret = "hunter2";
    let address = format!("https://me:{secret}@127.0.0.1:1/{secret}/?key={secret}");
    sources.repository.is_at(&address);
    let told = RefCell::new(String::new());
    let supervisor = Supervisor {
        printed: &|_, text| told.borrow_mut().push_str(text),
        ..QUIET
    };
    let installs = [sources.acme.clone()];
    let dependencies = Dependencies::ConfiguredSources;
    let manager = sources.bench.manager();
    let installed = manager.install(&installs, &dependencies, supervisor);
    let failure = Failure::from(installed.unwrap_err());
    assert_eq!(failure.cause, Cause::Dependency, "{failure}");
    let told = told.into_inner() + failure.detail.as_str();
    assert!(told.contains("https://127.0.0.1:1/…"), "{told}");
    assert!(!told.contains(secret), "{told}");
}

#[test]
fn no_package_comes_that_is_only_recommended() {
    let sources = Sources::new();
    let libfoo = Deb::new("libfoo", "1").field("Recommends", "extra");
    sources.offer(&Deb::new("extra", "1"), Some(Signer::VendorRsa));
    sources.offer(&libfoo, Some(Signer::VendorRsa));
    assert_eq!(sources.install(), Ok(Change::Changed));
    assert_eq!(sources.bench.found("extra"), None);
}

#[test]
fn a_dependency_whose_script_fails_is_told_and_the_next_installation_repairs_it() {
    let sources = Sources::new();
    let fails = Deb::new("libfoo", "1").script(Script::Postinst, "echo no anchor; exit 3");
    sources.offer(&fails, Some(Signer::VendorRsa));
    let failure = sources.install().unwrap_err();
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    let words = "libfoo 1-1 is installed in part: %post failed, exit status 3";
    assert!(failure.detail.as_str().contains(words), "{failure}");
    let left = sources.bench.found("libfoo").unwrap();
    assert!(!left.is_whole(), "{left}");
    let repaired = sources.bench.plain("libfoo", "1");
    assert_eq!(sources.bench.install(&repaired), Ok(Change::Changed));
    assert!(sources.bench.found("libfoo").unwrap().is_whole());
}

#[test]
fn an_installation_goes_on_when_the_tool_was_killed_in_a_script_of_a_dependency() {
    let sources = Sources::new();
    let kills = Deb::new("libfoo", "1").script(Script::Postinst, KILL);
    sources.offer(&kills, Some(Signer::VendorRsa));
    // The dependency is repaired from the downloaded file. The package itself was not unpacked.
    let failure = sources.install().unwrap_err();
    assert_eq!(failure.cause, Cause::PackageManager, "{failure}");
    assert!(sources.bench.found("libfoo").unwrap().is_whole());
    assert_eq!(sources.bench.found("acme"), None);
    assert_eq!(sources.install(), Ok(Change::Changed));
    sources.nothing_is_left();
}

#[test]
fn what_a_killed_job_downloaded_repairs_the_dependency_and_is_deleted_after_it() {
    let sources = Sources::new();
    let root = sources.bench.place.path();
    let libfoo = sources.bench.plain("libfoo", "1");
    assert_eq!(sources.bench.install(&libfoo), Ok(Change::Changed));
    // No process has the number in the name.
    let state = root.join("var/lib/wharf-installer");
    let kept = state.join("rpm-dependencies/run.4194304-0123456789abcdef/stored/packages");
    fs::create_dir_all(&kept).unwrap();
    fs::copy(&libfoo.path, kept.join("libfoo-1-1.noarch.rpm")).unwrap();
    let begun = state.join("rpm-unfinished/libfoo");
    fs::write(begun, "begun\n").unwrap();
    let manager = sources.bench.manager();
    manager.tidy(&|package| package.as_str() == "libfoo");
    let repaired = manager.repair(&name("libfoo"), None, QUIET.printed);
    assert_eq!(repaired, Ok(Change::Changed));
    assert!(sources.bench.found("libfoo").unwrap().is_whole());
    manager.tidy(&|_| false);
    sources.nothing_is_left();
}

#[test]
fn a_kernel_is_not_replaced_by_its_next_version() {
    let sources = Sources::new();
    let kernel = |version: &str| {
        let deb = Deb::new("kernel-acme", version).field("Provides", "installonlypkg(kernel)");
        let deb = deb.file(&format!("/usr/share/kernel/{version}"), "x");
        sources.bench.file(&deb, "kernel-acme", version)
    };
    assert_eq!(sources.bench.install(&kernel("1")), Ok(Change::Changed));
    assert_eq!(sources.bench.install(&kernel("2")), Err(Cause::Plan));
    assert_eq!(sources.bench.version("kernel-acme").as_deref(), Some("1"));
}
