//! Reads the plan of apt, and checks that it changes exactly one package. Starts nothing.
//!
//! A hook gets the plan under apt's locks, right before dpkg works.

use std::fmt;

use wharf_frames::{Cause, Failure, PackageName};

use crate::PackageFile;

/// A step of a plan, for one package.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AptStep<'a> {
    Unpack {
        name: &'a str,
        version: &'a str,
        architecture: &'a str,
    },
    Configure {
        name: &'a str,
    },
    Remove {
        name: &'a str,
    },
}

impl AptStep<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Unpack { name, .. } | Self::Configure { name } | Self::Remove { name } => name,
        }
    }
}

/// In the words of `apt-get -s`.
impl fmt::Display for AptStep<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unpack {
                name,
                version,
                architecture,
            } => write!(formatter, "Inst {name} ({version} [{architecture}])"),
            Self::Configure { name } => write!(formatter, "Conf {name}"),
            Self::Remove { name } => write!(formatter, "Remv {name}"),
        }
    }
}

/// The steps that the hook gets. Every line must be understood.
pub(super) fn announced(lines: &str) -> Result<Vec<AptStep<'_>>, Failure> {
    let step = |line| announced_step(line).ok_or(line);
    let steps: Result<Vec<_>, _> = lines.lines().map(step).collect();
    steps.map_err(|line| {
        let detail = format!("apt announced an unknown change: {line:?}");
        Failure::new(Cause::PackageManager, detail)
    })
}

/// apt.conf(5), version 3: `acme 1.0 all none < 1.1 all none /a.deb`, and instead of a file `**CONFIGURE**`, `**REMOVE**`.
/// apt writes `**REMOVE**` for a purge too: with `Consent`, dpkg refuses a purge.
fn announced_step(line: &str) -> Option<AptStep<'_>> {
    let fields: Vec<&str> = line.splitn(9, ' ').collect();
    let [name, _, _, _, _, version, architecture, _, action] = fields.as_slice() else {
        return None;
    };
    Some(match *action {
        "**CONFIGURE**" => AptStep::Configure { name },
        "**REMOVE**" => AptStep::Remove { name },
        file if file.starts_with('/') => AptStep::Unpack {
            name,
            version,
            architecture,
        },
        _ => return None,
    })
}

