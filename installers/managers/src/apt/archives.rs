//! The folder of archives of one run of apt. A package file in it, under the name that apt itself would give it, counts as
//! downloaded: apt then starts none of its programs that fetch files. If another apt gives another name, it does start them.

use std::{
    fmt::Write as _,
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use wharf_frames::installer::SealedPackage;
use wharf_root::{Root, durable};

use crate::PackageFile;

/// The folder of the downloads, below the root: on the disk, and where apt's own user gets in.
const CACHE: &str = "var/cache/apt";
/// The bytes that are compared at once.
const PART: usize = 16 * 1024;
/// The beginning of the name of a folder of downloads.
const DOWNLOADS: &str = "wharf";

/// Such a folder. It is deleted when this is dropped. Each run has its own: another plan may name another file of the same
/// version.
pub(super) struct Archives<'a> {
    root: &'a Root,
    outside: PathBuf,
}

impl<'a> Archives<'a> {
    /// A new, empty one in our folder.
    pub(super) fn new(root: &'a Root, folder: &Path) -> io::Result<Self> {
        let name = folder.join("run");
        let (outside, ()) = durable::unique(&name, "", |path| fs::create_dir(path))?;
        Ok(Self { root, outside })
    }

    /// An empty one for the downloads of a run. apt takes an archive in its own folder for the right one by its length alone,
    /// and leaves downloads there if consent is refused. Those of killed runs are deleted.
    pub(super) fn of_downloads(root: &'a Root) -> io::Result<Self> {
        let cache = root.path(CACHE);
        fs::create_dir_all(&cache)?;
        durable::folder_of_root(&cache)?;
        durable::sweep(&cache, DOWNLOADS);
        let create = |path: &Path| fs::create_dir(path);
        let (outside, ()) = durable::unique(&cache.join(DOWNLOADS), "", create)?;
        let archives = Self { root, outside };
        fs::create_dir(archives.outside.join("partial"))?;
        fs::set_permissions(&archives.outside, Permissions::from_mode(0o755))?;
        Ok(archives)
    }

    /// Its option for apt.
    pub(super) fn option(&self) -> String {
        let inside = self.root.seen_inside(&self.outside);
        format!("Dir::Cache::archives={}/", inside.display())
    }

    /// Adds links to a package file. Returns its path for apt: that of a package file is absolute and ends in `.deb`.
    pub(super) fn add(&self, file: &PackageFile) -> io::Result<PathBuf> {
        let target = self.root.seen_inside(&file.path);
        let mut named = file.path.file_name().unwrap_or_default().to_owned();
        named.push(".deb");
        let named = self.outside.join(named);
        for link in [&named, &self.outside.join(stored(&file.package, &target))] {
            symlink(&target, link)?;
        }
        Ok(self.root.seen_inside(&named))
    }
}

impl Drop for Archives<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.outside);
    }
}

/// Whether the archive is the sealed file, or a copy that only root may write.
pub(super) fn is_same(sealed: &Path, archive: &Path) -> io::Result<bool> {
    let [mut left, mut right] = [File::open(sealed)?, File::open(archive)?];
    let [of_left, of_right] = [left.metadata()?, right.metadata()?];
    if (of_left.dev(), of_left.ino()) == (of_right.dev(), of_right.ino()) {
        return Ok(true);
    }
    durable::only_root_writes(&right, archive)?;
    let mut length = of_left.len();
    let mut are_equal = length == of_right.len();
    let mut parts = [[0; PART]; 2];
    while are_equal && length > 0 {
        let next = usize::try_from(length).map_or(PART, |length| length.min(PART));
        let [of_left, of_right] = &mut parts;
        left.read_exact(&mut of_left[..next])?;
        right.read_exact(&mut of_right[..next])?;
        are_equal = of_left[..next] == of_right[..next];
        length -= next as u64;
    }
    Ok(are_equal)
}

