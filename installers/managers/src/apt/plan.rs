//! Reads the plan of apt, and checks that it changes nothing but what was ordered. Starts nothing.
//!
//! A hook gets the plan under apt's locks, right before dpkg works.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use wharf_frames::{Cause, Failure, PackageName, PackageVersion, installer::Dependency};

use super::{complaint::FINISH, version::compare};
use crate::{Install, PlannedPackage};

/// A step of a plan, for one package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AptStep<'a> {
    Unpack {
        name: &'a str,
        /// The version that the device has.
        replaces: Option<&'a str>,
        version: &'a str,
        architecture: &'a str,
        /// The path of the archive, if apt has it already.
        archive: Option<&'a str>,
    },
    Configure {
        name: &'a str,
    },
    Remove {
        name: &'a str,
    },
}

/// A sealed package, and whether an archive of the plan is its file.
#[derive(Clone, Copy)]
pub(super) struct Sealed<'a> {
    pub(super) install: &'a Install,
    pub(super) is_archive: &'a dyn Fn(&Self, &str) -> bool,
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
                replaces,
                version,
                architecture,
                ..
            } => {
                write!(formatter, "Inst {name} ")?;
                if let Some(replaces) = replaces {
                    write!(formatter, "[{replaces}] ")?;
                }
                write!(formatter, "({version} [{architecture}])")
            }
            Self::Configure { name } => write!(formatter, "Conf {name}"),
            Self::Remove { name } => write!(formatter, "Remv {name}"),
        }
    }
}

/// The steps that the hook gets. Every line must be understood.
pub(super) fn announced(lines: &str) -> Result<Vec<AptStep<'_>>, Failure> {
    let step = |line| announced_step(line).ok_or(line);
    let steps: Result<Vec<_>, _> = lines.lines().map(step).collect();
    steps.map_err(not_understood)
}

/// apt.conf(5), version 3: `acme 1.0 all none < 1.1 all none /a.deb`, and instead of a file `**CONFIGURE**`, `**REMOVE**`.
/// apt writes `**REMOVE**` for a purge too: with `Consent`, dpkg refuses a purge. The first version is `-` if the device has
/// none.
fn announced_step(line: &str) -> Option<AptStep<'_>> {
    let fields: Vec<&str> = line.splitn(9, ' ').collect();
    let [name, replaces, _, _, _, version, architecture, _, action] = fields.as_slice() else {
        return None;
    };
    Some(match *action {
        "**CONFIGURE**" => AptStep::Configure { name },
        "**REMOVE**" => AptStep::Remove { name },
        file if file.starts_with('/') => AptStep::Unpack {
            name,
            replaces: (*replaces != "-").then_some(replaces),
            version,
            architecture,
            archive: Some(file),
        },
        _ => return None,
    })
}

/// The steps that `apt-get -s` prints. Lines that begin with another word are no steps.
pub(super) fn simulated(printed: &str) -> Result<Vec<AptStep<'_>>, Failure> {
    let is_step = |line: &&str| {
        let word = line.split(' ').next();
        matches!(word, Some("Inst" | "Conf" | "Remv" | "Purg"))
    };
    let step = |line| simulated_step(line).ok_or(line);
    let steps: Result<Vec<_>, _> = printed.lines().filter(is_step).map(step).collect();
    steps.map_err(not_understood)
}

/// `Inst acme [1.0] (1.1 Debian:12/stable [all])`. The origins lie between the version and the architecture.
fn simulated_step(line: &str) -> Option<AptStep<'_>> {
    let (word, rest) = line.split_once(' ')?;
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    match word {
        "Conf" => Some(AptStep::Configure { name }),
        "Remv" | "Purg" => Some(AptStep::Remove { name }),
        _ => {
            let replaced = rest
                .strip_prefix('[')
                .and_then(|rest| rest.split_once("] "));
            let (replaces, rest) = match replaced {
                Some((replaces, rest)) => (Some(replaces), rest),
                None => (None, rest),
            };
            let (inside, _) = rest.strip_prefix('(')?.split_once(')')?;
            let (version, rest) = inside.split_once(' ')?;
            let (_, architecture) = rest.rsplit_once('[')?;
            Some(AptStep::Unpack {
                name,
                replaces,
                version,
                architecture: architecture.strip_suffix(']')?,
                archive: None,
            })
        }
    }
}

fn not_understood(line: &str) -> Failure {
    let detail = format!("apt announced an unknown change: {line:?}");
    Failure::new(Cause::PackageManager, detail)
}

