//! The digests of the files of one package version, kept by us, and the comparison of the device with them. opkg keeps none,
//! and takes any device for whole.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::Path,
};

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};
use wharf_frames::{
    FrameError, PackageVersion,
    packed::{ContentDigest, FileDigest, Framed, Frames},
};
use wharf_root::Root;

use super::files;

/// The most differing files that are named.
const NAMED: usize = 4;

/// Writes digests: the version in a line of its own, then a frame for each file.
pub(super) struct Writer(BufWriter<File>);

impl Writer {
    pub(super) fn new(file: File, version: &PackageVersion) -> io::Result<Self> {
        let mut writer = BufWriter::new(file);
        writeln!(writer, "{version}")?;
        Ok(Self(writer))
    }

    pub(super) fn add(&mut self, digest: &FileDigest) -> io::Result<()> {
        let frame = digest.to_frame().map_err(io::Error::other)?;
        self.0.write_all(&frame)
    }

    pub(super) fn finish(self) -> io::Result<()> {
        let file = self.0.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()
    }
}

/// The version, and the digests of its files one after the other.
pub(super) struct Reader {
    pub(super) version: String,
    file: BufReader<File>,
}

impl Reader {
    /// None if there is no such manifest.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut version = String::new();
        file.read_line(&mut version)?;
        let version = version.trim_end().to_owned();
        Ok(Some(Self { version, file }))
    }

    pub(super) fn each(
        mut self,
        mut each: impl FnMut(FileDigest) -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut frames, mut buffer) = (Frames::default(), vec![0; 64 * 1024]);
        let mut failure = None;
        loop {
            let length = self.file.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
                return frames.finish().map_err(io::Error::other);
            };
            let taken = frames.append(bytes, |digest| {
                each(digest).map_err(|error| {
                    failure = Some(error);
                    FrameError::Malformed("rejected".to_owned())
                })
            });
            taken.map_err(|error| failure.take().unwrap_or_else(|| io::Error::other(error)))?;
        }
    }

    /// The files that the device does not have as the package has them, in words; none if it is whole. The content of a
    /// configuration file is the administrator's: it must be there.
    pub(super) fn differences(
        self,
        root: &Root,
        conffiles: &[String],
    ) -> io::Result<Option<String>> {
        let (mut named, mut more) = (Vec::new(), 0);
        self.each(|digest| {
            let path = format!("/{}", digest.path);
            if !is_there(root, &digest, conffiles.contains(&path)) {
                match named.len() < NAMED {
                    true => named.push(path),
                    false => more += 1,
                }
            }
            Ok(())
        })?;
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let are = if named.len() > 1 { "are" } else { "is" };
        Ok((!named.is_empty())
            .then(|| format!("{}{more} {are} not as in the package", named.join(", "))))
    }
}

fn is_there(root: &Root, digest: &FileDigest, is_conffile: bool) -> bool {
    let path = Path::new(&digest.path);
    match &digest.content {
        ContentDigest::Link(target) => {
            files::link_target(root, path).is_ok_and(|it| it.as_deref() == Some(Path::new(target)))
        }
        ContentDigest::Folder => true,
        ContentDigest::File { length, sha256 } => match open_file(root, path) {
            Ok((_, there)) if is_conffile => there > 0 || *length == 0,
            Ok((file, there)) => there == *length && digest_of(file).is_ok_and(|it| it == *sha256),
            Err(_) => false,
        },
    }
}

/// A plain file and its length.
fn open_file(root: &Root, path: &Path) -> io::Result<(File, u64)> {
    let file = files::open(root, path, OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata.len())),
        false => Err(io::Error::other("no plain file")),
    }
}

fn digest_of(mut file: File) -> io::Result<[u8; 32]> {
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        let length = file.read(&mut buffer)?;
        match buffer.get(..length) {
            Some([]) | None => return Ok(digest.finalize().into()),
            Some(bytes) => digest.update(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn file(path: &str, content: &[u8]) -> FileDigest {
        FileDigest {
            path: path.to_owned(),
            content: ContentDigest::File {
                length: content.len() as u64,
                sha256: Sha256::digest(content).into(),
            },
        }
    }

    #[test]
    fn a_device_is_whole_if_each_file_is_as_in_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path().join("root"));
        let manifest = folder.path().join("manifest");
        let differences = || {
            let reader = Reader::open(&manifest).unwrap().unwrap();
            assert_eq!(reader.version, "1:2.0-r0");
            reader.differences(&root, &["/etc/a".to_owned()]).unwrap()
        };
        for folder in ["usr/bin", "usr/lib", "etc"] {
            fs::create_dir_all(root.path(folder)).unwrap();
        }
        // A merged /usr: an absolute target stays below the root.
        symlink("/usr/lib", root.path("lib")).unwrap();

        let version = PackageVersion::new("1:2.0-r0").unwrap();
        let mut writer = Writer::new(File::create(&manifest).unwrap(), &version).unwrap();
        let link = FileDigest {
            path: "usr/lib/a.so".to_owned(),
            content: ContentDigest::Link("a.so.1".to_owned()),
        };
        for digest in [
            file("usr/bin/a", b"binary"),
            file("lib/a.so.1", b"library"),
            link,
            file("etc/a", b"default"),
        ] {
            writer.add(&digest).unwrap();
        }
        writer.finish().unwrap();

        let all = "/usr/bin/a, /lib/a.so.1, /usr/lib/a.so, /etc/a are not as in the package";
        assert_eq!(differences().as_deref(), Some(all));
        fs::write(root.path("usr/bin/a"), "binary").unwrap();
        fs::write(root.path("usr/lib/a.so.1"), "library").unwrap();
        symlink("a.so.1", root.path("usr/lib/a.so")).unwrap();
        fs::write(root.path("etc/a"), "changed").unwrap();
        assert_eq!(differences(), None);

        for (path, content) in [
            ("usr/bin/a", "bin"),     // cut
            ("usr/bin/a", "binar\0"), // filled up
            ("etc/a", ""),            // cut
        ] {
            let before = fs::read(root.path(path)).unwrap();
            fs::write(root.path(path), content).unwrap();
            let expected = format!("/{path} is not as in the package");
            assert_eq!(differences(), Some(expected));
            fs::write(root.path(path), before).unwrap();
        }
        fs::remove_file(root.path("usr/lib/a.so")).unwrap();
        fs::write(root.path("usr/lib/a.so"), "a.so.1").unwrap();
        let expected = "/usr/lib/a.so is not as in the package";
        assert_eq!(differences().as_deref(), Some(expected));
    }

    #[test]
    fn a_manifest_that_was_cut_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest");
        assert!(Reader::open(&path).unwrap().is_none());
        let version = PackageVersion::new("1").unwrap();
        let mut writer = Writer::new(File::create(&path).unwrap(), &version).unwrap();
        writer.add(&file("usr/bin/a", b"binary")).unwrap();
        writer.finish().unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let reader = Reader::open(&path).unwrap().unwrap();
        assert!(reader.each(|_| Ok(())).is_err());
    }
}
