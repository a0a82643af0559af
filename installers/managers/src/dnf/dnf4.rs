//! dnf 4 is driven by its Python interface: `dnf4.py` plans a transaction, announces it, and executes the same object. The
//! command `dnf` would remove the packages that need a removed one, and its plan is text for people.

use std::{ffi::OsString, fs, io, path::Path};

use wharf_frames::Failure;
use wharf_root::{Root, durable};

use super::{
    order::{Coming, Order, Way},
    plan::{announced, only_installs, only_removes},
    programs::not_started,
    run::{Agree, Asks, Run, folder},
};
use crate::Times;

/// It is part of this program, so their versions always fit, and every root has it.
const PROGRAM: &str = include_str!("dnf4.py");

/// dnf 4 of one root.
pub(super) struct Dnf4 {
    root: Root,
    python: String,
}

impl Dnf4 {
    pub(super) fn open(root: &Root) -> Self {
        Self {
            root: root.clone(),
            python: python_of(&root.path("usr/bin/dnf-3")),
        }
    }

    /// The run of an order.
    pub(super) fn run<'a>(
        &self,
        order: Order<'_>,
        times: Times,
        agree: Agree<'a>,
    ) -> Result<Run<'a>, Failure> {
        let wait = times.lock_wait.as_secs().to_string();
        let on: Vec<OsString> = match order {
            Order::Install(coming) => coming.iter().flat_map(words_of).collect(),
            Order::Remove(name, _) => vec!["remove".into(), name.as_str().into()],
        };
        Ok(Run {
            name: "dnf",
            words: self.words([wait.into()].into_iter().chain(on))?,
            asks: Asks::OnSocket(agree),
            percent: |status, _| status.lines().next_back()?.parse().ok(),
            works: |_| true,
        })
    }

    /// Refuses steps beyond the order.
    pub(super) fn agree(order: Order<'_>, lines: &str) -> Result<(), Failure> {
        let steps = announced(lines)?;
        match order {
            Order::Install(coming) => only_installs(coming, &steps),
            Order::Remove(name, _) => only_removes(name, &steps),
        }
    }

    /// The words of a download into this folder of the root.
    pub(super) fn download(
        &self,
        folder: &Path,
        coming: &[Coming],
        room: u64,
        refresh: bool,
        times: Times,
    ) -> Result<Vec<OsString>, Failure> {
        let order = if refresh { "refresh" } else { "download" };
        let numbers = [times.lock_wait.as_secs(), room].map(|number| number.to_string());
        let [wait, room] = numbers.map(OsString::from);
        let words = [wait, order.into(), folder.into(), room];
        let files = coming.iter().map(|it| it.path.clone().into());
        self.words(words.into_iter().chain(files))
    }

    /// The words of the question for unneeded packages.
    pub(super) fn unneeded(&self) -> Result<Vec<OsString>, Failure> {
        self.words(["0", "unneeded"].map(OsString::from).into_iter())
    }

    fn words(&self, order: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, Failure> {
        let program = self.program().map_err(|error| not_started("dnf", &error))?;
        let python = [self.python.as_str(), "-I"].map(OsString::from);
        Ok(python.into_iter().chain([program]).chain(order).collect())
    }

    /// The path of the program, as Python sees it. Another process may run it now, so it is replaced as a whole.
    fn program(&self) -> io::Result<OsString> {
        let path = folder(&self.root)?.join("dnf4.py");
        if fs::read(&path).ok().as_deref() != Some(PROGRAM.as_bytes()) {
            durable::write_volatile(&path, PROGRAM.as_bytes())?;
        }
        Ok(self.root.seen_inside(&path).into())
    }
}

fn words_of(coming: &Coming) -> [OsString; 2] {
    let what = match coming.way() {
        _ if coming.is_dependency => "dependency",
        Way::Reinstall => "reinstall",
        _ => "install",
    };
    [what.into(), coming.path.clone().into()]
}

/// The Python of dnf itself. On some systems, users have another one.
fn python_of(dnf: &Path) -> String {
    let text = fs::read(dnf).unwrap_or_default();
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    let named = first
        .strip_prefix("#!")
        .and_then(|line| line.split_whitespace().next());
    match named {
        Some(python) if python.contains("python") => python.to_owned(),
        _ => "/usr/bin/python3".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_python_is_the_one_that_dnf_runs_with() {
        let folder = tempfile::tempdir().unwrap();
        let dnf = folder.path().join("dnf-3");
        assert_eq!(python_of(&dnf), "/usr/bin/python3");
        for (text, python) in [
            (
                "#!/usr/libexec/platform-python -s\nx",
                "/usr/libexec/platform-python",
            ),
            ("#! /usr/bin/python3.11\n", "/usr/bin/python3.11"),
            ("#!/bin/sh\n", "/usr/bin/python3"),
        ] {
            fs::write(&dnf, text).unwrap();
            assert_eq!(python_of(&dnf), python, "{text}");
        }
    }
}