/// The name of a downloaded file (`pkgAcqArchive` of apt): `acme_1%3a2.0_all.`, and the ending of the package file behind it.
/// Our files have no ending. apt then takes the whole path for one, and of that name what follows the last `/`.
fn stored(package: &SealedPackage, file: &Path) -> String {
    let (name, version) = (package.name.as_str(), package.version.as_str());
    let parts = [name, version, package.architecture.as_str()].map(quoted);
    let path = file.to_string_lossy();
    let ending = path.rsplit('.').next().unwrap_or_default();
    let stored = format!("{}.{ending}", parts.join("_"));
    stored.rsplit('/').next().unwrap_or_default().to_owned()
}

fn quoted(part: &str) -> String {
    let mut quoted = String::new();
    for byte in part.bytes() {
        match byte {
            b'_' | b':' | b'%' | b'/' => drop(write!(quoted, "%{byte:02x}")),
            other => quoted.push(char::from(other)),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use wharf_frames::{PackageName, PackageVersion};

    use super::*;

    fn file(path: &str) -> PackageFile {
        PackageFile {
            path: path.into(),
            package: SealedPackage {
                name: PackageName::new("libacme+").unwrap(),
                version: PackageVersion::new("1:2.0~rc1+b-3").unwrap(),
                architecture: "all".into(),
                length: 1,
                signer: None,
                components: Vec::new(),
            },
        }
    }

    #[test]
    fn an_archive_is_the_sealed_file_by_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let [sealed, archive] = ["a", "b"].map(|name| folder.path().join(name));
        let bytes: Vec<u8> = (0..2 * PART + 1).map(|at| at.to_le_bytes()[0]).collect();
        fs::write(&sealed, &bytes).unwrap();
        assert!(is_same(&sealed, &archive).is_err());
        fs::hard_link(&sealed, &archive).unwrap();
        assert!(is_same(&sealed, &archive).unwrap());
        let compared = |bytes: &[u8]| {
            fs::remove_file(&archive).unwrap();
            fs::write(&archive, bytes).unwrap();
            is_same(&sealed, &archive).unwrap()
        };
        assert!(compared(&bytes));
        assert!(!compared(&bytes[1..]));
        assert!(!compared(&[&bytes[..], b"x"].concat()));
        for at in [0, PART - 1, PART, 2 * PART] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(!compared(&other), "byte {at}");
        }
        assert!(compared(&bytes));
        fs::set_permissions(&archive, Permissions::from_mode(0o666)).unwrap();
        assert!(is_same(&sealed, &archive).is_err());
    }

    #[test]
    fn downloads_go_to_a_folder_of_this_run() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let cache = root.path(CACHE);
        let killed = "wharf.4194305-0123456789abcdef"; // no process has this number
        fs::create_dir_all(cache.join(killed).join("partial")).unwrap();
        fs::create_dir(cache.join("archives")).unwrap();
        let downloads = Archives::of_downloads(&root).unwrap();
        let other = Archives::of_downloads(&root).unwrap();
        assert_ne!(downloads.option(), other.option());
        assert!(downloads.outside.join("partial").is_dir());
        let mode = fs::metadata(&downloads.outside).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o755);
        assert!(
            downloads
                .option()
                .starts_with("Dir::Cache::archives=/var/cache/apt/wharf.")
        );
        drop((downloads, other));
        let left = fs::read_dir(&cache)
            .unwrap()
            .map(|it| it.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["archives"]);
    }

    #[test]
    fn a_package_has_apts_name_in_a_folder_of_this_run() {
        for (path, names) in [
            ("/staged/ab", ["ab", "ab.deb"]),
            (
                "/tmp/x.deb",
                ["libacme+_1%3a2.0~rc1+b-3_all.deb", "x.deb.deb"],
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::new(folder.path());
            let archives = Archives::new(&root, folder.path()).unwrap();
            let named = archives.add(&file(path)).unwrap();
            let below = named.parent().unwrap();
            let option = format!("Dir::Cache::archives={}/", below.display());
            assert_eq!(archives.option(), option);
            let entries = fs::read_dir(&archives.outside).unwrap();
            let mut links: Vec<_> = entries.map(|link| link.unwrap().file_name()).collect();
            links.sort();
            assert_eq!(links, names);
            let other = Archives::new(&root, folder.path()).unwrap();
            assert_ne!(other.add(&file(path)).unwrap(), named);
            drop((archives, other));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}
