//! The files of a package by their paths: those of an installed one as dpkg lists them, those of a file before it is
//! installed as dpkg-deb unpacks them. They are read only from packages whose signature holds.

use std::{fs, io, path::Path, process::Stdio};

use tar::Archive;
use wharf_frames::{Cause, Failure, PackageName};

use super::dpkg::not_started;
use crate::{limits, process, root::Root};

/// A path, and where it leads if it is a symbolic link.
pub(super) type PathOf = (String, Option<String>);

/// The files of an installed package among those whose path `counts`.
pub(super) fn installed(
    root: &Root,
    name: &PackageName,
    counts: impl Fn(&str) -> bool,
) -> Result<Vec<PathOf>, Failure> {
    let output = process::ask(root, "dpkg-query", ["-L", "--", name.as_str()])
        .map_err(|error| not_started("dpkg-query", &error))?;
    let lines = String::from_utf8_lossy(&output.stdout);
    let paths = lines
        .lines()
        .filter(|line| line.starts_with('/') && counts(line));
    let target = |path: &str| {
        let target = fs::read_link(root.path(path.trim_start_matches('/'))).ok()?;
        Some(target.to_string_lossy().into_owned())
    };
    Ok(paths.map(|path| (path.to_owned(), target(path))).collect())
}

/// The files that dpkg would unpack from this package among those whose path `counts`.
pub(super) fn packed(
    root: &Root,
    file: &Path,
    counts: impl Fn(&str) -> bool,
) -> Result<Vec<PathOf>, Failure> {
    let mut child = process::program(root, "dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(root.seen_inside(file))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| not_started("dpkg-deb", &error))?;
    let tar = child.stdout.take();
    let listed = tar.map_or(Ok(Vec::new()), |tar| list(tar, counts));
    let status = child
        .wait()
        .map_err(|error| not_started("dpkg-deb", &error))?;
    match listed {
        Ok(paths) if status.success() => Ok(paths),
        Ok(_) => Err(malformed("dpkg-deb cannot unpack it")),
        Err(error) => Err(malformed(&error.to_string())),
    }
}

/// Reads to the end: a program that writes to nobody would fail.
fn list(tar: impl io::Read, counts: impl Fn(&str) -> bool) -> io::Result<Vec<PathOf>> {
    let mut paths = Vec::new();
    let mut archive = Archive::new(tar);
    for entry in archive.entries()? {
        let entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !counts(&path) {
            continue;
        }
        if paths.len() == limits::UNIT_FILES {
            return Err(io::Error::other("it brings too many units"));
        }
        let target = entry
            .link_name_bytes()
            .filter(|_| entry.header().entry_type().is_symlink());
        let target = target.map(|target| String::from_utf8_lossy(&target).into_owned());
        paths.push((path, target));
    }
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(paths)
}

fn malformed(why: &str) -> Failure {
    let detail = format!("the data.tar of the package is not sound: {why}");
    Failure::new(Cause::Malformed, detail)
}
