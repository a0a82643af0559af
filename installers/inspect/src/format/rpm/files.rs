//! The files of a package: paths, kinds and sizes from the header, as rpm takes them; contents from the payload.

use std::{
    collections::HashMap,
    io::{self, Read},
    mem,
};

use super::{
    cpio::{Cpio, Entry as Member, unsound},
    header::{Header, HeaderError},
    tag,
};
use crate::entry::{Each, Entry, Kind};

/// The most files: with the widest window of a decompressor they fit into the memory of wharf-inspect.
const MAX_FILES: usize = 250_000;

/// The longest path: PATH_MAX of Linux.
const MAX_PATH: usize = 4096;

/// stat(2): the kind of a file in its mode.
const KIND: u16 = 0o170_000;
const REGULAR: u16 = 0o100_000;
const FOLDER: u16 = 0o040_000;
const LINK: u16 = 0o120_000;

/// The flag of a file that is in no payload (`%ghost`).
const GHOST: u32 = 1 << 6;

/// A list of files that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FilesError {
    /// The header is not as it should be.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// More files than are allowed.
    #[error("it has {0} files; at most {MAX_FILES} can be listed")]
    TooMany(usize),
    /// A path that is no absolute one, or may stand for another one.
    #[error("the path {0:?} is not a plain absolute one")]
    Path(String),
    /// Two files have one path.
    #[error("the path {0:?} occurs twice")]
    Twice(String),
    /// The size of a link is not the length of its target.
    #[error("the link {0:?} is not as long as its target")]
    Link(String),
}

/// The files that the header lists.
pub(super) struct Files<'a> {
    files: Vec<File<'a>>,
    by_path: HashMap<(&'a [u8], &'a [u8]), usize>,
}

#[derive(Debug, Clone, Copy)]
struct File<'a> {
    /// With a slash at its beginning and at its end.
    folder: &'a [u8],
    base: &'a [u8],
    mode: u16,
    in_payload: bool,
    size: u64,
    target: &'a [u8],
    /// The number of the file of which this is another name.
    same_as: Option<usize>,
}

impl<'a> Files<'a> {
    pub(super) fn of(header: &'a Header) -> Result<Self, FilesError> {
        let bases = header.texts(tag::BASE_NAMES)?.unwrap_or_default();
        let count = bases.len();
        if count > MAX_FILES {
            return Err(FilesError::TooMany(count));
        }
        let folders = header.texts(tag::FOLDER_NAMES)?.unwrap_or_default();
        let folder_of = column(
            tag::FOLDER_INDEXES,
            header.int32s(tag::FOLDER_INDEXES)?,
            count,
        )?;
        let modes = column(tag::FILE_MODES, header.int16s(tag::FILE_MODES)?, count)?;
        let flags = column(tag::FILE_FLAGS, header.int32s(tag::FILE_FLAGS)?, count)?;
        let targets = column(
            tag::FILE_LINK_TARGETS,
            header.texts(tag::FILE_LINK_TARGETS)?,
            count,
        )?;
        let sizes = sizes(header, count)?;
        let mut files = Vec::with_capacity(count);
        let columns = bases
            .into_iter()
            .zip(folder_of)
            .zip(modes)
            .zip(flags)
            .zip(targets)
            .zip(sizes);
        for (((((base, folder), mode), flags), target), size) in columns {
            let folder = folders.get(folder as usize).copied();
            files.push(File {
                folder: folder.ok_or(HeaderError::Wrong(tag::FOLDER_INDEXES))?,
                base,
                mode,
                in_payload: flags & GHOST == 0,
                size,
                target,
                same_as: None,
            });
        }
        join_links(header, &mut files)?;
        let mut by_path = HashMap::with_capacity(count);
        for (number, file) in files.iter().enumerate() {
            file.check()?;
            if by_path.insert((file.folder, file.base), number).is_some() {
                return Err(FilesError::Twice(file.shown()));
            }
        }
        Ok(Self { files, by_path })
    }

