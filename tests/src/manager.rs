//! The package manager of a system, as its vendor and its administrator use it. It is independent of wharfd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    container::Container,
    debian_root,
    keys::{GnupgKeys, Signer},
    package::Package,
    rpm_root::RpmRoot,
};

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// apt, with dpkg.
    Apt,
    /// dnf 4, or dnf 5 if `WHARF_DNF5` is set, with rpm.
    Dnf,
}

use Manager::{Apt, Dnf};

impl Manager {
    /// The name by which root's policy chooses it.
    pub fn name(self) -> &'static str {
        match self {
            Apt => "apt",
            Dnf => "dnf",
        }
    }

    /// A system with it that boots, and is off.
    pub fn container(self) -> Container {
        match self {
            Apt => Container::new(),
            Dnf => Container::over(RpmRoot::system()),
        }
    }

    /// A system with it on a disk, as a file that is never written.
    pub fn disk(self) -> PathBuf {
        match self {
            Apt => debian_root::on_a_disk(),
            Dnf => RpmRoot::on_a_disk(),
        }
    }

    /// Builds a package for it in the folder `into`.
    pub fn build(self, package: &Package, into: &Path) -> PathBuf {
        match self {
            Apt => package.build(into),
            Dnf => package.as_rpm().build(into),
        }
    }

    /// A package and the vendor's signature in one file: inside a .deb, and around an .rpm.
    pub fn signed(self, keys: &GnupgKeys, package: &Path) -> Vec<u8> {
        let signed = match self {
            Apt => {
                keys.sign_inside(Signer::Vendor, package);
                package.to_owned()
            }
            Dnf => keys.sign_around(Signer::Vendor, package),
        };
        fs::read(&signed).unwrap_or_else(|error| panic!("{signed:?}: {error}"))
    }

    /// The version of an installed package. None if the database has no part of it. `inside` makes a command that runs a
    /// program on the system.
    ///
    /// # Errors
    ///
    /// If the database has a part of it alone, or two versions.
    pub fn installed(
        self,
        inside: &dyn Fn(&str) -> Command,
        package: &str,
    ) -> Result<Option<String>, String> {
        let (program, format) = match self {
            Apt => (
                "dpkg-query",
                [
                    "-W",
                    "-f",
                    "${Package}\t${db:Status-Abbrev}\t${Version}\n",
                    "*",
                ],
            ),
            Dnf => ("rpm", ["-qa", "--qf", "%{NAME}\tii\t%{EVR}\n", "*"]),
        };
        let mut query = inside(program);
        let every = output(query.args(format))?;
        if !every.status.success() {
            return Err(format!("{query:?}: {}", said(&every)));
        }
        let every = said(&every);
        let of_it = every.lines().filter_map(|line| {
            let mut fields = line.split('\t');
            let is_it = fields.next() == Some(package);
            let state = fields.next()?.trim_end();
            let has_files = is_it && state != "rc" && state != "un";
            has_files.then_some((state, fields.next()?))
        });
        match of_it.collect::<Vec<_>>().as_slice() {
            [] => Ok(None),
            [("ii", version)] => Ok(Some((*version).to_owned())),
            others => Err(format!("{program} has {package} as {others:?}")),
        }
    }

    /// As [`Manager::installed`], of a package whose files are those of the package.
    ///
    /// # Errors
    ///
    /// The same, and what the package manager says of files that are missing or changed.
    pub fn whole(
        self,
        inside: &dyn Fn(&str) -> Command,
        package: &str,
    ) -> Result<Option<String>, String> {
        let installed = self.installed(inside, package)?;
        if installed.is_some() {
            match self {
                Apt => {
                    quiet(inside("dpkg").args(["--verify", package]))?;
                    quiet(inside("dpkg").arg("--audit"))?;
                }
                Dnf => quiet(inside("rpm").args(["-V", package]))?,
            }
        }
        Ok(installed)
    }
}

/// It finds nothing.
fn quiet(command: &mut Command) -> Result<(), String> {
    let output = output(command)?;
    match output.status.success() && output.stdout.is_empty() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", said(&output))),
    }
}

fn output(command: &mut Command) -> Result<Output, String> {
    let output = command.output();
    output.map_err(|error| format!("{command:?}: {error}"))
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr];
    texts.map(|text| String::from_utf8_lossy(text)).concat()
}
