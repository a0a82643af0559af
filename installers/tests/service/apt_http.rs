//! Dependencies by apt from a source over http that asks for a password, as nginx serves it.

use std::{fs, net::TcpListener, os::unix::fs::symlink};

use wharf_frames::{Cause, Failure, installer::Outcome};
use wharf_tests::{nginx::Nginx, repository::Repository, waiting::wait_until};

use crate::machine::{Deb, Machine};

/// Of the user of the source. `%40` is `@` in a URI.
const PASSWORD: &str = "very@secret";

/// A machine whose only source has libfoo 2.
struct Served {
    machine: Machine,
    repository: Repository,
    origin: Nginx,
}

impl Served {
    fn new() -> Self {
        let machine = Machine::debian().started();
        let repository = Repository::new(&machine.place.path());
        repository.offer(&Deb::new("libfoo", "2"));
        let origin = Nginx::new("fleet", PASSWORD);
        symlink(repository.folder(), origin.served().join("repository")).unwrap();
        let served = Self {
            machine,
            repository,
            origin,
        };
        served.is_named_with("very%40secret");
        served.repository.fetch();
        served
    }

    fn is_named_with(&self, password: &str) {
        let uri = self.origin.uri("/repository");
        let uri = uri.replace("http://", &format!("http://fleet:{password}@"));
        let key = "/etc/apt/keyrings/repository.asc";
        self.repository
            .is_named_as(&format!("deb [signed-by={key}] {uri} ./"));
    }

    /// Installs acme, which needs libfoo. No password is in the outcome, the records or the journal.
    fn install(&mut self) -> Outcome {
        let outcome = self
            .machine
            .install(&Deb::new("acme", "1").depends("libfoo (>= 2)"));
        let journal = self.machine.installer().errors().all().join("\n");
        println!("{journal}");
        let mut told = vec![format!("{outcome:?}"), journal];
        let jobs = self.machine.root().join("var/lib/wharf-installer/jobs");
        for record in fs::read_dir(jobs).unwrap() {
            let bytes = fs::read(record.unwrap().path()).unwrap();
            told.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        for told in told {
            assert!(!told.contains("secret"), "{told}");
        }
        outcome
    }

    /// The installation fails, and names what is missing and the server.
    fn is_refused(&mut self, words: &[&str]) {
        let failure: Failure = self.install().failure.expect("a failure");
        assert_eq!(failure.cause, Cause::Dependency, "{failure}");
        let server = self.origin.uri("/");
        for word in ["libfoo (>= 2)", &server].iter().chain(words) {
            let is_told = failure.detail.as_str().contains(word);
            assert!(is_told, "{failure}: {word:?}");
        }
        assert_eq!(self.machine.state("acme"), None);
        assert_eq!(self.machine.state("libfoo"), None);
    }
}

#[test]
fn an_archive_that_is_gone_from_a_server_is_replaced_by_the_one_of_new_lists() {
    let mut served = Served::new();
    fs::remove_file(served.repository.folder().join("libfoo_2_all.deb")).unwrap();
    served.repository.offer(&Deb::new("libfoo", "3"));
    let outcome = served.install();
    assert_eq!(outcome.failure, None);
    let came: Vec<String> = outcome
        .dependencies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        (came, outcome.refreshed),
        (vec!["libfoo 3".to_owned()], true)
    );
}

#[test]
fn an_archive_that_is_gone_from_new_lists_too_is_named_with_its_server() {
    let mut served = Served::new();
    fs::remove_file(served.repository.folder().join("libfoo_2_all.deb")).unwrap();
    served.is_refused(&["404"]);
}

#[test]
fn a_server_that_is_away_is_named_with_the_missing_package() {
    let mut served = Served::new();
    served.origin.stop();
    served.is_refused(&["onnect"]);
}

#[test]
fn a_cancel_ends_a_download_of_dependencies_and_of_lists() {
    let mut served = Served::new();
    let address = served.origin.uri("").replace("http://", "");
    served.origin.stop();
    let silent = TcpListener::bind(address).unwrap();
    silent.set_nonblocking(true).unwrap();
    let machine = &served.machine;
    // Without the cancel, apt waits for longer than the test.
    let patient = "Acquire::http::Timeout \"600\";\n";
    fs::write(machine.root().join("etc/apt/apt.conf.d/patient"), patient).unwrap();
    // No list has libfoo 3, so they are fetched again.
    for needed in ["libfoo (>= 2)", "libfoo (>= 3)"] {
        let (operation, _) = machine.accepted(&Deb::new("acme", "1").depends(needed));
        let _connection = wait_until("a download", || silent.accept().ok());
        machine.cancel_what_runs(operation);
        let lists = machine.root().join("var/lib/apt/lists");
        let is_there = fs::read_dir(lists).unwrap().flatten().any(|it| {
            let name = it.file_name();
            name.to_string_lossy().ends_with("Packages")
        });
        assert!(is_there, "the old lists stay");
    }
    // The locks are free, and the queue goes on.
    assert_eq!(machine.install(&Deb::new("other", "1")).failure, None);
    assert!(silent.accept().is_err(), "nothing is fetched any more");
}

#[test]
fn a_server_that_refuses_the_password_is_named_without_it() {
    let mut served = Served::new();
    served.is_named_with("another-secret");
    served.is_refused(&["401"]);
}
