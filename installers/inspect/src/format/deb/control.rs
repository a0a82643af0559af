//! The control file of a binary package (Debian Policy 5.3, deb-control(5)). dpkg reads the same bytes, so a file that
//! two parsers could read in two ways is refused.

use wharf_frames::{PackageName, PackageVersion, inspect::Described};

/// The longest control file.
pub(super) const MAX_CONTROL: usize = 1024 * 1024;

/// The reason why a control file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ControlError {
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

/// Reads the one paragraph of a control file.
pub(super) fn parse(bytes: &[u8]) -> Result<Described, ControlError> {
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
    let name = required("Package", is_name)?;
    let version = required("Version", is_version)?;
    let architecture = required("Architecture", is_architecture)?;
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

/// Policy 5.6.1.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() >= 2
        && name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|byte| plain(byte) || b"+-.".contains(&byte))
}

/// Policy 5.6.12: `[epoch:]upstream[-revision]`.
fn is_version(version: &str) -> bool {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (Some(epoch), rest),
        None => (None, version),
    };
    let (upstream, revision) = match rest.rsplit_once('-') {
        Some((upstream, revision)) => (upstream, Some(revision)),
        None => (rest, None),
    };
    let of = |text: &str, others: &[u8]| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    let upstream_may_have: &[u8] = if epoch.is_some() { b".+~-:" } else { b".+~-" };
    epoch.is_none_or(is_epoch)
        && upstream.starts_with(|c: char| c.is_ascii_digit())
        && of(upstream, upstream_may_have)
        && revision.is_none_or(|revision| of(revision, b".+~"))
}

/// dpkg keeps it in an int.
fn is_epoch(epoch: &str) -> bool {
    epoch.bytes().all(|byte| byte.is_ascii_digit()) && epoch.parse::<i32>().is_ok()
}

/// Policy 11.1: the name of one architecture, or `all`.
fn is_architecture(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=64).contains(&name.len())
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
    fn names_are_those_of_the_policy() {
        for name in ["hello", "0ad", "g++", "libstdc++6", "a.b-c", "xx"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "x",
            "Hello",
            "-o",
            "+x",
            ".*",
            "hello:amd64",
            "a_b",
            "a b",
            "?essential",
            "é1",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn versions_are_those_of_the_policy() {
        for version in [
            "1",
            "1.0-1",
            "1:2.0~rc1-0+deb12u1",
            "0:1",
            "2:1:2-3",
            "1-2-3",
            "1.0a",
            "2147483647:1",
        ] {
            assert!(is_version(version), "{version}");
        }
        for version in [
            "",
            "a",
            "-1",
            "1-",
            ":1",
            "1:",
            "x:1",
            "-1:1",
            "+1:1",
            "2147483648:1",
            "1_2",
            "1 2",
            "1-a:b",
            "1:1-1:1",
            "1;2",
        ] {
            assert!(!is_version(version), "{version}");
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
