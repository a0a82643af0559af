//! A bundle on the device: what its packages are together.

use wharf_frames::{
    PackageName, Text,
    installer::{Found, FoundComponent, MAX_COMPONENTS},
};
use wharf_root::Root;

use super::installed::{Bundles, InstalledBundle};
use crate::{device::Device, ledger::Ledger, not_done::NotDone};

/// A bundle on the device; none if the name is no bundle's.
pub(crate) fn found_bundle(
    root: &Root,
    device: &Device,
    ledger: &Ledger,
    name: &PackageName,
) -> Result<Option<Option<Found>>, NotDone> {
    let Some(entry) = Bundles::of(root).entry(name)? else {
        return Ok(None);
    };
    let mut components = Vec::new();
    for component in &entry.components {
        let found = device.found(component).map_err(NotDone::unanswered)?;
        components.push((component.clone(), ledger.with_managed(found)?));
    }
    Ok(Some(found(name, &entry, components)))
}

/// The bundle of this record, with what the device has of each of its packages. None if nothing of it is there.
pub(crate) fn found(
    name: &PackageName,
    entry: &InstalledBundle,
    components: Vec<(PackageName, Option<Found>)>,
) -> Option<Found> {
    let here: Vec<&Found> = components
        .iter()
        .filter_map(|(_, it)| it.as_ref())
        .collect();
    if here.is_empty() || !entry.is_here() {
        return None;
    }
    let skipped: Vec<&str> = here
        .iter()
        .filter_map(|found| Some(found.skipped.as_ref()?.as_str()))
        .collect();
    let found = Found {
        name: name.clone(),
        version: entry.version.clone(),
        active: here.iter().all(|found| found.active) && here.len() == components.len(),
        damage: components.iter().find_map(damage),
        managed: true,
        no_services: here.iter().all(|found| found.no_services),
        skipped: (!skipped.is_empty()).then(|| Text::new(&skipped.join(", "))),
        components: Vec::new(),
    };
    let components = components.into_iter().filter_map(|(_, found)| found);
    let components = components.map(FoundComponent::from).take(MAX_COMPONENTS);
    Some(Found {
        components: components.collect(),
        ..found
    })
}

/// The reason why a package makes its bundle damaged.
fn damage((name, found): &(PackageName, Option<Found>)) -> Option<Text> {
    match found {
        None => Some(format!("{name} is not installed").into()),
        Some(found) => {
            let word = found.damage.as_ref()?;
            Some(format!("{name} is {word}").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use wharf_frames::PackageVersion;

    use super::*;
    use crate::bundle::installed::State;

    fn name(text: &str) -> PackageName {
        PackageName::new(text).unwrap()
    }

    fn version(text: &str) -> PackageVersion {
        PackageVersion::new(text).unwrap()
    }

    /// A package as a word: `a` is active, `a-` is not, `a!` is damaged, `a?` is missing.
    fn component(word: &str) -> (PackageName, Option<Found>) {
        let plain = word.trim_end_matches(['-', '!', '?']);
        let found = Found {
            name: name(plain),
            version: version("2"),
            active: !word.ends_with('-'),
            damage: word.ends_with('!').then(|| "half-configured".into()),
            managed: false,
            no_services: false,
            skipped: None,
            components: Vec::new(),
        };
        (name(plain), (!word.ends_with('?')).then_some(found))
    }

    fn together(words: &str, state: State) -> Option<Found> {
        let components: Vec<_> = words.split_whitespace().map(component).collect();
        let names = components.iter().map(|(name, _)| name.clone()).collect();
        let entry = InstalledBundle::new(version("1"), names, state);
        found(&name("stack"), &entry, components)
    }

    #[test]
    fn a_bundle_is_active_if_all_are_and_damaged_if_one_is_or_is_missing() {
        for (words, active, damage) in [
            ("a b c", true, None),
            ("a b- c", false, None),
            ("a b! c", true, Some("b is half-configured")),
            ("a b c?", false, Some("c is not installed")),
        ] {
            let found = together(words, State::Whole).unwrap();
            let told = found.damage.as_ref().map(|damage| damage.as_str());
            assert_eq!((found.active, told), (active, damage), "{words}");
            assert_eq!(found.to_string().split(" (").next(), Some("stack 1"));
            assert!(found.managed);
            let names = found.components.iter().map(|it| it.name.as_str());
            let expected = words.split_whitespace().filter(|word| !word.ends_with('?'));
            let expected = expected.map(|word| word.trim_end_matches(['-', '!']));
            assert!(names.eq(expected), "{words}: {:?}", found.components);
        }
        assert_eq!(together("a? b?", State::Whole), None);
        assert_eq!(
            together("a b", State::Removed),
            None,
            "they came on their own"
        );
        assert!(together("a b?", State::Begun(None)).is_some());
    }
}
