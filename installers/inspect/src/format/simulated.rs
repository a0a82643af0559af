//! The format of the simulated package manager: a text header, then files.
//!
//! ```text
//! wharf-simulated 1
//! name: acme
//! version: 1.4
//! architecture: all
//!
//! file: /etc/init.d/acme 5
//! #!acmelink: /usr/bin/acme /opt/acme
//! needs: libacme 1.0
//! signature: 96
//! ```
//!
//! A file has its length, and its bytes follow the line. The signature, if there is one, is the last part, and covers all
//! bytes before its line. The package ends where its last part ends.

use std::{iter, ops::Range};

use wharf_frames::{Cause, Failure, PackageName, PackageVersion, inspect::Described};

use crate::{
    entry::{Each, Entry, Kind},
    format::{Inside, PackageFormat},
    part::{Part, ReadAt, read_range, unreadable},
};

const MAGIC: &[u8] = b"wharf-simulated 1\n";

/// The longest line.
const MAX_LINE: u64 = 8 * 1024;

/// The longest signature.
const MAX_SIGNATURE: u64 = 64 * 1024;

/// The format of the simulated package manager.
pub struct SimulatedFormat;

impl PackageFormat for SimulatedFormat {
    fn signature_inside(&self, file: &dyn ReadAt, length: u64) -> Result<Option<Inside>, Failure> {
        let mut reader = Reader::open(file, length)?;
        reader.describe()?;
        while let Some(part) = reader.next()? {
            if let What::Signature = part.what {
                return Ok(Some(Inside {
                    packets: read(file, part.content)?,
                    covers: iter::once(0..part.start).collect(),
                    digests: Vec::new(),
                }));
            }
        }
        Ok(None)
    }

    fn describe(&self, file: &dyn ReadAt, length: u64) -> Result<Described, Failure> {
        let mut reader = Reader::open(file, length)?;
        let described = reader.describe()?;
        while reader.next()?.is_some() {}
        Ok(described)
    }

    fn files(&self, file: &dyn ReadAt, length: u64, each: Each<'_>) -> Result<(), Failure> {
        let mut reader = Reader::open(file, length)?;
        reader.describe()?;
        while let Some(part) = reader.next()? {
            let mut content = Part::new(file, part.content);
            let (path, kind) = match &part.what {
                What::File(path) => (path, Kind::File(&mut content)),
                What::Link(path, target) => (path, Kind::Link(target.as_bytes())),
                What::Need | What::Signature => continue,
            };
            let path = path.as_bytes();
            each(Entry { path, kind }).map_err(|error| malformed(&error.to_string()))?;
        }
        Ok(())
    }
}

/// A part after the header.
struct Line {
    /// The position of its line.
    start: u64,
    what: What,
    /// Its bytes after the line.
    content: Range<u64>,
}

enum What {
    File(String),
    Link(String, String),
    /// Another package, which the package manager reads.
    Need,
    Signature,
}

struct Reader<'a> {
    file: &'a dyn ReadAt,
    position: u64,
    length: u64,
}

impl<'a> Reader<'a> {
    fn open(file: &'a dyn ReadAt, length: u64) -> Result<Self, Failure> {
        let begin = MAGIC.len() as u64;
        if read(file, 0..length.min(begin))? != MAGIC {
            let detail = "the file is not a package of the simulated package manager";
            return Err(Failure::new(Cause::WrongKind, detail));
        }
        Ok(Self {
            file,
            position: begin,
            length,
        })
    }

    fn describe(&mut self) -> Result<Described, Failure> {
        let name = self.field("name: ")?;
        let version = self.field("version: ")?;
        let architecture = self.field("architecture: ")?;
        if !self.line()?.is_empty() {
            return Err(malformed("no empty line after its header"));
        }
        let refused = |what: &str| malformed(&format!("no {what} in its header"));
        Ok(Described {
            name: PackageName::new(&name).map_err(|_| refused("name"))?,
            version: PackageVersion::new(&version).map_err(|_| refused("version"))?,
            architecture: architecture.into(),
        })
    }

    fn field(&mut self, name: &str) -> Result<String, Failure> {
        let line = self.line()?;
        let value = line.strip_prefix(name).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| malformed(&format!("no '{name}' in its header")))?;
        Ok(value.to_owned())
    }

    fn next(&mut self) -> Result<Option<Line>, Failure> {
        let start = self.position;
        if start == self.length {
            return Ok(None);
        }
        let line = self.line()?;
        let (what, length) =
            parse(&line).ok_or_else(|| malformed(&format!("the line {line:?}")))?;
        let end = self.position.saturating_add(length);
        let is_last = matches!(what, What::Signature);
        if end > self.length || is_last && (end < self.length || length > MAX_SIGNATURE) {
            return Err(malformed(&format!("the length in the line {line:?}")));
        }
        let content = self.position..end;
        self.position = end;
        Ok(Some(Line {
            start,
            what,
            content,
        }))
    }

    /// The next line, without its end.
    fn line(&mut self) -> Result<String, Failure> {
        let most = self.length.min(self.position.saturating_add(MAX_LINE));
        let bytes = read(self.file, self.position..most)?;
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let line = end.and_then(|end| bytes.get(..end));
        let line = line.and_then(|line| str::from_utf8(line).ok());
        let line = line.ok_or_else(|| malformed("a line without an end, or that is no text"))?;
        self.position += line.len() as u64 + 1;
        Ok(line.to_owned())
    }
}

