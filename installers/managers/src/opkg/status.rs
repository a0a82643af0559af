//! opkg's database: one file with a paragraph for each package. opkg writes it once, at the end of its work, in place and
//! without a sync. It takes a cut file for a shorter one, so a file that is not sound is refused here.

use std::collections::BTreeSet;

use wharf_frames::{PackageName, PackageVersion};

/// The packages in the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status(Vec<Entry>);

/// A package in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) version: PackageVersion,
    /// `ok`, `hold`, `user`, `reinstreq`, separated by commas.
    flags: String,
    /// `installed`, `unpacked`, `half-installed`, …
    pub(super) state: String,
    pub(super) essential: bool,
    /// In Unix seconds, as opkg writes it.
    pub(super) installed_at: String,
    /// Its configuration files, with a slash in front.
    pub(super) conffiles: Vec<String>,
    /// It came as a dependency.
    automatic: bool,
    /// The names of packages that it needs or recommends, alternatives too.
    needs: Vec<String>,
    /// The names that it provides.
    provides: Vec<String>,
}

impl Status {
    /// Reads the text of the file. An error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let paragraphs = text.split("\n\n").map(|it| it.trim_matches('\n'));
        let paragraphs = paragraphs.filter(|it| !it.is_empty());
        paragraphs
            .map(Entry::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The package of exactly this name. opkg may list other versions that are not installed.
    pub(super) fn of(&self, name: &str) -> Option<&Entry> {
        self.present().find(|entry| entry.name == name)
    }

    /// The packages that are there, whole or damaged.
    pub(super) fn present(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(|entry| !entry.is_absent())
    }

    /// The packages that came as dependencies, and that nothing needs. A version of a need does not count: it might keep one
    /// package too many.
    pub(super) fn unneeded(&self) -> BTreeSet<&str> {
        let (mut unneeded, mut needed): (Vec<&Entry>, Vec<&Entry>) =
            self.present().partition(|entry| entry.automatic);
        while let Some(entry) = needed.pop() {
            let is_needed = |it: &&Entry| {
                let names = it.provides.iter().chain([&it.name]);
                names.into_iter().any(|name| entry.needs.contains(name))
            };
            let (more, rest) = unneeded.into_iter().partition(is_needed);
            needed.extend::<Vec<&Entry>>(more);
            unneeded = rest;
        }
        unneeded
            .into_iter()
            .map(|entry| entry.name.as_str())
            .collect()
    }
}

impl Entry {
    fn parse(paragraph: &str) -> Result<Self, String> {
        let fields = fields(paragraph)?;
        let field = |name: &str| {
            let mut fields = fields.iter();
            let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
            found.map(|(_, lines)| lines.as_slice())
        };
        let line = |name: &str| field(name).and_then(|lines| lines.first()).copied();
        let required = |name: &str| {
            let found = line(name).filter(|value| !value.is_empty());
            found.ok_or_else(|| format!("a paragraph without {name}"))
        };
        let status: Vec<&str> = required("Status")?.split_whitespace().collect();
        let [_, flags, state] = status.as_slice() else {
            return Err(format!("a wrong status {status:?}"));
        };
        let version = required("Version")?;
        let conffiles = field("Conffiles").unwrap_or_default().iter();
        let conffiles = conffiles.filter_map(|line| line.split_whitespace().next());
        Ok(Self {
            name: required("Package")?.to_owned(),
            version: PackageVersion::new(version).map_err(|error| error.to_string())?,
            flags: (*flags).to_owned(),
            state: (*state).to_owned(),
            essential: line("Essential") == Some("yes"),
            installed_at: line("Installed-Time").unwrap_or_default().to_owned(),
            conffiles: conffiles.map(str::to_owned).collect(),
            automatic: line("Auto-Installed") == Some("yes"),
            needs: ["Depends", "Pre-Depends", "Recommends"]
                .iter()
                .flat_map(|name| names(field(name)))
                .collect(),
            provides: names(field("Provides")),
        })
    }

    fn is_absent(&self) -> bool {
        matches!(self.state.as_str(), "not-installed" | "config-files")
    }

    /// Whether opkg takes it for whole. It does not look at files.
    pub(super) fn is_installed(&self) -> bool {
        self.state == "installed"
    }

