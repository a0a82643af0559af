//! The wanted files of a package, each written as a frame as soon as it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
};

use wharf_frames::{
    Cause, Failure,
    packed::{
        Framed, MAX_CONTENT, MAX_CONTENTS, MAX_FILES, MAX_PATH, PackedFile, WantedFiles, plain,
    },
};

use crate::{
    entry::{Entry, Kind},
    format::PackageFormat,
    part::ReadAt,
};

/// Writes the wanted files of a package, and returns their number. It reads the package a second time if a wanted file is
/// a hard link: the content then lies at another path, which need not be a wanted one.
pub(crate) fn write(
    package: &dyn ReadAt,
    length: u64,
    format: &dyn PackageFormat,
    wanted: &[WantedFiles],
    out: &mut dyn Write,
) -> Result<u32, Failure> {
    let mut files = Files {
        wanted,
        out,
        paths: BTreeSet::new(),
        contents: 0,
    };
    let mut links = Links::default();
    format.files(package, length, &mut |entry| files.take(entry, &mut links))?;
    if !links.0.is_empty() {
        format.files(package, length, &mut |entry| links.take(entry, &mut files))?;
    }
    links.check()?;
    u32::try_from(files.paths.len()).map_err(|error| malformed(&error.to_string()))
}

/// The files that were written.
struct Files<'a> {
    wanted: &'a [WantedFiles],
    out: &'a mut dyn Write,
    paths: BTreeSet<String>,
    /// The length of their contents.
    contents: usize,
}

/// The wanted hard links, by the path to which they lead.
#[derive(Default)]
struct Links(BTreeMap<String, LinkedFile>);

/// A file that has hard links.
#[derive(Default)]
struct LinkedFile {
    links: Vec<String>,
    is_found: bool,
}

impl Files<'_> {
    fn take(&mut self, entry: Entry<'_>, links: &mut Links) -> io::Result<()> {
        if matches!(entry.kind, Kind::Folder) {
            return Ok(());
        }
        let path = path_of(entry.path)?;
        if !self.wanted.iter().any(|it| it.matches(&path)) {
            return Ok(());
        }
        check_utf8(entry.path)?;
        if self.paths.len() == MAX_FILES {
            return unsound("it has too many wanted files");
        }
        if !self.paths.insert(path.clone()) {
            return unsound(&format!("it has two files {path}"));
        }
        match entry.kind {
            Kind::HardLink(target) => {
                check_utf8(target)?;
                let linked = links.0.entry(path_of(target)?).or_default();
                linked.links.push(path);
                Ok(())
            }
            kind => self.write(&[path], kind),
        }
    }

    /// Writes this entry, once at each path.
    fn write(&mut self, paths: &[String], kind: Kind<'_>) -> io::Result<()> {
        let mut file = PackedFile {
            path: String::new(),
            target: None,
            content: Vec::new().into(),
        };
        match kind {
            Kind::File(content) if paths.iter().any(|path| self.has_text(path)) => {
                let mut text = Vec::new();
                content
                    .take(MAX_CONTENT as u64 + 1)
                    .read_to_end(&mut text)?;
                if text.len() > MAX_CONTENT {
                    let path = paths.join(", ");
                    return unsound(&format!("its {path} is longer than {MAX_CONTENT} bytes"));
                }
                file.content = text.into();
            }
            Kind::File(_) => {}
            Kind::Link(target) => {
                check_utf8(target)?;
                file.target = Some(bounded(target)?);
            }
            _ => {
                return unsound(&format!(
                    "its {} is neither file nor link",
                    paths.join(", ")
                ));
            }
        }
        for path in paths {
            let mut file = file.clone();
            file.path.clone_from(path);
            if !self.has_text(path) {
                file.content.clear();
            }
            self.contents += file.content.len();
            if self.contents > MAX_CONTENTS {
                return unsound("the wanted files in it are too long");
            }
            let frame = file.to_frame().map_err(io::Error::other)?;
            self.out.write_all(&frame)?;
        }
        Ok(())
    }

    fn has_text(&self, path: &str) -> bool {
        let mut wanted = self.wanted.iter();
        wanted.any(|it| it.text && it.matches(path))
    }
}

impl Links {
    /// Writes the links to this file. A hard link leads to a file only.
    fn take(&mut self, entry: Entry<'_>, files: &mut Files<'_>) -> io::Result<()> {
        // No link that was taken leads to a name that is not UTF-8.
        if !matches!(entry.kind, Kind::File(_)) || str::from_utf8(entry.path).is_err() {
            return Ok(());
        }
        let path = path_of(entry.path)?;
        match self.0.get_mut(&path) {
            None => Ok(()),
            Some(linked) if linked.is_found => unsound(&format!("it has two files {path}")),
            Some(linked) => {
                linked.is_found = true;
                files.write(&linked.links, entry.kind)
            }
        }
    }

    fn check(&self) -> Result<(), Failure> {
        match self.0.iter().find(|(_, linked)| !linked.is_found) {
            None => Ok(()),
            Some((path, _)) => Err(malformed(&format!(
                "it has a hard link to {path}, and no such file"
            ))),
        }
    }
}

/// Refuses a name of a wanted file that is not UTF-8: a frame has only text, and two names could become one.
pub(crate) fn check_utf8(path: &[u8]) -> io::Result<()> {
    match str::from_utf8(path) {
        Ok(_) => Ok(()),
        Err(_) => {
            let path = String::from_utf8_lossy(path);
            unsound(&format!("the name {path:?} in it is not UTF-8"))
        }
    }
}

/// The path at which an entry is unpacked. Bytes that are not UTF-8 are replaced.
pub(crate) fn path_of(entry: &[u8]) -> io::Result<String> {
    let path = bounded(entry)?;
    let plain = plain(&path);
    plain.ok_or_else(|| io::Error::other(format!("its path {path:?} leads out of it")))
}

pub(crate) fn bounded(path: &[u8]) -> io::Result<String> {
    let path = String::from_utf8_lossy(path);
    match path.len() > MAX_PATH {
        true => unsound("a path in it is too long"),
        false => Ok(path.into_owned()),
    }
}

pub(crate) fn unsound<T>(why: &str) -> io::Result<T> {
    Err(io::Error::other(why.to_owned()))
}

fn malformed(why: &str) -> Failure {
    let detail = format!("the package is not valid: {why}");
    Failure::new(Cause::Malformed, detail)
}