/// The meaning of a line, and the number of bytes that follow it.
fn parse(line: &str) -> Option<(What, u64)> {
    let (key, value) = line.split_once(": ")?;
    match key {
        "needs" => Some((What::Need, 0)),
        "signature" => Some((What::Signature, value.parse().ok()?)),
        "file" => {
            let (path, length) = value.rsplit_once(' ')?;
            Some((What::File(path.to_owned()), length.parse().ok()?))
        }
        "link" => {
            let (path, target) = value.split_once(' ')?;
            Some((What::Link(path.to_owned(), target.to_owned()), 0))
        }
        _ => None,
    }
}

fn read(file: &dyn ReadAt, range: Range<u64>) -> Result<Vec<u8>, Failure> {
    read_range(file, range).map_err(|error| unreadable(&error))
}

fn malformed(why: &str) -> Failure {
    let detail = format!("the file is not a valid package of the simulated package manager: {why}");
    Failure::new(Cause::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "wharf-simulated 1\nname: acme\nversion: 1.4\narchitecture: all\n\n";
    const FILES: &str = "file: /etc/init.d/a b 5\n12345link: /usr/bin/acme /opt/a b\nfile: /e 0\n";

    fn described(package: &str) -> Result<Described, Failure> {
        SimulatedFormat.describe(&package.as_bytes(), package.len() as u64)
    }

    #[test]
    fn header_files_and_signature_are_read() {
        let signed = format!("{HEADER}{FILES}");
        let package = format!("{signed}signature: 3\nabc");
        let (bytes, length) = (&package.as_bytes(), package.len() as u64);
        let read = described(&package).unwrap();
        assert_eq!((read.name.as_str(), read.version.as_str()), ("acme", "1.4"));
        assert_eq!(read.architecture.as_str(), "all");
        let inside = SimulatedFormat
            .signature_inside(bytes, length)
            .unwrap()
            .unwrap();
        assert_eq!(inside.packets, b"abc");
        let covers: Vec<_> = iter::once(0..signed.len() as u64).collect();
        assert_eq!(inside.covers, covers);
        let mut seen = Vec::new();
        let mut each = |entry: Entry<'_>| {
            let mut text = String::new();
            match entry.kind {
                Kind::File(content) => drop(content.read_to_string(&mut text)?),
                Kind::Link(target) => text = format!("-> {}", String::from_utf8_lossy(target)),
                _ => {}
            }
            seen.push((String::from_utf8_lossy(entry.path).into_owned(), text));
            Ok(())
        };
        SimulatedFormat.files(bytes, length, &mut each).unwrap();
        let seen: Vec<_> = seen.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let expected = [
            ("/etc/init.d/a b", "12345"),
            ("/usr/bin/acme", "-> /opt/a b"),
            ("/e", ""),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn anything_else_is_refused() {
        let no_signature =
            SimulatedFormat.signature_inside(&HEADER.as_bytes(), HEADER.len() as u64);
        assert_eq!(no_signature, Ok(None));
        for (package, cause) in [
            (String::new(), Cause::WrongKind),
            ("!<arch>\ndebian-binary".to_owned(), Cause::WrongKind),
            ("wharf-simulated 1\n".to_owned(), Cause::Malformed),
            (HEADER.replace("name", "nam"), Cause::Malformed),
            (HEADER.replace("acme", ""), Cause::Malformed),
            (HEADER.replace("\n\n", "\n"), Cause::Malformed),
            (format!("{HEADER}x"), Cause::Malformed),
            (format!("{HEADER}x\n"), Cause::Malformed),
            (format!("{HEADER}file: /a 2\n1"), Cause::Malformed),
            (format!("{HEADER}file: /a x\n1"), Cause::Malformed),
            (format!("{HEADER}file: /a 1\n12"), Cause::Malformed),
            (format!("{HEADER}link: /a\n"), Cause::Malformed),
            (
                format!("{HEADER}signature: 1\n1file: /a 0\n"),
                Cause::Malformed,
            ),
            (format!("{HEADER}signature: 2\n1"), Cause::Malformed),
        ] {
            let got = described(&package).map_err(|failure| failure.cause);
            assert_eq!(got.err(), Some(cause), "{package:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_refused(rest: String) {
            let _ = described(&rest);
            let _ = described(&format!("{HEADER}{rest}"));
        }
    }
}
