//! Runs the last script of a package again after a power cut: files that the script wrote may be lost.
//!
//! dpkg keeps the postrm of a removed package, and deletes it with a purge. Therefore it is copied before a purge.

use std::path::{Path, PathBuf};

use wharf_frames::{Cause, Failure, PackageName};
use wharf_root::{Change, Listener, Root, durable};

use super::{dpkg::Dpkg, programs};

/// The postrm of one package.
pub(super) struct Postrm<'a> {
    pub(super) dpkg: &'a Dpkg,
    pub(super) name: &'a PackageName,
    pub(super) architecture: &'a str,
}

impl Postrm<'_> {
    /// Runs the script as dpkg does after a removal (deb-postrm(5)).
    pub(super) fn run_again(&self, listener: Listener<'_>) -> Result<Change, Failure> {
        match self.of_dpkg() {
            Some(script) => self.run(&script, "remove", listener),
            None => Ok(Change::Unchanged),
        }
    }

    /// Runs the copy as dpkg runs the script at the end of a purge. A package without a postrm has no copy.
    pub(super) fn run_kept(&self, listener: Listener<'_>) -> Result<Change, Failure> {
        let script = copy_of(&self.dpkg.root, self.name);
        match script.is_file() {
            true => self.run(&script, "purge", listener),
            false => Ok(Change::Unchanged),
        }
    }

    /// Copies the script durably, if dpkg has it. If not, the copy of an earlier attempt stays: dpkg deletes the script
    /// before it records the purge.
    pub(super) fn keep(&self) -> Result<(), Failure> {
        let root = &self.dpkg.root;
        let Some(script) = self.of_dpkg() else {
            return Ok(());
        };
        let copied = durable::read(&script).and_then(|text| {
            durable::private_folder(&postrms(root))?;
            let text = text.unwrap_or_default();
            durable::write_readable(&copy_of(root, self.name), &text, 0o700)
        });
        copied.map_err(|error| {
            let detail = format!("cannot keep a copy of {}: {error}", script.display());
            Failure::new(Cause::Unavailable, detail)
        })
    }

    pub(super) fn of_dpkg(&self) -> Option<PathBuf> {
        let (name, architecture) = (self.name, self.architecture);
        let scripts = [
            format!("{name}.postrm"),
            format!("{name}:{architecture}.postrm"),
        ];
        let info = self.dpkg.root.path("var/lib/dpkg/info");
        let mut scripts = scripts.into_iter().map(|script| info.join(script));
        scripts.find(|script| script.is_file())
    }

    fn run(&self, script: &Path, action: &str, listener: Listener<'_>) -> Result<Change, Failure> {
        let root = &self.dpkg.root;
        let script = root.seen_inside(script);
        let mut command = programs::program(root, &script.to_string_lossy());
        command
            .arg(action)
            .env("DPKG_MAINTSCRIPT_PACKAGE", self.name.as_str())
            .env("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1")
            .env("DPKG_MAINTSCRIPT_ARCH", self.architecture)
            .env("DPKG_MAINTSCRIPT_NAME", "postrm")
            .env("DPKG_RUNNING_VERSION", self.dpkg.running_version()?)
            .env("DPKG_ADMINDIR", "/var/lib/dpkg")
            .env("DPKG_ROOT", "");
        match self.dpkg.run(command, "postrm", listener)? {
            (Some(0), _) => Ok(Change::Changed),
            (code, printed) => Err(failed(self.name, code, &printed)),
        }
    }
}

/// Deletes the copy from an earlier purge: the package is installed.
pub(super) fn forget(root: &Root, name: &PackageName) -> Result<(), Failure> {
    let copy = copy_of(root, name);
    durable::remove(&copy).map_err(|error| {
        let detail = format!("cannot remove {}: {error}", copy.display());
        Failure::new(Cause::Unavailable, detail)
    })
}

/// Deletes the copies of packages that no job `is_at_work` on.
pub(super) fn tidy(root: &Root, is_at_work: &dyn Fn(&PackageName) -> bool) {
    for entry in std::fs::read_dir(postrms(root))
        .into_iter()
        .flatten()
        .flatten()
    {
        let file = entry.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".postrm"));
        let name = name.and_then(|name| PackageName::new(name).ok());
        if !name.is_some_and(|name| is_at_work(&name)) {
            let _ = std::fs::remove_file(entry.path()); // or by the next job
        }
    }
}

fn postrms(root: &Root) -> PathBuf {
    root.state().join("postrms")
}

/// debconf reads the name of the package from the name of the script.
fn copy_of(root: &Root, name: &PackageName) -> PathBuf {
    postrms(root).join(format!("{name}.postrm"))
}

/// A removal fails in dpkg, too, if the postrm fails.
fn failed(name: &PackageName, code: Option<i32>, printed: &str) -> Failure {
    let end = match code {
        // A shell ends with 128 + N if signal N ended its command first.
        None | Some(129..=159) => "was ended".to_owned(),
        Some(code) => format!("ended with {code}"),
    };
    let said = printed.lines().last().unwrap_or("it printed nothing");
    let detail = format!("{name} is removed, but its postrm {end} when it was run again: {said}");
    Failure::new(Cause::Script, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postrm_that_a_signal_ended_was_ended_also_where_its_shell_says_so() {
        let acme = PackageName::new("acme").unwrap();
        for (code, words) in [
            (None, "its postrm was ended when"),
            (Some(128 + 9), "its postrm was ended when"),
            (Some(3), "its postrm ended with 3 when"),
            (Some(255), "its postrm ended with 255 when"),
        ] {
            let failure = failed(&acme, code, "Killed\n");
            assert!(failure.detail.as_str().contains(words), "{failure}");
        }
    }

    #[test]
    fn the_copies_of_packages_that_no_job_is_about_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        durable::private_folder(&postrms(&root)).unwrap();
        for name in ["acme", "other"] {
            let name = PackageName::new(name).unwrap();
            std::fs::write(copy_of(&root, &name), "").unwrap();
        }
        tidy(&root, &|name| name.as_str() == "acme");
        let left = std::fs::read_dir(postrms(&root)).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["acme.postrm"]);
    }
}