/// Accepts a plan that unpacks and then configures each sealed package, and does nothing else.
pub(super) fn only_installs(files: &[PackageFile], steps: &[AptStep<'_>]) -> Result<(), Failure> {
    let names = || files.iter().map(|file| &file.package.name);
    if steps.len() != 2 * files.len() {
        return Err(others("installing", names(), steps));
    }
    for file in files {
        let name = file.package.name.as_str();
        let own: Vec<_> = steps.iter().filter(|step| step.name() == name).collect();
        match own.as_slice() {
            [unpack @ AptStep::Unpack { .. }, AptStep::Configure { .. }] => {
                same_package(unpack, file)?
            }
            _ => return Err(others("installing", names(), steps)),
        }
    }
    Ok(())
}

/// Accepts a plan that removes each package, and does nothing else.
pub(super) fn only_removes(names: &[PackageName], steps: &[AptStep<'_>]) -> Result<(), Failure> {
    let removes = |name: &PackageName| {
        let is_it = |step: &AptStep<'_>| matches!(step, AptStep::Remove { name: removed } if *removed == name.as_str());
        steps.iter().any(is_it)
    };
    match steps.len() == names.len() && names.iter().all(removes) {
        true => Ok(()),
        false => Err(others("removing", names.iter(), steps)),
    }
}

/// The plan must name the version and the architecture of the sealed package.
fn same_package(step: &AptStep<'_>, file: &PackageFile) -> Result<(), Failure> {
    let package = &file.package;
    match step {
        AptStep::Unpack {
            version,
            architecture,
            ..
        } if *version == package.version.as_str()
            && *architecture == package.architecture.as_str() =>
        {
            Ok(())
        }
        other => {
            let detail = format!(
                "apt reads {other} in the file, and {} {} was sealed",
                package.name, package.version
            );
            Err(Failure::new(Cause::Malformed, detail))
        }
    }
}

fn others<'a>(
    what: &str,
    names: impl Iterator<Item = &'a PackageName>,
    steps: &[AptStep<'_>],
) -> Failure {
    let names: Vec<&str> = names.map(PackageName::as_str).collect();
    let planned: Vec<String> = steps.iter().take(6).map(AptStep::to_string).collect();
    let detail = format!(
        "{what} {} would also change other packages: {}",
        names.join(", "),
        planned.join(", ")
    );
    Failure::new(Cause::Plan, detail)
}

#[cfg(test)]
mod tests {
    use wharf_frames::{PackageVersion, installer::SealedPackage};

    use super::*;

    #[test]
    fn apts_plan_is_read_line_by_line() {
        let plan = "acme 1.0 all none < 1.1 all none /run/a b.deb\nother 2 amd64 same > - - none **REMOVE**\nacme 1.0 all none < 1.1 all none **CONFIGURE**\n";
        let steps = vec![
            AptStep::Unpack {
                name: "acme",
                version: "1.1",
                architecture: "all",
            },
            AptStep::Remove { name: "other" },
            AptStep::Configure { name: "acme" },
        ];
        assert_eq!(announced(plan), Ok(steps));
    }

    #[test]
    fn a_line_that_is_not_understood_is_no_consent() {
        for line in [
            "",
            "acme",
            "acme 1 all none > - - none **PURGE**",
            "acme 1 all none < 2 all none **ERROR**",
            "sh: 1: sed: not found",
        ] {
            let lines = format!("acme 1 all none > - - none **REMOVE**\n{line}\n");
            assert!(announced(&lines).is_err(), "{line:?}");
        }
    }

    /// Version 1.1 of a package.
    fn sealed(name: &str) -> PackageFile {
        PackageFile {
            path: "/a.deb".into(),
            package: SealedPackage {
                name: PackageName::new(name).unwrap(),
                version: PackageVersion::new("1.1").unwrap(),
                architecture: "all".into(),
                length: 1,
                signer: None,
            },
        }
    }

    #[test]
    fn a_plan_of_two_packages_is_of_both_alone_in_any_order_of_the_two() {
        let names = ["acme", "lamp"].map(|name| PackageName::new(name).unwrap());
        let files = [sealed("acme"), sealed("lamp")];
        let unpack = |name, version| AptStep::Unpack {
            name,
            version,
            architecture: "all",
        };
        let (a, b) = (|| unpack("acme", "1.1"), || unpack("lamp", "1.1"));
        let configure = |name| AptStep::Configure { name };
        let (ca, cb) = (|| configure("acme"), || configure("lamp"));
        for (steps, cause) in [
            (vec![a(), b(), ca(), cb()], None),
            (vec![b(), cb(), a(), ca()], None),
            (vec![a(), ca()], Some(Cause::Plan)),
            (vec![a(), b(), cb(), cb()], Some(Cause::Plan)),
            (vec![a(), ca(), cb(), b()], Some(Cause::Plan)),
            (vec![a(), a(), ca(), ca()], Some(Cause::Plan)),
            (vec![a(), b(), ca(), configure("other")], Some(Cause::Plan)),
            (
                vec![a(), ca(), unpack("lamp", "1.2"), cb()],
                Some(Cause::Malformed),
            ),
        ] {
            let judged = only_installs(&files, &steps).map_err(|failure| failure.cause);
            assert_eq!(judged.err(), cause, "{steps:?}");
        }
        let remove = |name| AptStep::Remove { name };
        for (steps, fits) in [
            (vec![remove("lamp"), remove("acme")], true),
            (vec![remove("acme")], false),
            (vec![remove("acme"), remove("acme")], false),
            (vec![remove("acme"), remove("other")], false),
            (vec![remove("acme"), remove("lamp"), remove("other")], false),
        ] {
            assert_eq!(only_removes(&names, &steps).is_ok(), fits, "{steps:?}");
        }
        let twice = [sealed("acme"), sealed("acme")];
        assert!(only_installs(&twice, &[a(), ca()]).is_err());
        assert!(only_installs(&twice, &[a(), a(), ca(), ca()]).is_err());
    }

    #[test]
    fn an_installation_is_of_what_was_sealed_alone() {
        let sealed = [sealed("acme")];
        let unpack = |name, version, architecture| AptStep::Unpack {
            name,
            version,
            architecture,
        };
        let right = || unpack("acme", "1.1", "all");
        let configure = |name| AptStep::Configure { name };
        let remove = AptStep::Remove { name: "other" };
        for (steps, cause) in [
            (vec![right(), configure("acme")], None),
            (vec![], Some(Cause::Plan)),
            (vec![right()], Some(Cause::Plan)),
            (vec![configure("acme"), right()], Some(Cause::Plan)),
            (vec![right(), configure("other")], Some(Cause::Plan)),
            (vec![right(), configure("acme"), remove], Some(Cause::Plan)),
            (
                vec![unpack("other", "1.1", "all"), configure("acme")],
                Some(Cause::Plan),
            ),
            (
                vec![unpack("acme", "1.2", "all"), configure("acme")],
                Some(Cause::Malformed),
            ),
            (
                vec![unpack("acme", "1.1", "amd64"), configure("acme")],
                Some(Cause::Malformed),
            ),
        ] {
            let judged = only_installs(&sealed, &steps).map_err(|failure| failure.cause);
            assert_eq!(judged.err(), cause, "{steps:?}");
        }
    }

    #[test]
    fn a_plan_that_does_more_is_told_in_apts_words() {
        let name = PackageName::new("acme").unwrap();
        let unpack = AptStep::Unpack {
            name: "other",
            version: "2",
            architecture: "all",
        };
        let steps = [
            unpack,
            AptStep::Configure { name: "third" },
            AptStep::Remove { name: "acme" },
        ];
        let failure = only_removes(std::slice::from_ref(&name), &steps).unwrap_err();
        assert_eq!(
            failure.detail.as_str(),
            "removing acme would also change other packages: Inst other (2 [all]), Conf third, Remv acme"
        );
    }

    #[test]
    fn a_removal_is_of_that_package_alone() {
        let name = PackageName::new("acme").unwrap();
        let remove = |name| AptStep::Remove { name };
        let configure = AptStep::Configure { name: "other" };
        for (steps, fits) in [
            (vec![remove("acme")], true),
            (vec![], false),
            (vec![remove("other")], false),
            (vec![remove("acme"), remove("acme")], false),
            (vec![remove("acme"), configure], false),
        ] {
            assert_eq!(
                only_removes(std::slice::from_ref(&name), &steps).is_ok(),
                fits,
                "{steps:?}"
            );
        }
    }
}