    pub(super) fn is_held(&self) -> bool {
        self.flags.split(',').any(|flag| flag == "hold")
    }
}

/// The text without the paragraphs of these packages, if it has one of a package that is absent. All other bytes stay as they
/// are: a description need not be UTF-8.
pub(super) fn without_absent(text: &[u8], names: &[&PackageName]) -> Option<Vec<u8>> {
    let is_kept = |paragraph: &&[u8]| {
        let paragraph = String::from_utf8_lossy(paragraph);
        let entry = Entry::parse(paragraph.trim_matches('\n'));
        let mut names = names.iter();
        !entry.is_ok_and(|it| it.is_absent() && names.any(|name| name.as_str() == it.name))
    };
    let (mut paragraphs, mut rest) = (Vec::new(), text);
    while let Some(end) = rest.windows(2).position(|it| it == b"\n\n") {
        let (paragraph, more) = rest.split_at(end + 2);
        paragraphs.push(paragraph);
        rest = more;
    }
    paragraphs.push(rest);
    let kept: Vec<&[u8]> = paragraphs.iter().copied().filter(is_kept).collect();
    (kept.len() < paragraphs.len()).then(|| kept.concat())
}

/// The names in a list of relations: `a (>= 1), b | c`.
fn names(lines: Option<&[&str]>) -> Vec<String> {
    let text = lines.unwrap_or_default().join(" ");
    let names = text.split([',', '|']).filter_map(|it| {
        let name = it.split(['(', ' ']).find(|word| !word.is_empty())?;
        Some(name.to_owned())
    });
    names.collect()
}

/// The fields of a paragraph, each with its lines.
pub(super) fn fields(paragraph: &str) -> Result<Vec<(&str, Vec<&str>)>, String> {
    let mut fields: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in paragraph.split('\n') {
        if line.starts_with([' ', '\t']) {
            let (_, lines) = fields
                .last_mut()
                .ok_or("a paragraph that begins with a space")?;
            lines.push(line.trim());
            continue;
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("the line {:?}", line.chars().take(64).collect::<String>()))?;
        fields.push((name, vec![value.trim()]));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As opkg 0.6.3 wrote it.
    const RECORDED: &str = "Package: user\nVersion: 1\nDepends: other\nStatus: install ok installed\nArchitecture: all\n\
        Installed-Size: 7\nInstalled-Time: 1796062620\n\n\
        Package: acme\nVersion: 1:2.0-r0\nStatus: install hold installed\nEssential: yes\nArchitecture: all\nConffiles:\n \
        /etc/acme.conf 2172d1285f9a29b167b857ceafa0aef5\n /etc/b 00\nInstalled-Time: 1796062621\n\n\
        Package: clash\nVersion: 1\nStatus: install ok half-installed\nArchitecture: all\n\n\
        Package: gone\nVersion: 1\nStatus: deinstall ok not-installed\nArchitecture: all\n\n\
        Package: old\nVersion: 3\nStatus: install user,hold unpacked\nArchitecture: all\n\n";

    #[test]
    fn packages_are_read_as_opkg_wrote_them() {
        let status = Status::parse(RECORDED).unwrap();
        let acme = status.of("acme").unwrap();
        assert_eq!(acme.version.as_str(), "1:2.0-r0");
        assert!(acme.is_installed() && acme.is_held() && acme.essential);
        assert_eq!(acme.conffiles, ["/etc/acme.conf", "/etc/b"]);
        assert_eq!(acme.installed_at, "1796062621");
        let clash = status.of("clash").unwrap();
        assert!(!clash.is_installed() && !clash.is_held());
        assert!(status.of("old").unwrap().is_held());
        assert_eq!(status.of("gone"), None);
        assert_eq!(status.of("acm"), None);
        assert_eq!(status.present().count(), 4);
    }

    #[test]
    fn a_file_that_was_cut_within_a_paragraph_is_refused() {
        assert_eq!(Status::parse("").unwrap(), Status::default());
        for cut in [
            "Package: acme\nVersion: 1\nStat",
            "Package: acme\nVersion: 1\nStatus: install ok",
            "Package: acme\nVer",
            "\0\0\0\0",
            " x",
        ] {
            assert!(Status::parse(cut).is_err(), "{cut:?}");
        }
    }

    #[test]
    fn only_paragraphs_of_absent_packages_are_left_out() {
        let name = |name| PackageName::new(name).unwrap();
        let (gone, acme) = (name("gone"), name("acme"));
        let left = without_absent(RECORDED.as_bytes(), &[&gone, &acme]).unwrap();
        let (with, without) = (
            Status::parse(RECORDED).unwrap(),
            Status::parse(std::str::from_utf8(&left).unwrap()).unwrap(),
        );
        assert_eq!(without.0.len(), with.0.len() - 1);
        assert!(with.present().eq(without.present()));
        assert_eq!(without_absent(&left, &[&gone, &acme]), None);
        let other =
            b"Package: cafe\nVersion: 1\nStatus: install ok installed\nDescription: caf\xe9\n\n";
        let both = [other.as_slice(), RECORDED.as_bytes()].concat();
        let expected = [other.as_slice(), left.as_slice()].concat();
        assert_eq!(without_absent(&both, &[&gone]), Some(expected));
    }

    #[test]
    fn what_came_as_a_dependency_is_unneeded_once_nothing_needs_it() {
        let entry = |name: &str, more: &str| {
            format!("Package: {name}\nVersion: 1\nStatus: install ok installed\n{more}\n")
        };
        let text = [
            entry("acme", "Depends: libfoo (>= 1), mta | other\n"),
            entry("libfoo", "Auto-Installed: yes\nDepends: libbar\n"),
            entry("libbar", "Auto-Installed: yes\nRecommends: docs\n"),
            entry("docs", "Auto-Installed: yes\n"),
            entry("postfix", "Auto-Installed: yes\nProvides: mta\n"),
            entry("old", "Auto-Installed: yes\nDepends: older\n"),
            entry("older", "Auto-Installed: yes\nDepends: old\n"),
            entry("mine", ""),
        ];
        let unneeded = |text: &str| -> Vec<String> {
            let status = Status::parse(text).unwrap();
            status.unneeded().into_iter().map(str::to_owned).collect()
        };
        assert_eq!(unneeded(&text.concat()), ["old", "older"]);
        let all = ["docs", "libbar", "libfoo", "old", "older", "postfix"];
        assert_eq!(unneeded(&text[1..].concat()), all);
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange_to_be_refused(text: String) {
            let _ = Status::parse(&text);
            let _ = Status::parse(&format!("{RECORDED}{text}"));
        }
    }
}
