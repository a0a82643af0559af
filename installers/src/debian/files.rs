//! The files of a package by their paths: those of an installed one as dpkg lists them, those of a file before it is
//! installed as dpkg-deb unpacks them. They are read only from packages whose signature holds.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::Stdio,
};

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

/// Visits what dpkg lists for an installed package, by dpkg's own file: dpkg-query would read its whole database. The
/// architecture is in the name of that file where the package may be there for more than one (`Multi-Arch: same`).
pub(super) fn listed(
    root: &Root,
    name: &PackageName,
    architecture: &str,
    visit: &mut dyn FnMut(&Path),
) -> Result<(), Failure> {
    for name in [name.to_string(), format!("{name}:{architecture}")] {
        let list = root.path(format!("var/lib/dpkg/info/{name}.list"));
        visit_lines(root, &list, visit).map_err(|error| {
            let detail = format!("cannot read {}: {error}", list.display());
            Failure::new(Cause::Unavailable, detail)
        })?;
    }
    Ok(())
}

fn visit_lines(root: &Root, list: &Path, visit: &mut dyn FnMut(&Path)) -> io::Result<()> {
    let lines = match File::open(list) {
        Ok(file) => BufReader::new(file).split(b'\n'),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for line in lines {
        let line = line?;
        let below = line.strip_prefix(b"/").unwrap_or(&line);
        visit(&root.path(OsStr::from_bytes(below)));
    }
    Ok(())
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
