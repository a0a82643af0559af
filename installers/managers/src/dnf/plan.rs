//! The steps that `dnf4.py` announces, and the decision on them.

use wharf_frames::{Cause, Failure, PackageName};

use super::order::Coming;

/// One step: `Upgrade`, `acme`, `2.0-1`, `noarch`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DnfStep<'a> {
    action: &'a str,
    name: &'a str,
    version: &'a str,
    architecture: &'a str,
}

impl DnfStep<'_> {
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
pub(super) fn announced(lines: &str) -> Result<Vec<DnfStep<'_>>, Failure> {
    let step = |line| -> Option<DnfStep<'_>> {
        let fields: Vec<&str> = str::split(line, '\t').collect();
        let [action, name, version, architecture] = *fields.as_slice() else {
            return None;
        };
        Some(DnfStep {
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

/// Refuses steps beyond the installation of exactly these packages.
pub(super) fn only_installs(coming: &[Coming], steps: &[DnfStep<'_>]) -> Result<(), Failure> {
    only_of(coming.iter().map(|it| &it.name), steps)?;
    coming.iter().try_for_each(|it| installs(it, steps))
}

fn installs(coming: &Coming, steps: &[DnfStep<'_>]) -> Result<(), Failure> {
    let own = steps
        .iter()
        .filter(|step| step.name == coming.name.as_str());
    let own: Vec<&DnfStep<'_>> = own.collect();
    let brought: Vec<&DnfStep<'_>> = own.iter().copied().filter(|step| step.brings()).collect();
    let [step] = brought.as_slice() else {
        let detail = format!("dnf would not install {}: {}", coming.name, told(&own));
        return Err(Failure::new(Cause::PackageManager, detail));
    };
    if step.version != coming.version.as_str() || step.architecture != coming.architecture {
        let detail = format!(
            "dnf reads {} in the file, and wharf-inspect {} ({})",
            step.told(),
            coming.told(),
            coming.architecture
        );
        return Err(Failure::new(Cause::Malformed, detail));
    }
    if coming.is_dependency && (own.len() > 1 || step.action != "Install") {
        return Err(beyond(step));
    }
    match step.action == "Downgrade" && !coming.allow_downgrade {
        true => Err(downgrade(coming)),
        false => Ok(()),
    }
}

/// Refuses steps beyond the removal of exactly this package.
pub(super) fn only_removes(name: &PackageName, steps: &[DnfStep<'_>]) -> Result<(), Failure> {
    only_of([name].into_iter(), steps)?;
    match steps.iter().find(|step| step.brings()) {
        Some(step) => Err(beyond(step)),
        None => Ok(()),
    }
}

fn only_of<'a>(
    names: impl Iterator<Item = &'a PackageName> + Clone,
    steps: &[DnfStep<'_>],
) -> Result<(), Failure> {
    let is_other = |step: &&DnfStep<'_>| !names.clone().any(|name| name.as_str() == step.name);
    match steps.iter().find(is_other) {
        Some(step) => Err(beyond(step)),
        None => Ok(()),
    }
}

fn beyond(step: &DnfStep<'_>) -> Failure {
    let detail = format!("dnf would also change another package: {}", step.told());
    Failure::new(Cause::Plan, detail)
}

/// dnf itself installs a lower version without a warning.
pub(super) fn downgrade(coming: &Coming) -> Failure {
    let detail = format!("{} is lower than the installed version", coming.told());
    Failure::new(Cause::Downgrade, detail)
}

fn told(steps: &[&DnfStep<'_>]) -> String {
    match steps {
        [] => "it has nothing to do".to_owned(),
        steps => {
            let told: Vec<String> = steps.iter().map(|step| step.told()).collect();
            told.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_frames::PackageVersion;

    fn coming(name: &str, allow_downgrade: bool, is_dependency: bool) -> Coming {
        Coming {
            path: "/x.rpm".into(),
            name: PackageName::new(name).unwrap(),
            version: PackageVersion::new("2-1").unwrap(),
            architecture: "noarch".to_owned(),
            allow_downgrade,
            copies: Vec::new(),
            is_dependency,
        }
    }

    fn decided(lines: &str, allow_downgrade: bool) -> Result<(), Cause> {
        let coming = [coming("acme", allow_downgrade, false)];
        announced(lines)
            .and_then(|steps| only_installs(&coming, &steps))
            .map_err(|failure| failure.cause)
    }

    #[test]
    fn each_file_and_each_dependency_comes_once_and_a_dependency_replaces_nothing() {
        let both = [coming("acme", false, false), coming("libfoo", false, true)];
        let acme = "Upgrade\tacme\t2-1\tnoarch\nUpgraded\tacme\t1-1\tnoarch\n";
        for (rest, expected) in [
            ("Install\tlibfoo\t2-1\tnoarch", Ok(())),
            ("", Err(Cause::PackageManager)),
            ("Install\tlibfoo\t3-1\tnoarch", Err(Cause::Malformed)),
            (
                "Upgrade\tlibfoo\t2-1\tnoarch\nUpgraded\tlibfoo\t1-1\tnoarch",
                Err(Cause::Plan),
            ),
            (
                "Install\tlibfoo\t2-1\tnoarch\nInstall\tmore\t2-1\tnoarch",
                Err(Cause::Plan),
            ),
        ] {
            let lines = format!("{acme}{rest}");
            let decided = announced(&lines).and_then(|steps| only_installs(&both, &steps));
            assert_eq!(decided.map_err(|failure| failure.cause), expected, "{rest}");
        }
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
