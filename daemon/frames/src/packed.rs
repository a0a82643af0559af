//! The files of a package that wharf-inspect hands to root's programs: which are wanted, and each as a frame with its
//! length in front, since they go through a pipe.

use minicbor::{Decode, Encode, bytes::ByteVec};

use crate::FrameError;

/// The most wanted files of one package.
pub const MAX_FILES: usize = 4096;

/// The longest content of one.
pub const MAX_CONTENT: usize = 1024 * 1024;

/// The most bytes of all contents together.
pub const MAX_CONTENTS: usize = 16 * 1024 * 1024;

/// The longest path, and the longest target: PATH_MAX of Linux.
pub const MAX_PATH: usize = 4096;

/// The longest frame, without its length.
const MAX_FRAME: usize = MAX_CONTENT + 4 * MAX_PATH;

/// The most files of a package whose digests are told.
pub const MAX_DIGESTS: u32 = 100_000;

/// The length of the length of a frame.
const HEAD: usize = 4;

/// Files that are wanted of a package.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct WantedFiles {
    /// The folder that has them, or a folder of which has them: its path below the root, with a slash at the end. Links of
    /// the device are not resolved: to find files in lib/ and usr/lib/, want both folders.
    #[n(0)]
    pub folder: String,
    /// The folder may lie in any other one.
    #[n(1)]
    pub anywhere: bool,
    /// Their content is wanted too.
    #[n(2)]
    pub text: bool,
}

impl WantedFiles {
    /// Whether a file of this path is wanted. The path is one that [`plain`] returned.
    pub fn matches(&self, path: &str) -> bool {
        let below = |path: &str| path.len() > self.folder.len() && path.starts_with(&self.folder);
        let mut folders = path.match_indices('/');
        below(path) || self.anywhere && folders.any(|(at, _)| path.get(at + 1..).is_some_and(below))
    }
}

/// A file or a symbolic link of a package.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PackedFile {
    /// Its path below the root, as [`plain`] returns it.
    #[n(0)]
    pub path: String,
    /// The target of a symbolic link, as the package has it.
    #[n(1)]
    pub target: Option<String>,
    /// The content of a file, if that is wanted.
    #[n(2)]
    pub content: ByteVec,
}

/// The path below the root at which a package manager unpacks a file of this path: without what says nothing, as the
/// kernel reads it. None for the root itself, and for a path with `..` in it, which no sound package has.
pub fn plain(path: &str) -> Option<String> {
    let says_something = |part: &&str| !matches!(*part, "" | ".");
    let parts: Vec<&str> = path.split('/').filter(says_something).collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// A file, a symbolic link or a folder of a package, with what tells whether a device has it whole.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FileDigest {
    /// Its path below the root, as [`plain`] returns it.
    #[n(0)]
    pub path: String,
    /// Its content.
    #[n(1)]
    pub content: ContentDigest,
}

/// The file, link or folder at a path.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ContentDigest {
    /// A file.
    #[n(0)]
    File {
        /// Its length.
        #[n(0)]
        length: u64,
        /// Its SHA-256.
        #[cbor(n(1), with = "minicbor::bytes")]
        sha256: [u8; 32],
    },
    /// A symbolic link to this target, as the package has it.
    #[n(1)]
    Link(#[n(0)] String),
    /// A folder.
    #[n(2)]
    Folder,
}

/// A value that goes through a pipe as a frame.
pub trait Framed: Encode<()> + for<'b> Decode<'b, ()> {
    /// Refuses a value that is none.
    fn check(&self) -> Result<(), FrameError>;

    /// The frame, with its length in front.
    fn to_frame(&self) -> Result<Vec<u8>, FrameError> {
        let mut frame = vec![0; HEAD];
        minicbor::encode(self, &mut frame).map_err(|e| FrameError::Malformed(e.to_string()))?;
        let length = frame.len() - HEAD;
        if length > MAX_FRAME {
            return Err(FrameError::TooLong(length));
        }
        let head = u32::try_from(length).map_err(|_| FrameError::TooLong(length))?;
        for (place, byte) in frame.iter_mut().zip(head.to_be_bytes()) {
            *place = byte;
        }
        Ok(frame)
    }
}