/// The plan without the configuration of packages that were `unconfigured` before. apt adds it to each plan, and it changes
/// no version.
pub(super) fn without_old_work<'a>(
    steps: &[AptStep<'a>],
    unconfigured: &BTreeMap<String, String>,
) -> Vec<AptStep<'a>> {
    let of_it = |name: &str| steps.iter().filter(|step| step.name() == name).count();
    let is_old = |step: &AptStep<'_>| match step {
        AptStep::Configure { name } => unconfigured.contains_key(*name) && of_it(name) == 1,
        _ => false,
    };
    steps.iter().filter(|step| !is_old(step)).copied().collect()
}

/// Accepts a plan that unpacks and then configures each sealed package, and packages that the device does not have and that
/// `permit` accepts. Returns the latter.
pub(super) fn only_installs(
    sealed: &[Sealed<'_>],
    steps: &[AptStep<'_>],
    permit: impl Fn(&[Dependency]) -> Result<(), Failure>,
) -> Result<Vec<Dependency>, Failure> {
    let names = || sealed.iter().map(|it| &it.install.file.package.name);
    let others = || {
        let failure = others("installing", names(), steps);
        match is_left_half_way(steps) {
            true => Failure::new(failure.cause, format!("{}{FINISH}", failure.detail)),
            false => failure,
        }
    };
    let mut steps_of: BTreeMap<&str, Vec<&AptStep<'_>>> = BTreeMap::new();
    for step in steps {
        steps_of.entry(step.name()).or_default().push(step);
    }
    for it in sealed {
        let name = it.install.file.package.name.as_str();
        match steps_of.remove(name).as_deref() {
            Some([unpack @ AptStep::Unpack { .. }, AptStep::Configure { .. }]) => {
                same_package(unpack, it)?;
            }
            _ => return Err(others()),
        }
    }
    let mut dependencies = Vec::new();
    for step in steps {
        let Some(own) = steps_of.get(step.name()) else {
            continue;
        };
        match (step, own.as_slice()) {
            (AptStep::Configure { .. }, [AptStep::Unpack { .. }, AptStep::Configure { .. }]) => {}
            (
                AptStep::Unpack {
                    replaces: None,
                    version,
                    ..
                },
                [AptStep::Unpack { .. }, AptStep::Configure { .. }],
            ) => dependencies.push(dependency(step.name(), version).ok_or_else(others)?),
            _ => return Err(others()),
        }
    }
    permit(&dependencies)?;
    Ok(dependencies)
}

/// Whether apt would also finish the work of another program on a package.
fn is_left_half_way(steps: &[AptStep<'_>]) -> bool {
    let is_unpacked = |name: &str| {
        let unpacks = |step: &AptStep<'_>| matches!(step, AptStep::Unpack { name: unpacked, .. } if *unpacked == name);
        steps.iter().any(unpacks)
    };
    let is_left =
        |step: &AptStep<'_>| matches!(step, AptStep::Configure { name } if !is_unpacked(name));
    steps.iter().any(is_left)
}

/// The packages that the steps unpack.
pub(super) fn unpacked(steps: &[AptStep<'_>], sealed: &[Sealed<'_>]) -> Vec<PlannedPackage> {
    let version = |version: &str| PackageVersion::new(version).ok();
    let planned = |step: &AptStep<'_>| match step {
        AptStep::Unpack {
            name,
            replaces,
            version: new,
            ..
        } => Some(PlannedPackage {
            name: PackageName::new(name).ok()?,
            version: version(new)?,
            replaces: replaces.and_then(version),
            is_dependency: !sealed
                .iter()
                .any(|it| it.install.file.package.name.as_str() == *name),
        }),
        _ => None,
    };
    steps.iter().filter_map(planned).collect()
}

fn dependency(name: &str, version: &str) -> Option<Dependency> {
    Some(Dependency {
        name: PackageName::new(name).ok()?,
        version: PackageVersion::new(version).ok()?,
    })
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

/// The plan must name the version and the architecture of the sealed package, and its file.
fn same_package(step: &AptStep<'_>, sealed: &Sealed<'_>) -> Result<(), Failure> {
    let package = &sealed.install.file.package;
    let AptStep::Unpack {
        replaces,
        version,
        architecture,
        archive,
        ..
    } = step
    else {
        return Ok(());
    };
    if *version != package.version.as_str() || *architecture != package.architecture.as_str() {
        let detail = format!(
            "apt reads {step} in the file, and {} {} was sealed",
            package.name, package.version
        );
        return Err(Failure::new(Cause::Malformed, detail));
    }
    if let Some(archive) = archive.filter(|archive| !(sealed.is_archive)(sealed, archive)) {
        let detail = format!(
            "apt would install {} {version} from {archive}, not from the sealed file",
            package.name
        );
        return Err(Failure::new(Cause::Plan, detail));
    }
    let is_lower = |replaces: &str| compare(version, replaces).is_lt();
    match replaces {
        Some(replaces) if is_lower(replaces) && !sealed.install.options.allow_downgrade => {
            let detail = format!(
                "{} {replaces} would be downgraded to {version}",
                package.name
            );
            Err(Failure::new(Cause::Downgrade, detail))
        }
        _ => Ok(()),
    }
}

/// The packages that the steps remove.
pub(super) fn removed(steps: &[AptStep<'_>]) -> BTreeSet<PackageName> {
    let removed = steps.iter().filter_map(|step| match step {
        AptStep::Remove { name } => PackageName::new(name).ok(),
        _ => None,
    });
    removed.collect()
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
    use wharf_frames::installer::SealedPackage;
    use wharf_root::pattern::Pattern;

    use super::*;
    use crate::{Dependencies, InstallOptions, PackageFile};

    #[test]
    fn apts_plan_is_read_line_by_line() {
        let plan = "acme 1.0 all none < 1.1 all none /run/a b.deb\nother 2 amd64 same > - - none **REMOVE**\nacme 1.0 all none < 1.1 all none **CONFIGURE**\n";
        let steps = vec![
            AptStep::Unpack {
                name: "acme",
                replaces: Some("1.0"),
                version: "1.1",
                architecture: "all",
                archive: Some("/run/a b.deb"),
            },
            AptStep::Remove { name: "other" },
            AptStep::Configure { name: "acme" },
        ];
        assert_eq!(announced(plan), Ok(steps));
    }

    #[test]
    fn the_plan_of_a_simulation_is_read_line_by_line() {
        let printed = "Reading package lists...\nThe following NEW packages will be installed:\n  libfoo\n\
            Inst libfoo (2.0 local:1/stable, more [amd64]) []\nInst acme [1.0] (1.1 local-deb [all])\n\
            Conf libfoo (2.0 local:1/stable [amd64])\nConf acme (1.1 local-deb [all])\nRemv old [1]\n";
        let unpack = |name, replaces, version, architecture| AptStep::Unpack {
            name,
            replaces,
            version,
            architecture,
            archive: None,
        };
        let steps = vec![
            unpack("libfoo", None, "2.0", "amd64"),
            unpack("acme", Some("1.0"), "1.1", "all"),
            AptStep::Configure { name: "libfoo" },
            AptStep::Configure { name: "acme" },
            AptStep::Remove { name: "old" },
        ];
        assert_eq!(simulated(printed), Ok(steps));
        assert!(simulated("Inst acme 1.0\n").is_err());
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
    fn install(name: &str) -> Install {
        let file = PackageFile {
            path: "/sealed".into(),
            package: SealedPackage {
                name: PackageName::new(name).unwrap(),
                version: PackageVersion::new("1.1").unwrap(),
                architecture: "all".into(),
                length: 1,
                signer: None,
                components: Vec::new(),
            },
        };
        let options = InstallOptions {
            allow_downgrade: false,
            reinstall: false,
        };
        Install { file, options }
    }

    fn sealed(install: &Install) -> Sealed<'_> {
        Sealed {
            install,
            is_archive: &|_, archive| archive == "/a.deb",
        }
    }

    /// The judgement on a plan that may bring only packages whose names begin with `lib`.
    fn judged(
        installs: &[Install],
        steps: &[AptStep<'_>],
    ) -> Result<Vec<Dependency>, (Cause, String)> {
        let sealed: Vec<_> = installs.iter().map(sealed).collect();
        let libraries = Dependencies::Listed(vec![Pattern::built_in("lib*")]);
        only_installs(&sealed, steps, |brought| libraries.permit(brought))
            .map_err(|failure| (failure.cause, failure.detail.as_str().to_owned()))
    }

    fn unpack<'a>(name: &'a str, version: &'a str) -> AptStep<'a> {
        AptStep::Unpack {
            name,
            replaces: None,
            version,
            architecture: "all",
            archive: Some("/a.deb"),
        }
    }

    #[test]
    fn only_permitted_packages_that_are_new_on_the_device_come_along() {
        let configure = |name| AptStep::Configure { name };
        let acme = || [unpack("acme", "1.1"), configure("acme")];
        let with = |steps: Vec<AptStep<'static>>| steps.into_iter().chain(acme()).collect();
        let library = || vec![unpack("libfoo", "2"), configure("libfoo")];
        let replaced = AptStep::Unpack {
            name: "libfoo",
            replaces: Some("1"),
            version: "2",
            architecture: "all",
            archive: Some("/var/cache/apt/archives/libfoo_2_all.deb"),
        };
        let libfoo = Dependency {
            name: PackageName::new("libfoo").unwrap(),
            version: PackageVersion::new("2").unwrap(),
        };
        type Row<'a> = (Vec<AptStep<'a>>, Result<Vec<Dependency>, &'a str>);
        let rows: [Row<'_>; 6] = [
            (with(library()), Ok(vec![libfoo])),
            (with(vec![]), Ok(vec![])),
            (
                with(vec![unpack("other", "2"), configure("other")]),
                Err("other 2 would come with it, and policy does not allow that"),
            ),
            (
                with(vec![replaced, configure("libfoo")]),
                Err("would also change other packages: Inst libfoo [1] (2 [all])"),
            ),
            (
                with(vec![AptStep::Remove { name: "libfoo" }]),
                Err("would also change other packages: Remv libfoo"),
            ),
            (
                with(vec![unpack("libfoo", "2")]),
                Err("would also change other packages: Inst libfoo (2 [all])"),
            ),
        ];
        for (steps, expected) in rows {
            match (judged(&[install("acme")], &steps), expected) {
                (Ok(brought), Ok(expected)) => assert_eq!(brought, expected, "{steps:?}"),
                (Err((Cause::Plan, told)), Err(expected)) => {
                    assert!(
                        told.contains(expected),
                        "{told:?} does not say {expected:?}"
                    );
                }
                (judged, expected) => panic!("{steps:?}: {judged:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn packages_that_were_unconfigured_before_may_be_configured_alone() {
        let configure = |name| AptStep::Configure { name };
        let old = ["old", "acme"].map(|name| (name.to_owned(), "install".to_owned()));
        let judged = |steps: &[AptStep<'_>]| {
            judged(
                &[install("acme")],
                &without_old_work(steps, &old.clone().into()),
            )
        };
        let acme = || [unpack("acme", "1.1"), configure("acme")];
        let with = |steps: Vec<_>| judged(&steps.into_iter().chain(acme()).collect::<Vec<_>>());
        assert_eq!(with(vec![configure("old")]), Ok(vec![]));
        for steps in [
            vec![configure("other")],
            vec![configure("old"), configure("old")],
            vec![AptStep::Remove { name: "old" }],
            vec![unpack("old", "2"), configure("old")],
        ] {
            assert!(with(steps.clone()).is_err(), "{steps:?}");
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_sealed_file_and_a_lower_version_needs_its_own_permission() {
        let of = |replaces, archive| {
            let unpack = AptStep::Unpack {
                name: "acme",
                replaces,
                version: "1.1",
                architecture: "all",
                archive,
            };
            [unpack, AptStep::Configure { name: "acme" }]
        };
        let cause = |install: &Install, steps: &[AptStep<'_>]| {
            judged(std::slice::from_ref(install), steps)
                .err()
                .map(|(cause, _)| cause)
        };
        let (acme, mut lower) = (install("acme"), install("acme"));
        lower.options.allow_downgrade = true;
        let elsewhere = Some("/var/cache/apt/archives/acme_1.1_all.deb");
        assert_eq!(cause(&acme, &of(Some("1.0"), Some("/a.deb"))), None);
        assert_eq!(cause(&acme, &of(None, elsewhere)), Some(Cause::Plan));
        assert_eq!(cause(&acme, &of(Some("1.2"), None)), Some(Cause::Downgrade));
        assert_eq!(cause(&lower, &of(Some("1.2"), None)), None);
    }

    #[test]
    fn a_plan_of_two_packages_is_of_both_alone_in_any_order_of_the_two() {
        let names = ["acme", "lamp"].map(|name| PackageName::new(name).unwrap());
        let files = [install("acme"), install("lamp")];
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
            let judged = judged(&files, &steps).map_err(|(cause, _)| cause);
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
        let twice = [install("acme"), install("acme")];
        assert!(judged(&twice, &[a(), ca()]).is_err());
        assert!(judged(&twice, &[a(), a(), ca(), ca()]).is_err());
    }

    #[test]
    fn an_installation_is_of_what_was_sealed_alone() {
        let sealed = [install("acme")];
        let unpack = |name, version, architecture| AptStep::Unpack {
            name,
            replaces: None,
            version,
            architecture,
            archive: Some("/a.deb"),
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
            let judged = judged(&sealed, &steps).map_err(|(cause, _)| cause);
            assert_eq!(judged.err(), cause, "{steps:?}");
        }
    }

    #[test]
    fn a_plan_that_does_more_is_told_in_apts_words() {
        let name = PackageName::new("acme").unwrap();
        let steps = [
            unpack("other", "2"),
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