    /// Hands each file on, in the order of the payload, which must have all of them.
    pub(super) fn each(&self, payload: &mut dyn Read, each: Each<'_>) -> io::Result<()> {
        let mut payload = Cpio::new(payload);
        let mut missing: Vec<bool> = self.files.iter().map(|file| file.in_payload).collect();
        while let Some(member) = payload.next()? {
            let (number, size) = match &member {
                Member::Named(path, size) => (self.number_of(path), Some(*size)),
                Member::Numbered(number) => (Some(*number as usize), None),
            };
            let listed = number.and_then(|at| missing.get_mut(at).zip(self.files.get(at)));
            let Some((missing, file)) = listed else {
                return Err(unsound("a file that the header does not list is in it"));
            };
            if !mem::take(missing) {
                return Err(unsound("a file is in it twice, or should not be in it"));
            }
            if size.is_some_and(|size| size != file.size_in_payload()) {
                return Err(unsound("a file in it is not as long as the header says"));
            }
            self.hand_on(file, &mut payload, &mut *each)?;
        }
        match missing.contains(&true) {
            true => Err(unsound("a file that the header lists is not in it")),
            false => payload.end(),
        }
    }

    fn hand_on(&self, file: &File<'_>, payload: &mut Cpio<'_>, each: Each<'_>) -> io::Result<()> {
        let size = file.size_in_payload();
        let end = payload.position().saturating_add(size);
        let mut content = payload.by_ref().take(size);
        let path = file.path();
        let other = file.same_as.and_then(|at| self.files.get(at));
        let other = other.map(File::path);
        let target;
        let kind = match (file.mode & KIND, &other) {
            (REGULAR, Some(other)) => Kind::HardLink(other),
            (REGULAR, None) => Kind::File(&mut content),
            (FOLDER, _) => Kind::Folder,
            (LINK, _) => {
                target = read_target(&mut content)?;
                match target == file.target {
                    true => Kind::Link(&target),
                    false => return Err(unsound("a link in it has another target in the header")),
                }
            }
            _ => Kind::Special,
        };
        each(Entry { path: &path, kind })?;
        io::copy(&mut content, &mut io::sink())?;
        match payload.position() == end {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The file of this name in the payload. rpmbuild writes a path with a dot in front, and rpm takes it without the dot,
    /// or without dot and slash.
    fn number_of(&self, name: &[u8]) -> Option<usize> {
        let name = name.strip_prefix(b"./").unwrap_or(name);
        let path = [b"/", name.strip_prefix(b"/").unwrap_or(name)].concat();
        let slash = path.iter().rposition(|&byte| byte == b'/')?;
        let (folder, base) = path.split_at_checked(slash + 1)?;
        self.by_path.get(&(folder, base)).copied()
    }
}

impl File<'_> {
    fn path(&self) -> Vec<u8> {
        [self.folder, self.base].concat()
    }

    fn shown(&self) -> String {
        let path = self.path();
        String::from_utf8_lossy(&path).chars().take(200).collect()
    }

    fn size_in_payload(&self) -> u64 {
        match (self.mode & KIND, self.same_as) {
            (REGULAR, None) | (LINK, _) => self.size,
            _ => 0,
        }
    }

    /// Checks that the path is the only one for its file, and that a link is as long as its target.
    fn check(&self) -> Result<(), FilesError> {
        let split_once = self.folder.ends_with(b"/") && !self.base.contains(&b'/');
        let short = self.folder.len() + self.base.len() <= MAX_PATH;
        if !split_once || !short || !is_plain(&self.path()) {
            return Err(FilesError::Path(self.shown()));
        }
        match self.mode & KIND == LINK && self.size != self.target.len() as u64 {
            true => Err(FilesError::Link(self.shown())),
            false => Ok(()),
        }
    }
}

/// Whether each name of this absolute path goes down by one folder.
fn is_plain(path: &[u8]) -> bool {
    let names = path.strip_prefix(b"/");
    names.is_some_and(|names| {
        let mut names = names.split(|&byte| byte == b'/');
        path == b"/" || names.all(|name| !matches!(name, b"" | b"." | b".."))
    })
}

/// Joins the names of one file, which have one device and inode (0 is none). The last of them has the content.
fn join_links(header: &Header, files: &mut [File<'_>]) -> Result<(), HeaderError> {
    let (devices, inodes) = (tag::FILE_DEVICES, tag::FILE_INODES);
    let (Some(of_device), Some(inode)) = (header.int32s(devices)?, header.int32s(inodes)?) else {
        return Ok(());
    };
    let of_device = column(devices, Some(of_device), files.len())?;
    let inode = column(inodes, Some(inode), files.len())?;
    let identities: Vec<_> = of_device.into_iter().zip(inode).collect();
    let mut last = HashMap::new();
    let is_one = |file: &File<'_>| file.mode & KIND == REGULAR && file.in_payload;
    for (number, (file, identity)) in files.iter().zip(&identities).enumerate() {
        if is_one(file) && identity.1 != 0 {
            last.insert(*identity, number);
        }
    }
    for (number, (file, identity)) in files.iter_mut().zip(&identities).enumerate() {
        if is_one(file) {
            file.same_as = last.get(identity).copied().filter(|&at| at != number);
        }
    }
    Ok(())
}

/// The sizes of the files, by the tag that is there. Version 6 has 64-bit numbers alone.
fn sizes(header: &Header, count: usize) -> Result<Vec<u64>, HeaderError> {
    let (short, long) = (tag::FILE_SIZES, tag::LONG_FILE_SIZES);
    match (header.int32s(short)?, header.int64s(long)?) {
        (Some(_), Some(_)) => Err(HeaderError::Wrong(long)),
        (Some(sizes), None) => column(
            short,
            Some(sizes.into_iter().map(u64::from).collect()),
            count,
        ),
        (None, sizes) => column(long, sizes, count),
    }
}

/// A value for each file.
fn column<T>(tag: u32, values: Option<Vec<T>>, count: usize) -> Result<Vec<T>, HeaderError> {
    match values {
        Some(values) if values.len() == count => Ok(values),
        Some(_) => Err(HeaderError::Wrong(tag)),
        None if count == 0 => Ok(Vec::new()),
        None => Err(HeaderError::Missing(tag)),
    }
}

fn read_target(content: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut target = Vec::new();
    content.take(MAX_PATH as u64).read_to_end(&mut target)?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::rpm::{
        cpio::tests::{archive, newc, stripped},
        made::{self, Made},
    };

    /// A folder, a file of three bytes, a link to it, two names of one file of one byte, and a file in no payload.
    fn entries() -> Vec<Made> {
        vec![
            made::int32s(tag::FILE_SIZES, &[4096, 3, 1, 1, 1, 9]),
            made::int16s(
                tag::FILE_MODES,
                &[0o40755, 0o100644, 0o120777, 0o100600, 0o100600, 0o100644],
            ),
            made::texts(tag::FILE_LINK_TARGETS, &["", "", "a", "", "", ""]),
            made::int32s(tag::FILE_FLAGS, &[0, 0, 0, 0, 0, 64]),
            made::int32s(tag::FILE_DEVICES, &[1, 1, 1, 1, 1, 1]),
            made::int32s(tag::FILE_INODES, &[1, 2, 3, 4, 4, 4]),
            made::int32s(tag::FOLDER_INDEXES, &[0, 1, 1, 1, 1, 1]),
            made::texts(tag::BASE_NAMES, &["d", "a", "l", "h", "i", "ghost"]),
            made::texts(tag::FOLDER_NAMES, &["/", "/d/"]),
        ]
    }

    fn trailer() -> Vec<u8> {
        newc("TRAILER!!!", b"")
    }

    fn members() -> Vec<Vec<u8>> {
        vec![
            newc("./d", b""),
            newc("./d/a", b"abc"),
            newc("./d/l", b"a"),
            newc("./d/h", b""),
            newc("./d/i", b"x"),
            trailer(),
        ]
    }

    /// The files that are handed on, one in a line.
    fn listed(entries: &[Made], payload: &[u8]) -> Result<Vec<String>, String> {
        let header = made::header(entries);
        let files = Files::of(&header).map_err(|error| error.to_string())?;
        let mut lines = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut each = |Entry { path, kind }: Entry<'_>| {
            let kind = match kind {
                Kind::File(content) => {
                    let mut bytes = Vec::new();
                    content.read_to_end(&mut bytes)?;
                    format!("file {}", text(&bytes))
                }
                Kind::Link(target) => format!("link {}", text(target)),
                Kind::HardLink(path) => format!("same {}", text(path)),
                Kind::Folder => "folder".to_owned(),
                Kind::Special => "special".to_owned(),
            };
            lines.push(format!("{} {kind}", text(path)));
            Ok(())
        };
        let read = files.each(&mut &payload[..], &mut each);
        read.map(|()| lines).map_err(|error| error.to_string())
    }

    const LISTED: [&str; 5] = [
        "/d folder",
        "/d/a file abc",
        "/d/l link a",
        "/d/h same /d/i",
        "/d/i file x",
    ];

    #[test]
    fn files_of_either_form_have_paths_and_kinds_of_the_header() {
        assert_eq!(listed(&entries(), &archive(&members())).unwrap(), LISTED);
        let numbered = [
            stripped(0, b""),
            stripped(1, b"abc"),
            stripped(2, b"a"),
            stripped(3, b""),
            stripped(4, b"x"),
            trailer(),
        ];
        assert_eq!(listed(&entries(), &archive(&numbered)).unwrap(), LISTED);
        let mut long = entries();
        long.remove(0);
        long.push(made::int64s(tag::LONG_FILE_SIZES, &[4096, 3, 1, 1, 1, 9]));
        assert_eq!(listed(&long, &archive(&numbered)).unwrap(), LISTED);
        assert_eq!(listed(&[], &archive(&[trailer()])).unwrap(), [""; 0]);
    }

    #[test]
    fn names_in_the_payload_are_taken_as_rpm_takes_them() {
        for name in ["./d/a", "/d/a", "d/a", ".//d/a"] {
            let mut members = members();
            members[1] = newc(name, b"abc");
            let got = listed(&entries(), &archive(&members));
            assert_eq!(got.unwrap(), LISTED, "{name}");
        }
        let root = [
            made::int32s(tag::FILE_SIZES, &[0]),
            made::int16s(tag::FILE_MODES, &[0o40755]),
            made::texts(tag::FILE_LINK_TARGETS, &[""]),
            made::int32s(tag::FILE_FLAGS, &[0]),
            made::int32s(tag::FOLDER_INDEXES, &[0]),
            made::texts(tag::BASE_NAMES, &[""]),
            made::texts(tag::FOLDER_NAMES, &["/"]),
        ];
        let payload = archive(&[newc("./", b""), trailer()]);
        assert_eq!(listed(&root, &payload).unwrap(), ["/ folder"]);
    }

    #[test]
    fn content_that_nobody_reads_is_passed_over() {
        let (header, archive) = (made::header(&entries()), archive(&members()));
        let mut count = 0;
        let mut each = |_: Entry<'_>| {
            count += 1;
            Ok(())
        };
        let files = Files::of(&header).unwrap();
        files.each(&mut &archive[..], &mut each).unwrap();
        assert_eq!(count, 5);
        let mut stop = |_: Entry<'_>| Err(io::Error::other("enough"));
        let stopped = files.each(&mut &archive[..], &mut stop).unwrap_err();
        assert_eq!(stopped.to_string(), "enough");
    }

