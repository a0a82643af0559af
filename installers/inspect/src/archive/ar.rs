//! The members of an ar archive (ar(5)). They must have only one reading. This module does not decompress.

use std::ops::Range;

use wharf_frames::{Cause, Failure};

use super::{Archive, Compression};
use crate::part::{ReadAt, read_range, unreadable};

/// The first bytes of an ar archive.
pub(crate) const MAGIC: &[u8] = b"!<arch>\n";

/// The length of the header of a member.
pub(crate) const HEADER: u64 = 60;

/// One member, its padding already judged.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) range: Range<u64>,
}

/// The members that follow.
pub(crate) struct Members<'a, S: ?Sized> {
    file: &'a S,
    position: u64,
    length: u64,
}

impl<'a, S: ReadAt + ?Sized> Members<'a, S> {
    /// Those of a file of this length; none if it does not begin as an ar archive.
    pub(crate) fn of(file: &'a S, length: u64) -> Result<Option<Self>, Failure> {
        let position = MAGIC.len() as u64;
        let is_ar = length >= position && read(file, 0..position)? == MAGIC;
        Ok(is_ar.then_some(Self {
            file,
            position,
            length,
        }))
    }

    /// `debian-binary`, which is the first member and says `2.0\n`.
    pub(crate) fn expect_debian_binary(&mut self) -> Result<Range<u64>, Failure> {
        let range = self.expect("debian-binary")?.range;
        match range.end - range.start == 4 && read(self.file, range.clone())? == b"2.0\n" {
            true => Ok(range),
            false => Err(malformed("debian-binary is not exactly 2.0")),
        }
    }

    fn expect(&mut self, name: &str) -> Result<Member, Failure> {
        match self.next()? {
            Some(member) if member.name == name => Ok(member),
            Some(member) => Err(malformed(&format!(
                "the member {:?} is in the place of {name}",
                member.name
            ))),
            None => Err(malformed(&format!("it ends before {name}"))),
        }
    }

    /// The next member, a tar archive with this name before the ending of its compression.
    pub(crate) fn expect_archive(&mut self, stem: &str) -> Result<Archive, Failure> {
        match self.next()? {
            Some(member) => self.archive(member, stem),
            None => Err(malformed(&format!("it ends before {stem}"))),
        }
    }

    /// The tar archive that is this member.
    pub(crate) fn archive(&self, member: Member, stem: &str) -> Result<Archive, Failure> {
        let Some(compression) = compression_of(&member.name, stem) else {
            return Err(malformed(&format!(
                "the member {:?} is in the place of {stem}, {stem}.gz, {stem}.xz or {stem}.zst",
                member.name
            )));
        };
        let archive = Archive {
            range: member.range,
            compression,
        };
        let begins = archive.begins_as_packed(self.file);
        match begins.map_err(|error| unreadable(&error))? {
            true => Ok(archive),
            false => Err(malformed(&format!(
                "the content of the member {} does not fit its name",
                member.name
            ))),
        }
    }

    /// The next member; none at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, Failure> {
        if self.position == self.length {
            return Ok(None);
        }
        let start = self.position.saturating_add(HEADER);
        if start > self.length {
            return Err(malformed("it ends within the header of a member"));
        }
        let header = read(self.file, self.position..start)?;
        let (name, size) = header_of(&header)?;
        let end = start.saturating_add(size);
        let padded = end.saturating_add(size % 2);
        if padded > self.length {
            return Err(malformed(&format!("it ends within the member {name:?}")));
        }
        if padded > end && read(self.file, end..padded)? != b"\n" {
            return Err(malformed(&format!(
                "wrong padding after the member {name:?}"
            )));
        }
        self.position = padded;
        Ok(Some(Member {
            name,
            range: start..end,
        }))
    }
}

/// The compression of a tar archive with this name; none if the name does not begin with `stem`.
pub(crate) fn compression_of(name: &str, stem: &str) -> Option<Compression> {
    match name.strip_prefix(stem)? {
        "" => Some(Compression::None),
        ".gz" => Some(Compression::Gzip),
        ".xz" => Some(Compression::Xz),
        ".zst" => Some(Compression::Zstd),
        _ => None,
    }
}

/// The name and size in a member's header: name 16, time 12, uid 6, gid 6, mode 8, size 10, and the two bytes of its end.
fn header_of(header: &[u8]) -> Result<(String, u64), Failure> {
    let field = |range: Range<usize>| header.get(range).unwrap_or_default();
    if field(58..60) != b"`\n" {
        return Err(malformed("the header of a member has a wrong end"));
    }
    for decimal in [field(16..28), field(28..34), field(34..40)] {
        number(decimal, 10)?;
    }
    number(field(40..48), 8)?;
    let name = trimmed(field(0..16))?;
    Ok((
        // GNU ar ends names with a slash. Builders of packages do not.
        name.strip_suffix('/').unwrap_or(name).to_owned(),
        number(field(48..58), 10)?,
    ))
}

/// Digits from the first column on, without needless zeros, then spaces.
fn number(field: &[u8], radix: u32) -> Result<u64, Failure> {
    let digits = trimmed(field)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    u64::from_str_radix(digits, radix)
        .ok()
        .filter(|_| plain && (digits == "0" || !digits.starts_with('0')))
        .ok_or_else(|| {
            malformed(&format!(
                "{digits:?} in the header of a member is not a number"
            ))
        })
}

fn trimmed(field: &[u8]) -> Result<&str, Failure> {
    match str::from_utf8(field) {
        Ok(text) if text.is_ascii() => Ok(text.trim_end_matches(' ')),
        _ => Err(malformed("the header of a member is not ASCII")),
    }
}

fn read<S: ReadAt + ?Sized>(file: &S, range: Range<u64>) -> Result<Vec<u8>, Failure> {
    read_range(file, range).map_err(|error| unreadable(&error))
}

/// The failure of a package with an invalid framing.
pub(crate) fn malformed(why: &str) -> Failure {
    Failure::new(Cause::Malformed, format!("the package is not valid: {why}"))
}
