//! The plan of opkg: what `--noaction` prints.

use wharf_frames::{
    Cause, Failure, PackageName,
    installer::{Dependency, SealedPackage},
};

/// The step of opkg in one line.
#[derive(Debug, PartialEq, Eq)]
enum OpkgStep<'a> {
    Install { name: &'a str, version: &'a str },
    Remove(&'a str),
}

/// Refuses any step but the installation of exactly this package and of these dependencies.
pub(super) fn only_installs(
    package: &SealedPackage,
    dependencies: &[Dependency],
    printed: &str,
) -> Result<(), Failure> {
    let (mut is_planned, mut coming) = (false, 0);
    for line in printed.lines() {
        let is_coming = |name: &str, shown: &str| {
            let mut dependencies = dependencies.iter();
            dependencies
                .any(|it| it.name.as_str() == name && is_shown_as(it.version.as_str(), shown))
        };
        match steps(line).as_slice() {
            [OpkgStep::Install { name, version }] if is_coming(name, version) => coming += 1,
            [OpkgStep::Install { name, version }] if *name == package.name.as_str() => {
                if !is_shown_as(package.version.as_str(), version) {
                    let detail = format!(
                        "opkg reads version {version} in the file, and wharf-inspect {}",
                        package.version
                    );
                    return Err(Failure::new(Cause::Malformed, detail));
                }
                is_planned = true;
            }
            [] => {}
            _ => return Err(more(line)),
        }
    }
    match (is_planned, coming == dependencies.len()) {
        (true, true) => Ok(()),
        (true, false) => Err(Failure::new(
            Cause::Plan,
            "opkg would not install all dependencies that it found before",
        )),
        (false, _) => Err(nothing(&package.name)),
    }
}

/// The packages that would come beside this one, with their versions as opkg shows them. Refuses a removal.
pub(super) fn coming<'a>(
    package: &SealedPackage,
    printed: &'a str,
) -> Result<Vec<(PackageName, &'a str)>, Failure> {
    let (mut coming, mut is_planned) = (Vec::new(), false);
    for line in printed.lines() {
        match steps(line).as_slice() {
            [OpkgStep::Install { name, .. }] if *name == package.name.as_str() => is_planned = true,
            [OpkgStep::Install { name, version }] => {
                let name = PackageName::new(name).map_err(|_| more(line))?;
                coming.push((name, *version));
            }
            [] => {}
            _ => return Err(more(line)),
        }
    }
    match is_planned {
        true => Ok(coming),
        false => Err(nothing(&package.name)),
    }
}

/// Refuses any step but the removal of exactly this package.
pub(super) fn only_removes(package: &PackageName, printed: &str) -> Result<(), Failure> {
    let mut is_planned = false;
    for line in printed.lines() {
        match steps(line).as_slice() {
            [OpkgStep::Remove(name)] if *name == package.as_str() => is_planned = true,
            [] => {}
            _ => return Err(more(line)),
        }
    }
    match is_planned {
        true => Ok(()),
        false => Err(nothing(package)),
    }
}

/// The steps in a line: `Installing acme (1) on root`, `Upgrading acme (1) to acme (2) on root`, before 0.5 `Upgrading acme
/// from 1 to 2 on root.`, `Removing acme (1) from root...`. An upgrade to another name removes the old package.
fn steps(line: &str) -> Vec<OpkgStep<'_>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["Installing", name, version, ..] => vec![install(name, version)],
        ["Upgrading" | "Downgrading", old, _, "to", name, version, ..]
            if version.starts_with('(') =>
        {
            let removed = (old != name).then_some(OpkgStep::Remove(old));
            [install(name, version)]
                .into_iter()
                .chain(removed)
                .collect()
        }
        [
            "Upgrading" | "Downgrading",
            name,
            "from",
            _,
            "to",
            version,
            ..,
        ] => {
            vec![install(name, version)]
        }
        ["Removing", "obsolete", ..] => vec![],
        ["Removing", "package", name, ..] | ["Removing", name, ..] => vec![OpkgStep::Remove(name)],
        // A line of an unknown kind is no step of ours.
        ["Upgrading" | "Downgrading", ..] => vec![OpkgStep::Remove("")],
        _ => vec![],
    }
}

/// Since 0.5 opkg prints neither epoch nor revision.
pub(super) fn is_shown_as(version: &str, shown: &str) -> bool {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    let upstream = upstream
        .rsplit_once('-')
        .map_or(upstream, |(upstream, _)| upstream);
    [version, upstream].contains(&shown)
}