    #[test]
    fn a_payload_with_other_files_than_the_header_lists_is_refused() {
        let with = |at: usize, member: Vec<u8>| {
            let mut members = members();
            members[at] = member;
            members
        };
        let without = |at: usize| {
            let mut members = members();
            members.remove(at);
            members
        };
        let more = |member: Vec<u8>| {
            let mut members = members();
            members.insert(1, member);
            members
        };
        for (members, why) in [
            (with(1, newc("./d/b", b"abc")), "does not list"),
            (with(1, newc("//d/a", b"abc")), "does not list"),
            (with(1, newc("../d/a", b"abc")), "does not list"),
            (with(1, newc("././d/a", b"abc")), "does not list"),
            (more(newc("/d", b"")), "twice"),
            (with(1, newc("./d/../d/a", b"abc")), "does not list"),
            (with(1, newc("a", b"abc")), "does not list"),
            (with(1, stripped(6, b"abc")), "does not list"),
            (with(1, stripped(u32::MAX, b"abc")), "does not list"),
            (with(1, newc("./d/a", b"ab")), "not as long"),
            (with(1, newc("./d/a", b"abcd")), "not as long"),
            (with(0, newc("./d", b"x")), "not as long"),
            (with(3, newc("./d/h", b"x")), "not as long"),
            (with(2, newc("./d/l", b"b")), "another target"),
            (more(newc("./d", b"")), "twice"),
            (more(newc("./d/ghost", b"123456789")), "should not be in it"),
            (without(1), "not in it"),
            (without(5), "fill whole buffer"),
        ] {
            let got = listed(&entries(), &archive(&members)).unwrap_err();
            assert!(got.contains(why), "{why}: {got}");
        }
        let whole = archive(&members());
        assert!(listed(&entries(), &whole[..whole.len() - 130]).is_err());
    }

