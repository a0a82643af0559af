//! The control file of a binary package (Debian Policy 5.3, deb-control(5)), in its control.tar. The package manager reads
//! the same bytes, so a file that two parsers could read in two ways is refused.

use std::io::{self, Read};

use tar::{Archive as Tar, Entry, EntryType};
use wharf_frames::{Cause, Failure, PackageName, PackageVersion, inspect::Described};

/// The longest control.tar, unpacked: md5sums of a package with 100,000 files has 8 MiB.
const MAX_CONTROL_TAR: usize = 16 * 1024 * 1024;

/// tar(5): everything lies at multiples of this, and two blocks of zeros end it.
const BLOCK: u64 = 512;

/// The values that a package manager accepts.
pub(super) struct Grammar {
    pub(super) is_name: fn(&str) -> bool,
    pub(super) is_version: fn(&str) -> bool,
    pub(super) is_architecture: fn(&str) -> bool,
}

/// The longest control file.
const MAX_CONTROL: usize = 1024 * 1024;

/// The reason why a control file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum ControlError {
    /// Longer than [`MAX_CONTROL`].
    #[error("it is longer than {MAX_CONTROL} bytes")]
    TooLong,
    /// Not UTF-8, or with control characters.
    #[error("it is not plain text")]
    NotText,
    /// A line that is neither a field nor the continuation of one.
    #[error("line {0} is no field")]
    Line(usize),
    /// A field that occurs twice.
    #[error("line {0} repeats a field")]
    Twice(usize),
    /// Package, Version or Architecture is missing.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// Package, Version or Architecture is outside its grammar.
    #[error("the field {0} is wrong: {1:?}")]
    Value(&'static str, String),
}

/// The unpacked control.tar.
pub(super) fn tar(content: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut tar = Vec::new();
    let longest = MAX_CONTROL_TAR as u64;
    content.take(longest + 1).read_to_end(&mut tar)?;
    match tar.len() > MAX_CONTROL_TAR {
        true => Err(io::Error::other("it unpacks to more than 16 MiB")),
        false => Ok(tar),
    }
}

/// Name, version and architecture in an unpacked control.tar.
pub(super) fn describe(tar: &[u8], grammar: &Grammar) -> Result<Described, Failure> {
    let control = control_of(tar).map_err(|error| malformed("control.tar", &error))?;
    parse(&control, grammar).map_err(|error| malformed("control", &error))
}

/// The failure of a package with an invalid part.
pub(super) fn malformed(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Cause::Malformed,
        format!("the {what} of the package is not valid: {error}"),
    )
}

/// The bytes of the one file `control`. No package has pax headers or folders here.
fn control_of(tar: &[u8]) -> io::Result<Vec<u8>> {
    let mut control = None;
    let mut end = 0;
    for entry in Tar::new(tar).entries()?.raw(true) {
        let mut entry = entry?;
        let size = entry.header().entry_size()?;
        end = entry
            .raw_file_position()
            .saturating_add(size.next_multiple_of(BLOCK));
        if is_control(&entry)? && control.replace(bytes_of(&mut entry, size)?).is_some() {
            return Err(io::Error::other("it has two control files"));
        }
    }
    let rest = usize::try_from(end)
        .ok()
        .and_then(|end| tar.get(end..))
        .unwrap_or_default();
    if rest.len() < 2 * BLOCK as usize || rest.iter().any(|&byte| byte != 0) {
        return Err(io::Error::other(
            "it does not end with two blocks of zeros and nothing else",
        ));
    }
    control.ok_or_else(|| io::Error::other("it has no control file"))
}

fn is_control(entry: &Entry<'_, &[u8]>) -> io::Result<bool> {
    let path = entry.header().path_bytes();
    let name = path.strip_prefix(b"./").unwrap_or(&path);
    match entry.header().entry_type() {
        EntryType::Directory if matches!(name, b"" | b".") => Ok(false),
        EntryType::Regular if !name.is_empty() && !name.contains(&b'/') => Ok(name == b"control"),
        _ => Err(io::Error::other("it has an entry that is not a plain file")),
    }
}

fn bytes_of(entry: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > MAX_CONTROL as u64 {
        return Err(io::Error::other("its control file is too long"));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the one paragraph of a control file.
fn parse(bytes: &[u8], grammar: &Grammar) -> Result<Described, ControlError> {
    if bytes.len() > MAX_CONTROL {
        return Err(ControlError::TooLong);
    }
    let text = str::from_utf8(bytes).map_err(|_| ControlError::NotText)?;
    if text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        return Err(ControlError::NotText);
    }
    let fields = fields(text.trim_end_matches('\n'))?;
    let required = |name: &'static str, grammar: fn(&str) -> bool| {
        let field = fields.iter().find(|field| field.is(name));
        let value = field.ok_or(ControlError::Missing(name))?.value;
        match grammar(value) {
            true => Ok(value),
            false => Err(ControlError::Value(name, value.chars().take(64).collect())),
        }
    };
    let name = required("Package", grammar.is_name)?;
    let version = required("Version", grammar.is_version)?;
    let architecture = required("Architecture", grammar.is_architecture)?;
    let too_long =
        |field, value: &str| ControlError::Value(field, value.chars().take(64).collect());
    Ok(Described {
        name: PackageName::new(name).map_err(|_| too_long("Package", name))?,
        version: PackageVersion::new(version).map_err(|_| too_long("Version", version))?,
        architecture: architecture.into(),
    })
}

