//! The framing of an .ipk, read strictly: each of its three members once, `debian-binary` first and exactly `2.0\n`, and
//! nothing else.

use std::io::{self, BufReader, Read};

use tar::{Archive as Tar, EntryType};
use wharf_frames::Failure;

use super::wrong_kind;
use crate::{
    archive::{
        Archive, Compression,
        ar::{Members, compression_of, malformed},
        unpack::{stream, unpacked},
    },
    part::{ReadAt, unreadable},
};

/// The places of the members in the file.
pub enum Framing {
    /// As members of an ar archive.
    Ar(IpkLayout),
    /// As files of a gzip'd tar. Their positions are known only once it is unpacked.
    Tar,
}

/// The positions of the archives in an ar archive.
#[derive(Debug, PartialEq, Eq)]
pub struct IpkLayout {
    /// `control.tar.*`.
    pub control: Archive,
    /// `data.tar.*`.
    pub data: Archive,
}

/// An archive of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpkPart {
    /// `control.tar.*`.
    Control,
    /// `data.tar.*`.
    Data,
}

impl IpkPart {
    const fn stem(self) -> &'static str {
        match self {
            Self::Control => "control.tar",
            Self::Data => "data.tar",
        }
    }

    /// The part of this name. opkg reads no archive without compression.
    fn named(name: &str) -> Option<(Self, Compression)> {
        let mut parts = [Self::Control, Self::Data].into_iter();
        let found = parts.find_map(|part| Some((part, compression_of(name, part.stem())?)));
        found.filter(|(_, compression)| *compression != Compression::None)
    }
}

/// The framing of a file of this length, by its first bytes.
pub fn of(file: &dyn ReadAt, length: u64) -> Result<Framing, Failure> {
    if let Some(members) = Members::of(&file, length)? {
        return layout(members).map(Framing::Ar);
    }
    let whole = whole(length);
    let is_gzip = length > 2
        && whole
            .begins_as_packed(&file)
            .map_err(|error| unreadable(&error))?;
    match is_gzip {
        true => Ok(Framing::Tar),
        false => Err(wrong_kind()),
    }
}

fn whole(length: u64) -> Archive {
    Archive {
        range: 0..length,
        compression: Compression::Gzip,
    }
}

fn layout(mut members: Members<'_, &dyn ReadAt>) -> Result<IpkLayout, Failure> {
    members.expect_debian_binary()?;
    let (mut control, mut data) = (None, None);
    while let Some(member) = members.next()? {
        let part = IpkPart::named(&member.name).ok_or_else(|| no_member(&member.name))?;
        let place = match part.0 {
            IpkPart::Control => &mut control,
            IpkPart::Data => &mut data,
        };
        if place.is_some() {
            return Err(twice(part.0));
        }
        *place = Some(members.archive(member, part.0.stem())?);
    }
    Ok(IpkLayout {
        control: control.ok_or_else(|| missing(IpkPart::Control))?,
        data: data.ok_or_else(|| missing(IpkPart::Data))?,
    })
}

/// Hands on the unpacked content of each archive in a gzip'd tar, and checks that all of it is sound.
pub(super) fn each_part(
    file: &dyn ReadAt,
    length: u64,
    each: &mut dyn FnMut(IpkPart, &mut dyn Read) -> io::Result<()>,
) -> Result<(), Failure> {
    let read = unpacked(file, &whole(length), |tar| {
        let mut seen: Vec<IpkPart> = Vec::new();
        let mut number = 0;
        for entry in Tar::new(&mut *tar).entries()?.raw(true) {
            let mut entry = entry?;
            let name = name_of(&entry.header().path_bytes(), entry.header().entry_type())?;
            number += 1;
            match (number, name.as_str()) {
                (_, "") => number -= 1, // the top folder
                (1, "debian-binary") => expect_debian_binary(&mut entry)?,
                (1, other) => {
                    let why = format!("the member {other:?} is in the place of debian-binary");
                    return Err(unsound(&why));
                }
                (_, name) => {
                    let (part, compression) =
                        IpkPart::named(name).ok_or_else(|| unsound(&is_no_member(name)))?;
                    if seen.contains(&part) {
                        return Err(unsound(&format!("it has two {}", part.stem())));
                    }
                    seen.push(part);
                    let mut packed = BufReader::with_capacity(64 * 1024, &mut entry);
                    let read = stream(&mut packed, compression, |content| each(part, content));
                    read.map_err(|error| unsound(&format!("its {name}: {error}")))?;
                }
            }
        }
        for part in [IpkPart::Control, IpkPart::Data] {
            if !seen.contains(&part) {
                return Err(unsound(&format!("it has no {}", part.stem())));
            }
        }
        only_zeros(tar)
    });
    read.map_err(|error| malformed(&error.to_string()))
}

/// The name of a plain file in the outer archive; empty for its top folder.
fn name_of(path: &[u8], kind: EntryType) -> io::Result<String> {
    let name = path.strip_prefix(b"./").unwrap_or(path);
    match kind {
        EntryType::Directory if matches!(name, b"" | b".") => Ok(String::new()),
        EntryType::Regular if !name.is_empty() && !name.contains(&b'/') => {
            Ok(String::from_utf8_lossy(name).into_owned())
        }
        _ => Err(unsound("it has an entry that is not a plain file")),
    }
}

fn expect_debian_binary(entry: &mut dyn Read) -> io::Result<()> {
    let mut text = Vec::new();
    entry.take(5).read_to_end(&mut text)?;
    match text == b"2.0\n" {
        true => Ok(()),
        false => Err(unsound("debian-binary is not exactly 2.0")),
    }
}

/// Nothing follows the end of a tar archive but its padding.
pub(super) fn only_zeros(tar: &mut dyn Read) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = tar.read(&mut buffer)?;
        match buffer.get(..length) {
            Some([]) | None => return Ok(()),
            Some(bytes) if bytes.iter().all(|&byte| byte == 0) => {}
            Some(_) => return Err(unsound("something follows the end of the tar archive")),
        }
    }
}

fn unsound(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

fn is_no_member(name: &str) -> String {
    format!("{name:?} is no member of a package")
}

fn no_member(name: &str) -> Failure {
    malformed(&is_no_member(name))
}

fn twice(part: IpkPart) -> Failure {
    malformed(&format!("it has two {}", part.stem()))
}

fn missing(part: IpkPart) -> Failure {
    malformed(&format!("it has no {}", part.stem()))
}
