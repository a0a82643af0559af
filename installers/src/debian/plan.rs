//! What apt would do, in its own words (`apt-get -s`), and whether that is exactly what was asked. Starts nothing.

use wharf_frames::{Cause, Failure, PackageName};

use crate::backend::PackageFile;

/// A line of `apt-get -s`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// `Inst acme [1.0] (1.1 local-deb [all])`
    Unpack {
        name: &'a str,
        version: &'a str,
        architecture: &'a str,
    },
    /// `Conf acme (1.1 local-deb [all])`
    Configure { name: &'a str },
    /// `Remv acme [1.0]`, `Purg acme [1.0]`
    Remove { name: &'a str },
}

pub(super) fn steps(lines: &str) -> Vec<Step<'_>> {
    lines.lines().filter_map(step).collect()
}

fn step(line: &str) -> Option<Step<'_>> {
    let (verb, rest) = line.split_once(' ')?;
    let name = rest.split(' ').next()?;
    match verb {
        "Inst" => {
            let (_, new) = rest.split_once('(')?;
            Some(Step::Unpack {
                name,
                version: new.split(' ').next()?,
                architecture: new.rsplit_once('[')?.1.split(']').next()?,
            })
        }
        "Conf" => Some(Step::Configure { name }),
        "Remv" | "Purg" => Some(Step::Remove { name }),
        _ => None,
    }
}

/// The package manager's own plan has to name what was sealed.
pub(super) fn same_package(step: &Step<'_>, file: &PackageFile) -> Result<(), Failure> {
    let package = &file.package;
    match step {
        Step::Unpack {
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
                "apt reads {other:?} in the file, and {} {} was sealed",
                package.name, package.version
            );
            Err(Failure::new(Cause::Malformed, detail))
        }
    }
}

pub(super) fn is(planned: &str, name: &PackageName) -> bool {
    planned == name.as_str()
}

pub(super) fn others(what: &str, steps: &[Step<'_>]) -> Failure {
    let named: Vec<String> = steps
        .iter()
        .take(6)
        .map(|step| format!("{step:?}"))
        .collect();
    Failure::new(
        Cause::Plan,
        format!("{what} would change more than that: {}", named.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_plan_is_read_line_by_line() {
        let plan = "Reading package lists...\nInst acme [1.0] (1.1 local-deb [all])\nRemv other [2]\nConf acme (1.1 local-deb [all])\n";
        assert_eq!(
            steps(plan),
            [
                Step::Unpack {
                    name: "acme",
                    version: "1.1",
                    architecture: "all"
                },
                Step::Remove { name: "other" },
                Step::Configure { name: "acme" },
            ]
        );
    }
}
