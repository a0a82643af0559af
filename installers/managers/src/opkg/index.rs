//! The lists of feeds: what a feed offers, in paragraphs like those of the database.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use wharf_frames::{PackageName, PackageVersion};

use super::{configuration::Feed, status::fields};
use crate::debian_version;

/// The most bytes of a paragraph.
const PARAGRAPH: usize = 1 << 20;

/// A package that a feed offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) feed: String,
    pub(super) name: PackageName,
    pub(super) version: PackageVersion,
    pub(super) url: String,
    /// The last part of its path.
    pub(super) file: String,
    /// None if it cannot be read. The offer counts, since it may be the one that opkg takes.
    pub(super) size: Option<u64>,
    /// In lower case, if the feed has one.
    pub(super) sha256: Option<String>,
    /// The paragraph without the path of the file.
    pub(super) paragraph: String,
}

/// The offers of these packages in the lists of this folder, the highest version first. An entry that cannot be read is no offer.
pub(super) fn offers(
    lists: &Path,
    feeds: &[Feed],
    wanted: &BTreeSet<PackageName>,
) -> io::Result<Vec<Offer>> {
    let mut found = Vec::new();
    for feed in feeds {
        let list = match File::open(lists.join(&feed.name)) {
            Ok(list) => list,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        each_paragraph(BufReader::new(list), |paragraph| {
            found.extend(Offer::parse(feed, paragraph).filter(|it| wanted.contains(&it.name)));
        })?;
    }
    found.sort_by(|left, right| {
        debian_version::compare(right.version.as_str(), left.version.as_str())
    });
    Ok(found)
}

fn each_paragraph(mut list: impl BufRead, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut paragraph = Vec::new();
    loop {
        let before = paragraph.len();
        let room = (PARAGRAPH - before.min(PARAGRAPH)) as u64;
        let length = list.by_ref().take(room).read_until(b'\n', &mut paragraph)?;
        let line = paragraph.get(before..).unwrap_or_default();
        if length == 0 && room == 0 {
            return Err(io::Error::other("a paragraph is too long"));
        }
        if line.trim_ascii().is_empty() {
            if !paragraph.trim_ascii().is_empty() {
                each(&String::from_utf8_lossy(&paragraph));
            }
            paragraph.clear();
        }
        if length == 0 {
            return Ok(());
        }
    }
}

impl Offer {
    fn parse(feed: &Feed, paragraph: &str) -> Option<Self> {
        let paragraph = paragraph.trim_end();
        let fields = fields(paragraph).ok()?;
        let line = |name: &str| {
            let mut fields = fields.iter();
            let (_, lines) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
            lines.first().copied().filter(|line| !line.is_empty())
        };
        let path = line("Filename")?;
        let is_path = |line: &&str| {
            line.split_once(':')
                .is_some_and(|(name, _)| name.eq_ignore_ascii_case("Filename"))
        };
        let kept = paragraph.lines().filter(|line| !is_path(line));
        Some(Self {
            feed: feed.name.clone(),
            name: PackageName::new(line("Package")?).ok()?,
            version: PackageVersion::new(line("Version")?).ok()?,
            url: format!("{}/{path}", feed.url),
            file: path.rsplit('/').next()?.to_owned(),
            size: line("Size").and_then(|line| line.parse().ok()),
            sha256: line("SHA256sum").map(str::to_ascii_lowercase),
            paragraph: kept.map(|line| format!("{line}\n")).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::opkg::configuration::Configuration;

    /// As opkg-make-index of opkg-utils writes it.
    const LIST: &str = "Package: libfoo\nVersion: 1:2-r0\nDepends: libbar\nSection: libs\nArchitecture: all\n\
        MD5Sum: 0a\nSHA256sum: AB12\nSize: 572\nFilename: all/libfoo_2.ipk\nDescription: a\n library\n\n\
        Package: libbar\nVersion: 2\nSize: 5\nFilename: libbar_2.ipk\n\n\n\
        Package: broken\nVersion: 2\nSize: much\nFilename: broken_2.ipk\n\nPackage: libbaz\nVersion: 1\nSize: 1\n\
        Filename: libbaz_1.ipk";

    #[test]
    fn the_offers_of_wanted_packages_are_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("base"), LIST).unwrap();
        let text = "src/gz base http://h/base\nsrc/gz away http://h/away\n";
        let feeds = Configuration::of(text).feeds;
        let wanted = ["libfoo", "broken", "libbaz"].map(|name| PackageName::new(name).unwrap());
        let found = offers(folder.path(), &feeds, &wanted.into()).unwrap();
        let [libfoo, broken, libbaz] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(libfoo.url, "http://h/base/all/libfoo_2.ipk");
        assert_eq!(
            (libfoo.file.as_str(), libfoo.size),
            ("libfoo_2.ipk", Some(572))
        );
        assert_eq!((broken.name.as_str(), broken.size), ("broken", None));
        assert_eq!(libfoo.version.as_str(), "1:2-r0");
        assert_eq!(libfoo.sha256.as_deref(), Some("ab12"));
        assert!(!libfoo.paragraph.contains("Filename"));
        assert!(libfoo.paragraph.ends_with("Description: a\n library\n"));
        assert_eq!((libbaz.name.as_str(), &libbaz.sha256), ("libbaz", &None));
    }

    #[test]
    fn the_offer_of_the_highest_version_is_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let offer = |version: &str| {
            let file = format!("libfoo_{version}.ipk");
            format!("Package: libfoo\nVersion: {version}\nSize: 1\nFilename: {file}\n\n")
        };
        let list = ["2-r9", "2-r10", "2-r1"].map(offer).concat();
        fs::write(folder.path().join("base"), list).unwrap();
        let feeds = Configuration::of("src base file:///base").feeds;
        let wanted = [PackageName::new("libfoo").unwrap()].into();
        let found = offers(folder.path(), &feeds, &wanted).unwrap();
        let versions: Vec<&str> = found.iter().map(|it| it.version.as_str()).collect();
        assert_eq!(versions, ["2-r10", "2-r9", "2-r1"]);
    }

    proptest::proptest! {
        #[test]
        fn no_list_is_too_strange_to_be_read(text: String) {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("base"), format!("{LIST}{text}")).unwrap();
            let feeds = Configuration::of("src base file:///base").feeds;
            let wanted = [PackageName::new("libfoo").unwrap()].into();
            let found = offers(folder.path(), &feeds, &wanted).unwrap();
            proptest::prop_assert!(!found.is_empty());
        }
    }
}