impl Framed for FileDigest {
    fn check(&self) -> Result<(), FrameError> {
        let target = match &self.content {
            ContentDigest::Link(target) => target.len(),
            ContentDigest::File { .. } | ContentDigest::Folder => 0,
        };
        let is_one = plain(&self.path).as_deref() == Some(&self.path)
            && self.path.len() <= MAX_PATH
            && target <= MAX_PATH;
        match is_one {
            true => Ok(()),
            false => Err(FrameError::Malformed("not a file of a package".to_owned())),
        }
    }
}

impl Framed for PackedFile {
    fn check(&self) -> Result<(), FrameError> {
        let target = self.target.as_deref().unwrap_or_default();
        let is_one = plain(&self.path).as_deref() == Some(&self.path)
            && self.path.len() <= MAX_PATH
            && target.len() <= MAX_PATH
            && self.content.len() <= MAX_CONTENT;
        match is_one {
            true => Ok(()),
            false => Err(FrameError::Malformed("not a file of a package".to_owned())),
        }
    }
}

/// Takes the bytes of a pipe, in pieces of any length, and finds the frames in them.
#[derive(Debug, Default)]
pub struct Frames {
    /// Bytes that are no whole frame yet.
    rest: Vec<u8>,
}

impl Frames {
    /// Takes the next bytes, and hands on each value that is whole by then.
    pub fn append<T: Framed>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(T) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(frame) = next_frame(self.rest.get(at..).unwrap_or_default())? {
            at += HEAD + frame.len();
            let mut decoder = minicbor::Decoder::new(frame);
            let value: T = decoder
                .decode()
                .map_err(|e| FrameError::Malformed(e.to_string()))?;
            if decoder.position() != frame.len() {
                return Err(FrameError::Trailing(frame.len() - decoder.position()));
            }
            value.check()?;
            each(value)?;
        }
        self.rest.drain(..at);
        Ok(())
    }

    /// Refuses a frame that is not whole, at the end of the pipe.
    pub fn finish(&self) -> Result<(), FrameError> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(FrameError::Trailing(more)),
        }
    }
}

/// The files in the frames of a pipe.
#[derive(Debug, Default)]
pub struct PackedFiles {
    frames: Frames,
    files: Vec<PackedFile>,
    contents: usize,
}

impl PackedFiles {
    /// Takes the next bytes.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        let (files, contents) = (&mut self.files, &mut self.contents);
        self.frames.append(bytes, |file: PackedFile| {
            *contents += file.content.len();
            files.push(file);
            match files.len() > MAX_FILES || *contents > MAX_CONTENTS {
                true => Err(FrameError::Malformed("too many files".to_owned())),
                false => Ok(()),
            }
        })
    }

    /// The files, at the end of the pipe.
    pub fn finish(self) -> Result<Vec<PackedFile>, FrameError> {
        self.frames.finish().map(|()| self.files)
    }
}