struct Field<'a> {
    name: &'a str,
    /// The whole value of a field of one line; empty for a continued one, which none of our fields may be.
    value: &'a str,
}

impl Field<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

fn fields(text: &str) -> Result<Vec<Field<'_>>, ControlError> {
    let mut fields: Vec<Field<'_>> = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        if line.starts_with([' ', '\t']) && !line.trim().is_empty() {
            fields.last_mut().ok_or(ControlError::Line(number))?.value = "";
            continue;
        }
        let (name, value) = line.split_once(':').ok_or(ControlError::Line(number))?;
        if !is_field_name(name) {
            return Err(ControlError::Line(number));
        }
        if fields.len() == MAX_FIELDS || fields.iter().any(|field| field.is(name)) {
            return Err(ControlError::Twice(number));
        }
        let value = value.trim_matches([' ', '\t']);
        fields.push(Field { name, value });
    }
    Ok(fields)
}

/// Far more fields than deb-control(5) defines.
const MAX_FIELDS: usize = 256;

/// Policy 5.1: printable, without colon; a comment or a signature's armor is none.
fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['#', '-'])
        && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRAMMAR: Grammar = Grammar {
        is_name: |name| name.chars().all(char::is_alphanumeric),
        is_version: |version| !version.is_empty(),
        is_architecture: |architecture| !architecture.contains(' ') && !architecture.is_empty(),
    };

    fn parse(bytes: &[u8]) -> Result<Described, ControlError> {
        super::parse(bytes, &GRAMMAR)
    }

    const SOUND: &str = "Package: hello\nVersion: 2.10-3\nArchitecture: amd64\nDescription: greets\n at length\n .\n more\n";

    #[test]
    fn tells_name_version_and_architecture_wherever_they_stand() {
        for control in [
            SOUND,
            "Architecture:amd64\nversion:\t2.10-3\nPACKAGE: hello  \n\n",
            "Maintainer: Ä <a@example.org>\nPackage: hello\nVersion: 2.10-3\nArchitecture: amd64",
        ] {
            let described = parse(control.as_bytes()).unwrap();
            assert_eq!(described.name.as_str(), "hello", "{control}");
            assert_eq!(described.version.as_str(), "2.10-3", "{control}");
            assert_eq!(described.architecture.as_str(), "amd64", "{control}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        use ControlError as E;
        let changed = |from: &str, to: &str| SOUND.replace(from, to).into_bytes();
        for (control, expected) in [
            (vec![], E::Line(1)),
            (vec![b'x'; MAX_CONTROL + 1], E::TooLong),
            (changed("greets", "gr\0eets"), E::NotText),
            (changed("greets", "greets\r"), E::NotText),
            (changed("greets", "\u{85}greets"), E::NotText),
            (b"Package: \xff\n".to_vec(), E::NotText),
            (changed("Package", " Package"), E::Line(1)),
            (changed("Version", "\nVersion"), E::Line(2)),
            (changed("Version", " \nVersion"), E::Line(2)),
            (changed("Version:", "Version"), E::Line(2)),
            (changed("Version", "Ver sion"), E::Line(2)),
            (changed("Version", "#Version"), E::Line(2)),
            (changed("Version", "-----BEGIN"), E::Line(2)),
            (changed("Description", "package"), E::Twice(4)),
            (changed("Package", "Pakcage"), E::Missing("Package")),
            (changed("Version", "Vision"), E::Missing("Version")),
            (changed("Architecture", "Arch"), E::Missing("Architecture")),
            (
                changed("hello", "hello\n more"),
                E::Value("Package", "".into()),
            ),
            (
                changed("amd64", "amd64 i386"),
                E::Value("Architecture", "amd64 i386".into()),
            ),
        ] {
            let shown = String::from_utf8_lossy(&control[..control.len().min(80)]).into_owned();
            assert_eq!(parse(&control), Err(expected), "{shown}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_to_be_told_is_refused() {
        let control = SOUND.replace("hello", &"h".repeat(256));
        assert!(matches!(
            parse(control.as_bytes()),
            Err(ControlError::Value("Package", _))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_refused(bytes: Vec<u8>, text: String) {
            let _ = parse(&bytes);
            let _ = parse(format!("{SOUND}{text}").as_bytes());
        }
    }
}