fn install<'a>(name: &'a str, version: &'a str) -> OpkgStep<'a> {
    let version = version.trim_start_matches('(').trim_end_matches(')');
    OpkgStep::Install { name, version }
}

fn more(line: &str) -> Failure {
    let detail = format!("opkg would change another package: {}", line.trim());
    Failure::new(Cause::Plan, detail)
}

fn nothing(name: &PackageName) -> Failure {
    let detail = format!("opkg would not change {name}: it announces no such step");
    Failure::new(Cause::Plan, detail)
}

#[cfg(test)]
mod tests {
    use wharf_frames::PackageVersion;

    use super::*;

    fn cause(judged: Result<(), Failure>) -> Option<Cause> {
        judged.err().map(|failure| failure.cause)
    }

    #[test]
    fn only_the_installation_of_the_package_is_agreed_to() {
        let package = SealedPackage {
            name: PackageName::new("acme").unwrap(),
            version: PackageVersion::new("1:2-r0").unwrap(),
            architecture: "all".into(),
            length: 0,
            signer: None,
            components: Vec::new(),
        };
        for (printed, expected) in [
            ("Installing acme (2) on root\nConfiguring acme.\n", None),
            ("Installing acme (1:2-r0) to root...\n", None),
            ("Upgrading acme (1) to acme (2) on root\n", None),
            ("Upgrading acme from 1 to 2 on root.\n", None),
            (
                "Downgrading acme from 3 to 2 on root.\nRemoving obsolete file /x.\n",
                None,
            ),
            ("Installing acme (3) on root\n", Some(Cause::Malformed)),
            (
                "Upgrading other (1) to acme (2) on root\n",
                Some(Cause::Plan),
            ),
            (
                "Installing acme (2) on root\nInstalling other (1) on root\n",
                Some(Cause::Plan),
            ),
            (
                "Installing acme (2) on root\nRemoving other (1) from root...\n",
                Some(Cause::Plan),
            ),
            (
                "Installing acme (2) on root\nUpgrading other somehow\n",
                Some(Cause::Plan),
            ),
            ("Installing acme2 (2) on root\n", Some(Cause::Plan)),
            ("Configuring acme.\n", Some(Cause::Plan)),
            ("", Some(Cause::Plan)),
        ] {
            assert_eq!(
                cause(only_installs(&package, &[], printed)),
                expected,
                "{printed}"
            );
        }
    }

    #[test]
    fn a_plan_with_dependencies_has_all_of_them_and_nothing_else() {
        let package = SealedPackage {
            name: PackageName::new("acme").unwrap(),
            version: PackageVersion::new("1").unwrap(),
            architecture: "all".into(),
            length: 0,
            signer: None,
            components: Vec::new(),
        };
        let libfoo = Dependency {
            name: PackageName::new("libfoo").unwrap(),
            version: PackageVersion::new("1:2-r0").unwrap(),
        };
        let both = "Installing libfoo (2) on root\nInstalling acme (1) on root\n";
        let judged = |printed| {
            cause(only_installs(
                &package,
                std::slice::from_ref(&libfoo),
                printed,
            ))
        };
        assert_eq!(judged(both), None);
        for printed in [
            "Installing acme (1) on root\n",
            "Installing libfoo (3) on root\nInstalling acme (1) on root\n",
            &both.replace("libfoo", "libbar"),
            &format!("{both}Removing other (1) from root...\n"),
        ] {
            assert_eq!(judged(printed), Some(Cause::Plan), "{printed}");
        }
        let found = coming(&package, both).unwrap();
        assert_eq!(found, [(libfoo.name.clone(), "2")]);
        let removes = format!("{both}Removing other (1) from root...\n");
        assert_eq!(coming(&package, &removes).unwrap_err().cause, Cause::Plan);
    }

    #[test]
    fn only_the_removal_of_the_package_is_agreed_to() {
        let name = PackageName::new("acme").unwrap();
        for (printed, expected) in [
            ("Removing acme (1) from root...\n", None),
            ("Removing package acme from root...\n", None),
            (
                "Removing acme (1) from root...\nRemoving user (1) from root...\n",
                Some(Cause::Plan),
            ),
            ("Removing acme2 (1) from root...\n", Some(Cause::Plan)),
            ("Installing acme (1) on root\n", Some(Cause::Plan)),
            ("No packages removed.\n", Some(Cause::Plan)),
        ] {
            assert_eq!(cause(only_removes(&name, printed)), expected, "{printed}");
        }
    }
}