/// The frame at the beginning of these bytes, once it is whole.
fn next_frame(bytes: &[u8]) -> Result<Option<&[u8]>, FrameError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    match u32::from_be_bytes(*head) as usize {
        length @ ..=MAX_FRAME => Ok(rest.get(..length)),
        length => Err(FrameError::TooLong(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(folder: &str, anywhere: bool) -> WantedFiles {
        WantedFiles {
            folder: folder.to_owned(),
            anywhere,
            text: false,
        }
    }

    fn file(path: &str, content: Vec<u8>) -> PackedFile {
        PackedFile {
            path: path.to_owned(),
            target: None,
            content: content.into(),
        }
    }

    #[test]
    fn a_path_is_read_as_the_kernel_reads_it() {
        for (path, expected) in [
            ("./usr/lib/a", Some("usr/lib/a")),
            ("/usr/lib/a", Some("usr/lib/a")),
            (".//./usr//lib/./a/", Some("usr/lib/a")),
            ("usr/lib/a..b/...", Some("usr/lib/a..b/...")),
            ("./", None),
            ("", None),
            ("..", None),
            ("./usr/../etc/a", None),
        ] {
            assert_eq!(plain(path).as_deref(), expected, "{path:?}");
        }
    }

    #[test]
    fn a_file_is_wanted_where_its_folder_lies() {
        for (wanted, path, expected) in [
            (wanted("etc/init.d/", false), "etc/init.d/a", true),
            (wanted("etc/init.d/", false), "etc/init.d/a/b", true),
            (wanted("etc/init.d/", false), "etc/init.d", false),
            (wanted("etc/init.d/", false), "opt/etc/init.d/a", false),
            (wanted("etc/init.d/", false), "etc/init.de/a", false),
            (wanted("etc/init.d/", true), "etc/init.d/a", true),
            (wanted("etc/init.d/", true), "opt/etc/init.d/a", true),
            (wanted("etc/init.d/", true), "opt/xetc/init.d/a", false),
            (wanted("etc/init.d/", true), "opt/etc/init.d/", false),
        ] {
            assert_eq!(wanted.matches(path), expected, "{path} {wanted:?}");
        }
    }

    #[test]
    fn files_come_back_in_whatever_pieces_they_come() {
        let files = [
            file(&"p".repeat(MAX_PATH), vec![0xff; MAX_CONTENT]),
            PackedFile {
                path: "a".into(),
                target: Some("é".repeat(MAX_PATH / 2)),
                content: vec![].into(),
            },
            file("b", b"text".to_vec()),
        ];
        let frames: Vec<u8> = files.iter().flat_map(|it| it.to_frame().unwrap()).collect();
        for piece in [1_000, 64 * 1024, frames.len()] {
            let mut taken = PackedFiles::default();
            for bytes in frames.chunks(piece) {
                taken.append(bytes).unwrap();
            }
            assert_eq!(taken.finish().unwrap(), files, "pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let long = file("a", vec![0; MAX_FRAME]);
        assert!(matches!(long.to_frame(), Err(FrameError::TooLong(_))));
        let frame = |file: PackedFile| file.to_frame().unwrap();
        let whole = frame(file("a", vec![]));
        for (what, bytes) in [
            ("..", frame(file("a/../b", vec![]))),
            ("not plain", frame(file("/a", vec![]))),
            (
                "a long path",
                frame(file(&"p".repeat(MAX_PATH + 1), vec![])),
            ),
            ("a long content", frame(file("a", vec![0; MAX_CONTENT + 1]))),
            ("a long frame", vec![0xff; HEAD]),
            ("no CBOR", vec![0, 0, 0, 1, 0xff]),
            (
                "bytes after it",
                [&[0, 0, 0, whole[3] + 1], &whole[HEAD..], &[0]].concat(),
            ),
        ] {
            let taken = PackedFiles::default().append(&bytes);
            assert!(taken.is_err(), "{what}");
        }
        let mut cut = PackedFiles::default();
        cut.append(&whole[..whole.len() - 1]).unwrap();
        assert!(cut.finish().is_err(), "cut short");
    }

    #[test]
    fn more_files_than_a_package_may_have_are_refused() {
        let small = file("a", vec![]).to_frame().unwrap();
        let large = file("a", vec![0; MAX_CONTENT]).to_frame().unwrap();
        for (frame, most) in [(small, MAX_FILES), (large, MAX_CONTENTS / MAX_CONTENT)] {
            let mut taken = PackedFiles::default();
            for _ in 0..most {
                taken.append(&frame).unwrap();
            }
            assert!(taken.append(&frame).is_err(), "{most}");
        }
    }

    #[test]
    fn digests_come_back_and_what_is_none_is_refused() {
        let digest = |path: &str, content| FileDigest {
            path: path.to_owned(),
            content,
        };
        let file = ContentDigest::File {
            length: u64::MAX,
            sha256: [7; 32],
        };
        let sound = [
            digest("usr/bin/a", file.clone()),
            digest("usr/lib/a.so", ContentDigest::Link("a.so.1".to_owned())),
            digest("usr/lib", ContentDigest::Folder),
        ];
        let frames: Vec<u8> = sound.iter().flat_map(|it| it.to_frame().unwrap()).collect();
        let (mut taken, mut found) = (Frames::default(), Vec::new());
        for bytes in frames.chunks(7) {
            let each = |value: FileDigest| {
                found.push(value);
                Ok(())
            };
            taken.append(bytes, each).unwrap();
        }
        taken.finish().unwrap();
        assert_eq!(found, sound);
        for unsound in [
            digest("/usr/bin/a", file.clone()),
            digest("a/../b", file),
            digest("a", ContentDigest::Link("x".repeat(MAX_PATH + 1))),
        ] {
            let frame = unsound.to_frame().unwrap();
            let taken = Frames::default().append(&frame, |_: FileDigest| Ok(()));
            assert!(taken.is_err(), "{unsound:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_refused(bytes: Vec<u8>) {
            let _ = PackedFiles::default().append(&bytes);
            let _ = Frames::default().append(&bytes, |_: FileDigest| Ok(()));
        }
    }
}