    #[test]
    fn a_list_of_files_that_could_be_read_in_two_ways_is_refused() {
        let folders = |folders: &[&str; 2]| made::texts(tag::FOLDER_NAMES, folders);
        let bases = |base: &str| made::texts(tag::BASE_NAMES, &["d", base, "l", "h", "i", "g"]);
        let long = format!("/{}/", "x".repeat(4095));
        for (entry, why) in [
            (folders(&["/", "d/"]), "plain absolute"),
            (folders(&["/", "/d"]), "plain absolute"),
            (folders(&["/", ""]), "plain absolute"),
            (folders(&["/", "//"]), "plain absolute"),
            (folders(&["/", "/d//"]), "plain absolute"),
            (folders(&["/", "/./d/"]), "plain absolute"),
            (folders(&["/", "/d/../"]), "plain absolute"),
            (folders(&["/", &long]), "plain absolute"),
            (bases(""), "plain absolute"),
            (bases("."), "plain absolute"),
            (bases(".."), "plain absolute"),
            (bases("x/y"), "plain absolute"),
            (bases("h"), "twice"),
            (made::texts(tag::FOLDER_NAMES, &["/"]), "tag 1116"),
            (
                made::int32s(tag::FOLDER_INDEXES, &[0, 1, 1, 1, 1]),
                "tag 1116",
            ),
            (made::int16s(tag::FILE_MODES, &[0; 7]), "tag 1030"),
            (made::int32s(tag::FILE_FLAGS, &[0; 5]), "tag 1037"),
            (made::int32s(tag::FILE_INODES, &[0; 5]), "tag 1096"),
            (made::int64s(tag::FILE_SIZES, &[0; 6]), "tag 1028"),
            (
                made::texts(tag::FILE_LINK_TARGETS, &["", "", "aa", "", "", ""]),
                "as long as its target",
            ),
        ] {
            let mut entries = entries();
            entries
                .iter_mut()
                .filter(|other| other.0 == entry.0)
                .for_each(|other| *other = entry.clone());
            let got = listed(&entries, &archive(&members())).unwrap_err();
            assert!(got.contains(why), "{why}: {got}");
        }
        for removed in [
            tag::FILE_SIZES,
            tag::FILE_MODES,
            tag::FILE_FLAGS,
            tag::FOLDER_INDEXES,
            tag::FILE_LINK_TARGETS,
        ] {
            let mut entries = entries();
            entries.retain(|entry| entry.0 != removed);
            let got = listed(&entries, &archive(&members())).unwrap_err();
            assert!(got.contains("missing"), "{removed}: {got}");
        }
        let mut both = entries();
        both.push(made::int64s(tag::LONG_FILE_SIZES, &[0; 6]));
        assert!(
            listed(&both, &archive(&members()))
                .unwrap_err()
                .contains("tag 5008")
        );
    }

    #[test]
    fn more_files_than_fit_into_memory_are_refused() {
        let many = vec!["x"; MAX_FILES + 1];
        let header = made::header(&[made::texts(tag::BASE_NAMES, &many)]);
        let got = Files::of(&header).err();
        assert_eq!(got, Some(FilesError::TooMany(MAX_FILES + 1)));
    }

    #[test]
    fn files_without_an_inode_are_not_one_file() {
        let mut entries = entries();
        entries[5] = made::int32s(tag::FILE_INODES, &[0; 6]);
        let mut members = members();
        members[3] = newc("./d/h", b"y");
        let listed = listed(&entries, &archive(&members)).unwrap();
        assert_eq!(listed[3], "/d/h file y");
    }
}
