//! The steps that `dnf4.py` announces, and the decision on them.

use wharf_frames::{Cause, Failure, PackageName, installer::SealedPackage};

use crate::InstallOptions;

/// One step: `Upgrade`, `acme`, `2.0-1`, `noarch`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    action: &'a str,
    name: &'a str,
    version: &'a str,
    architecture: &'a str,
}

impl Step<'_> {
    fn brings(&self) -> bool {
        matches!(
            self.action,
            "Install" | "Upgrade" | "Downgrade" | "Reinstall" | "Obsolete"
        )
    }

    fn told(&self) -> String {
        let Self {
            action,
            name,
            version,
            architecture,
        } = self;
        format!("{action} {name}-{version}.{architecture}")
    }
}

/// The steps in these lines.
pub(super) fn announced(lines: &str) -> Result<Vec<Step<'_>>, Failure> {
    let step = |line| -> Option<Step<'_>> {
        let fields: Vec<&str> = str::split(line, '\t').collect();
        let [action, name, version, architecture] = *fields.as_slice() else {
            return None;
        };
        Some(Step {
            action,
            name,
            version,
            architecture,
        })
    };
    lines
        .lines()
        .map(|line| {
            step(line).ok_or_else(|| {
                let detail = format!("the plan of dnf has a line that cannot be read: {line}");
                Failure::new(Cause::PackageManager, detail)
            })
        })
        .collect()
}

/// Refuses steps beyond the installation of exactly this package.
pub(super) fn only_installs(
    package: &SealedPackage,
    options: InstallOptions,
    steps: &[Step<'_>],
) -> Result<(), Failure> {
    only_of(package.name.as_str(), steps)?;
    let brought: Vec<&Step<'_>> = steps.iter().filter(|step| step.brings()).collect();
    let [step] = brought.as_slice() else {
        let detail = format!("dnf would not install {}: {}", package.name, told(steps));
        return Err(Failure::new(Cause::PackageManager, detail));
    };
    if step.version != package.version.as_str()
        || step.architecture != package.architecture.as_str()
    {
        let detail = format!(
            "dnf reads {} in the file, and wharf-inspect {} {} ({})",
            step.told(),
            package.name,
            package.version,
            package.architecture
        );
        return Err(Failure::new(Cause::Malformed, detail));
    }
    match step.action == "Downgrade" && !options.allow_downgrade {
        true => Err(downgrade(package)),
        false => Ok(()),
    }
}

/// Refuses steps beyond the removal of exactly this package.
pub(super) fn only_removes(name: &PackageName, steps: &[Step<'_>]) -> Result<(), Failure> {
    only_of(name.as_str(), steps)?;
    match steps.iter().find(|step| step.brings()) {
        Some(step) => Err(beyond(step)),
        None => Ok(()),
    }
}

fn only_of(name: &str, steps: &[Step<'_>]) -> Result<(), Failure> {
    match steps.iter().find(|step| step.name != name) {
        Some(step) => Err(beyond(step)),
        None => Ok(()),
    }
}

fn beyond(step: &Step<'_>) -> Failure {
    let detail = format!("dnf would also change another package: {}", step.told());
    Failure::new(Cause::Plan, detail)
}

/// dnf itself installs a lower version without a warning.
pub(super) fn downgrade(package: &SealedPackage) -> Failure {
    let detail = format!(
        "{} {} is lower than the installed version",
        package.name, package.version
    );
    Failure::new(Cause::Downgrade, detail)
}

fn told(steps: &[Step<'_>]) -> String {
    match steps {
        [] => "it has nothing to do".to_owned(),
        steps => steps.iter().map(Step::told).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_frames::PackageVersion;

    fn decided(lines: &str, allow_downgrade: bool) -> Result<(), Cause> {
        let package = SealedPackage {
            name: PackageName::new("acme").unwrap(),
            version: PackageVersion::new("2-1").unwrap(),
            architecture: "noarch".into(),
            length: 1,
            signer: None,
        };
        let options = InstallOptions {
            allow_downgrade,
            reinstall: false,
        };
        announced(lines)
            .and_then(|steps| only_installs(&package, options, &steps))
            .map_err(|failure| failure.cause)
    }

    #[test]
    fn only_the_package_itself_is_installed() {
        for (lines, allow_downgrade, expected) in [
            ("Install\tacme\t2-1\tnoarch", false, Ok(())),
            (
                "Upgrade\tacme\t2-1\tnoarch\nUpgraded\tacme\t1-1\tnoarch",
                false,
                Ok(()),
            ),
            (
                "Reinstall\tacme\t2-1\tnoarch\nReinstalled\tacme\t2-1\tnoarch\nUpgraded\tacme\t1-1\tnoarch",
                false,
                Ok(()),
            ),
            (
                "Downgrade\tacme\t2-1\tnoarch\nDowngraded\tacme\t3-1\tnoarch",
                true,
                Ok(()),
            ),
            (
                "Downgrade\tacme\t2-1\tnoarch\nDowngraded\tacme\t3-1\tnoarch",
                false,
                Err(Cause::Downgrade),
            ),
            (
                "Install\tacme\t2-1\tnoarch\nInstall\tlibfoo\t1-1\tnoarch",
                false,
                Err(Cause::Plan),
            ),
            (
                "Obsolete\tacme\t2-1\tnoarch\nObsoleted\trival\t1-1\tnoarch",
                false,
                Err(Cause::Plan),
            ),
            (
                "Upgrade\tacme\t2-1\tnoarch\nRemoved\tuser\t1-1\tnoarch",
                false,
                Err(Cause::Plan),
            ),
            ("Install\tacme\t2-2\tnoarch", false, Err(Cause::Malformed)),
            ("Install\tacme\t2-1\ti686", false, Err(Cause::Malformed)),
            (
                "Removed\tacme\t1-1\tnoarch",
                false,
                Err(Cause::PackageManager),
            ),
            ("", false, Err(Cause::PackageManager)),
            ("Install\tacme\t2-1", false, Err(Cause::PackageManager)),
        ] {
            assert_eq!(decided(lines, allow_downgrade), expected, "{lines}");
        }
    }

    #[test]
    fn only_the_package_itself_is_removed() {
        let name = PackageName::new("acme").unwrap();
        let decided = |lines: &str| only_removes(&name, &announced(lines).unwrap()).is_ok();
        assert!(decided("Removed\tacme\t1-1\tnoarch"));
        assert!(decided(
            "Removed\tacme\t1-1\tnoarch\nRemoved\tacme\t2-1\tnoarch"
        ));
        assert!(!decided(
            "Removed\tacme\t1-1\tnoarch\nRemoved\tuser\t1-1\tnoarch"
        ));
        assert!(!decided(
            "Upgrade\tacme\t2-1\tnoarch\nUpgraded\tacme\t1-1\tnoarch"
        ));
    }
}
