//! The steps of a job about a bundle: a step for each of its packages.

use std::collections::BTreeSet;

use wharf_frames::{Action, PackageName, StageId, Step};

use super::installed::InstalledBundle;
use crate::verdict::{JudgedBundle, Sealed};

/// Facts about packages that decide which steps a job has.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The packages on the device.
    pub(crate) present: BTreeSet<PackageName>,
    /// The packages that another bundle has, too. They stay.
    pub(crate) shared: BTreeSet<PackageName>,
}

/// Installs a bundle in the place of `before`. Its own steps come first. Packages that it has no longer are removed at the end,
/// when no new package can need them.
pub(crate) fn install(
    stage: StageId,
    bundle: &JudgedBundle,
    before: Option<&InstalledBundle>,
    facts: &Facts,
) -> Vec<Step<Sealed>> {
    let mut numbers = 0..;
    let own = bundle.steps.iter().filter_map(|step| match step {
        Step::Install(judged) => Some(Step::Install(Sealed {
            stage,
            judged: judged.clone(),
            member: numbers.next(),
        })),
        step => {
            let name = step
                .package()
                .filter(|name| facts.present.contains(*name))?;
            Step::on(step.action(), name.clone())
        }
    });
    let dropped = dropped(bundle, before, facts);
    own.chain(dropped.map(|name| Step::Uninstall(name.clone())))
        .collect()
}

/// The packages of `before` that the bundle has no longer, in reverse. Its own steps remove some of them.
fn dropped<'b>(
    bundle: &'b JudgedBundle,
    before: Option<&'b InstalledBundle>,
    facts: &'b Facts,
) -> impl Iterator<Item = &'b PackageName> {
    let components = before.map(|before| before.components.as_slice());
    let has = move |name: &PackageName| {
        let installs = bundle.members().any(|member| member.package.name == *name);
        installs || bundle.steps.iter().any(|step| step.package() == Some(name))
    };
    let components = components.unwrap_or_default().iter().rev();
    components.filter(move |name| {
        !has(name) && facts.present.contains(name) && !facts.shared.contains(name)
    })
}

/// Another action on a bundle. A stop or a removal goes in reverse: a later package may need an earlier one.
pub(crate) fn on(action: Action, components: &[PackageName], facts: &Facts) -> Vec<Step<Sealed>> {
    let step = |name: &PackageName| Step::on(action, name.clone());
    let in_reverse = components.iter().rev();
    match action {
        Action::Uninstall => in_reverse
            .filter(|name| facts.present.contains(name) && !facts.shared.contains(name))
            .filter_map(step)
            .collect(),
        Action::Purge => in_reverse
            .filter(|name| !facts.shared.contains(name))
            .filter_map(step)
            .collect(),
        Action::Deactivate => in_reverse
            .filter(|name| facts.present.contains(name))
            .filter_map(step)
            .collect(),
        _ => components.iter().filter_map(step).collect(),
    }
}

#[cfg(test)]
mod tests {
    use wharf_bundle::BundleNeeds;
    use wharf_frames::{PackageVersion, installer::SealedPackage};

    use super::*;
    use crate::{bundle::installed::State, verdict::Judged};

    const STAGE: StageId = StageId::from_bytes([1; 16]);

    fn name(text: &str) -> PackageName {
        PackageName::new(text).unwrap()
    }

    fn judged(text: &str) -> Judged {
        Judged {
            package: SealedPackage {
                name: name(text),
                version: PackageVersion::new("1").unwrap(),
                architecture: "all".into(),
                length: 1,
                signer: None,
                components: Vec::new(),
            },
            digest: [0; 32],
            signed_at: 0,
            signed: None,
        }
    }

    /// A bundle of these steps: `a` installs, `-a` removes.
    fn bundle(steps: &str) -> JudgedBundle {
        let step = |word: &str| match word.strip_prefix('-') {
            Some(removed) => Step::Uninstall(name(removed)),
            None => Step::Install(judged(word)),
        };
        JudgedBundle {
            judged: judged("stack"),
            undo: true,
            needs: BundleNeeds::default(),
            steps: steps.split_whitespace().map(step).collect(),
        }
    }

    fn installed(components: &str) -> InstalledBundle {
        let components = components.split_whitespace().map(name).collect();
        let version = PackageVersion::new("1").unwrap();
        InstalledBundle::new(version, components, State::Whole)
    }

    /// Steps as words: `a:0` installs member 0, `-a` uninstalls, `!a` purges, `>a` activates, `|a` deactivates.
    fn shown(steps: &[Step<Sealed>]) -> String {
        let words = steps.iter().map(|step| match step {
            Step::Install(file) => {
                assert_eq!(file.stage, STAGE);
                format!("{}:{}", file.judged.package.name, file.member.unwrap())
            }
            Step::Uninstall(name) => format!("-{name}"),
            Step::Purge(name) => format!("!{name}"),
            Step::Activate(name) => format!(">{name}"),
            Step::Deactivate(name) => format!("|{name}"),
            Step::Back(name) => format!("<{name}"),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn facts(present: &str, shared: &str) -> Facts {
        let names = |list: &str| list.split_whitespace().map(name).collect();
        Facts {
            present: names(present),
            shared: names(shared),
        }
    }

    #[test]
    fn a_bundle_is_installed_by_its_steps_and_what_it_has_no_longer_is_removed_at_the_end() {
        for (steps, before, present, shared, expected) in [
            ("a b c", "", "", "", "a:0 b:1 c:2"),
            ("a b c", "a b c", "a b c", "", "a:0 b:1 c:2"),
            ("a c d", "a b c", "a b c", "", "a:0 c:1 d:2 -b"),
            ("d", "a b c", "a b c", "", "d:0 -c -b -a"),
            ("d", "a b c", "a c", "", "d:0 -c -a"),
            ("d", "a b c", "a b c", "b", "d:0 -c -a"),
            ("-b a d", "a b", "a b", "", "-b a:0 d:1"),
            ("a -old d", "", "old", "", "a:0 -old d:1"),
            ("a -old d", "", "", "", "a:0 d:1"),
            ("a -old d", "", "old", "old", "a:0 -old d:1"),
        ] {
            let before = (!before.is_empty()).then(|| installed(before));
            let got = install(
                STAGE,
                &bundle(steps),
                before.as_ref(),
                &facts(present, shared),
            );
            let row = format!("{steps} | {before:?} | {present} | {shared}");
            assert_eq!(shown(&got), expected, "{row}");
        }
    }

    #[test]
    fn an_action_on_a_bundle_is_done_for_its_packages_in_order_and_what_stops_or_removes_in_reverse()
     {
        let components = [name("a"), name("b"), name("c")];
        let facts = facts("a c", "c");
        for (action, expected) in [
            // A package that is missing is a refusal later.
            (Action::Activate, ">a >b >c"),
            (Action::Deactivate, "|c |a"),
            (Action::Uninstall, "-a"),
            (Action::Purge, "!b !a"),
        ] {
            let steps = on(action, &components, &facts);
            assert_eq!(shown(&steps), expected, "{action:?}");
        }
    }
}
