//! Name, version and architecture of a package (docs/manual/spec.md of rpm). The grammar is the one that rpmbuild has for
//! them, after its macros are expanded.

use wharf_frames::{PackageName, PackageVersion, inspect::Described};

use super::{
    header::{Header, HeaderError},
    tag,
};

/// An identity that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum IdentityError {
    /// The header is not as it should be.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The value is outside of its grammar.
    #[error("the {0} is wrong: {1:?}")]
    Value(&'static str, String),
}

/// The identity that this header says. Epoch 0 is no epoch, as rpm has it.
pub(super) fn of(header: &Header) -> Result<Described, IdentityError> {
    let name = value(header, tag::NAME, "name", is_name)?;
    let version = value(header, tag::VERSION, "version", is_version)?;
    let release = value(header, tag::RELEASE, "release", is_version)?;
    let architecture = value(header, tag::ARCHITECTURE, "architecture", is_architecture)?;
    let version = match header.int32(tag::EPOCH)? {
        None | Some(0) => format!("{version}-{release}"),
        Some(epoch) => format!("{epoch}:{version}-{release}"),
    };
    Ok(Described {
        name: PackageName::new(name).map_err(|_| wrong("name", name))?,
        version: PackageVersion::new(&version).map_err(|_| wrong("version", &version))?,
        architecture: architecture.into(),
    })
}

fn value<'a>(
    header: &'a Header,
    tag: u32,
    what: &'static str,
    grammar: fn(&str) -> bool,
) -> Result<&'a str, IdentityError> {
    let bytes = header.text(tag)?.ok_or(HeaderError::Missing(tag))?;
    let text = str::from_utf8(bytes).ok().filter(|text| grammar(text));
    text.ok_or_else(|| wrong(what, &String::from_utf8_lossy(bytes)))
}

fn wrong(what: &'static str, value: &str) -> IdentityError {
    IdentityError::Value(what, value.chars().take(64).collect())
}

fn is_name(name: &str) -> bool {
    is_made_of(name, b"._+-")
}

/// A hyphen would move the boundary between version and release.
fn is_version(version: &str) -> bool {
    is_made_of(version, b"._+~^")
}

/// The name of one architecture, or `noarch`.
fn is_architecture(name: &str) -> bool {
    name.len() <= 64 && is_made_of(name, b"_")
}

/// Begins with a letter, a digit or `_`, and has nothing but letters, digits and these.
fn is_made_of(text: &str, others: &[u8]) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| plain(byte) || byte == b'_')
        && bytes.all(|byte| plain(byte) || others.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::rpm::made;

    fn identity(
        [name, version, release, architecture]: [&str; 4],
    ) -> Result<Described, IdentityError> {
        of(&made::header(&[
            made::text(tag::NAME, name),
            made::text(tag::VERSION, version),
            made::text(tag::RELEASE, release),
            made::text(tag::ARCHITECTURE, architecture),
        ]))
    }

    #[test]
    fn an_epoch_stands_in_front_of_the_version_unless_it_is_0() {
        for (epoch, expected) in [
            (vec![], "2.10-3"),
            (vec![made::int32s(tag::EPOCH, &[0])], "2.10-3"),
            (vec![made::int32s(tag::EPOCH, &[1])], "1:2.10-3"),
            (
                vec![made::int32s(tag::EPOCH, &[u32::MAX])],
                "4294967295:2.10-3",
            ),
        ] {
            let mut entries = vec![
                made::text(tag::NAME, "hello"),
                made::text(tag::VERSION, "2.10"),
                made::text(tag::RELEASE, "3"),
            ];
            entries.extend(epoch);
            entries.push(made::text(tag::ARCHITECTURE, "noarch"));
            let described = of(&made::header(&entries)).unwrap();
            assert_eq!(described.name.as_str(), "hello");
            assert_eq!(described.version.as_str(), expected);
            assert_eq!(described.architecture.as_str(), "noarch");
        }
    }

    #[test]
    fn names_versions_and_architectures_are_those_of_rpmbuild() {
        for [name, version, release, architecture] in [
            ["hello", "1", "1", "x86_64"],
            ["0ad", "0", "0", "i686"],
            ["_x", "_1", "1.el9_2", "armv7hl"],
            ["libstdc++", "1.0~rc1^git1", "1.fc40", "noarch"],
            ["python3.11-x_y", "20240101", "0.1+b2", "aarch64"],
            ["Hello", "A", "B", "ppc64le"],
        ] {
            let got = identity([name, version, release, architecture]).unwrap();
            assert_eq!(got.version.as_str(), format!("{version}-{release}"));
        }
    }

    #[test]
    fn any_other_name_version_or_architecture_is_refused() {
        let sound = ["hello", "2.10", "3", "noarch"];
        for (field, values) in [
            (
                0,
                &[
                    "", "-o", ".x", "+x", "a b", "a/b", "a:b", "a*", "a=1", "a\n", "é", "a~b",
                    "%{x}",
                ][..],
            ),
            (
                1,
                &[
                    "", "-1", "1-2", "1:2", "~1", "^1", ".1", "1 2", "1/2", "1*", "1,2", "é",
                ],
            ),
            (2, &["", "-1", "1-2", "1:2", "~1", ".1", "1 2", "1/2"]),
            (3, &["", "x86-64", "x86 64", "(none)", "a/b", ".a", "é"]),
        ] {
            for value in values {
                let mut fields = sound;
                fields[field] = value;
                let got = identity(fields);
                assert!(
                    matches!(got, Err(IdentityError::Value(..))),
                    "{fields:?}: {got:?}"
                );
            }
        }
        let (long, half) = ("x".repeat(256), "1".repeat(128));
        for fields in [
            [&long, "2.10", "3", "noarch"],
            ["hello", &half, &half, "noarch"],
        ] {
            assert!(matches!(identity(fields), Err(IdentityError::Value(..))));
        }
        let none = of(&made::header(&[made::text(tag::NAME, "hello")]));
        assert_eq!(none, Err(HeaderError::Missing(tag::VERSION).into()));
    }
}
