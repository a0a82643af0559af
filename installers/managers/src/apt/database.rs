//! dpkg's database of packages, as a file (deb822(5)): a question to dpkg-query starts a program that reads and checks all
//! of it. Only dpkg itself understands work that was interrupted, and a package that is there for several architectures.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

/// The fields of one package that are asked for. A missing one is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stanza {
    pub(super) version: String,
    pub(super) architecture: String,
    /// Three words, such as `install ok installed`.
    pub(super) status: String,
    /// `Essential` and `Protected`.
    pub(super) essential: String,
    /// The lines of `Conffiles`, each with its newline.
    pub(super) conffiles: String,
    is_at_conffiles: bool,
}

/// The states of a package that `dpkg --configure` can finish.
const UNCONFIGURED: [&str; 4] = [
    "unpacked",
    "half-configured",
    "triggers-awaited",
    "triggers-pending",
];

/// The stanza of exactly this package. Fails if there are several, or if the file is none of dpkg's: each stanza there
/// begins with its package.
pub(super) fn stanza(database: &Path, name: &str) -> io::Result<Option<Stanza>> {
    let invalid = io::ErrorKind::InvalidData;
    let mut lines = BufReader::with_capacity(64 * 1024, File::open(database)?);
    let (mut line, mut is_first, mut is_it) = (Vec::new(), true, false);
    let mut found = None;
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if is_first && !text.is_empty() {
            is_it = text.strip_prefix(b"Package: ").ok_or(invalid)? == name.as_bytes();
            if is_it && found.replace(Stanza::default()).is_some() {
                return Err(invalid.into());
            }
        }
        is_first = text.is_empty();
        if let Some(stanza) = found.as_mut().filter(|_| is_it) {
            stanza.take(&String::from_utf8_lossy(text));
        }
    }
}

/// The packages that dpkg has still to configure, each with the word for what is wanted of it: `install` or `deinstall`.
pub(super) fn unconfigured(database: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut lines = BufReader::with_capacity(64 * 1024, File::open(database)?);
    let (mut line, mut name, mut found) = (Vec::new(), String::new(), BTreeMap::new());
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if let Some(package) = text.strip_prefix(b"Package: ") {
            name = String::from_utf8_lossy(package).into_owned();
        } else if let Some(status) = text.strip_prefix(b"Status: ") {
            let status = String::from_utf8_lossy(status);
            let words: Vec<&str> = status.split(' ').collect();
            if let [want, "ok", state] = words.as_slice()
                && UNCONFIGURED.contains(state)
            {
                found.insert(name.clone(), (*want).to_owned());
            }
        }
    }
}

impl Stanza {
    fn take(&mut self, line: &str) {
        if self.is_at_conffiles && line.starts_with(' ') {
            self.conffiles.extend([line, "\n"]);
            return;
        }
        self.is_at_conffiles = line == "Conffiles:";
        let Some((field, value)) = line.split_once(": ") else {
            return;
        };
        match field {
            "Version" => value.clone_into(&mut self.version),
            "Architecture" => value.clone_into(&mut self.architecture),
            "Status" => value.clone_into(&mut self.status),
            "Essential" | "Protected" => self.essential.push_str(value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: &str = "\
Package: acme
Essential: yes
Status: install ok installed
Architecture: all
Version: 1:2.0-1
Conffiles:
 /etc/acme.conf 2172d1285f9a29b167b857ceafa0aef5
 /etc/old.conf 0172d1285f9a29b167b857ceafa0aef5 obsolete
Description: a package
 Version: 9
 .
 Package: other

Package: acme-tools
Status: deinstall ok config-files
Version: 1
Architecture: amd64

Package: libacme
Status: install ok installed
Architecture: amd64
Version: 3

Package: libacme
Status: hold reinstreq half-installed
Architecture: armhf
Version: 3
";

    fn read(text: &str, name: &str) -> io::Result<Option<Stanza>> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        stanza(file.path(), name)
    }

    #[test]
    fn a_package_is_found_by_its_whole_name_with_its_own_fields() {
        let acme = Stanza {
            version: "1:2.0-1".to_owned(),
            architecture: "all".to_owned(),
            status: "install ok installed".to_owned(),
            essential: "yes".to_owned(),
            conffiles: " /etc/acme.conf 2172d1285f9a29b167b857ceafa0aef5\n \
                        /etc/old.conf 0172d1285f9a29b167b857ceafa0aef5 obsolete\n"
                .to_owned(),
            is_at_conffiles: false,
        };
        assert_eq!(read(DATABASE, "acme").unwrap(), Some(acme));
        let tools = read(DATABASE, "acme-tools").unwrap().unwrap();
        assert_eq!(tools.status, "deinstall ok config-files");
        for (text, name) in [(DATABASE, "acm"), (DATABASE, "other"), ("", "acme")] {
            assert_eq!(read(text, name).unwrap(), None, "{name}");
        }
    }

    #[test]
    fn a_package_of_two_architectures_and_another_file_are_left_to_dpkg() {
        for (text, name) in [
            (DATABASE, "libacme"),
            ("<html>\n", "acme"),
            ("Status: x\nPackage: acme\n", "acme"),
            (" Package: acme\n", "acme"),
        ] {
            assert!(read(text, name).is_err(), "{text:?}");
        }
    }
}
