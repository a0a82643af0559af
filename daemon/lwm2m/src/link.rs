//! Encodes the link format of Register, Update and Discover (RFC 6690, TS Core 1.0 5.3.1, 5.4.2).

use core::fmt::Write;

use crate::{Dimensions, ObjectInstanceId, Objects, Path, Version};

/// The Security object, which only a bootstrap server can access (TS Core 1.0 E.1).
pub(crate) const SECURITY: u16 = 0;

/// The payload of a Register: every instance, or the object if it has none. It has no `ct`: `ct`
/// declares formats besides TLV (TS Core 1.0 5.3.1), and Wakaama's server rejects most of them.
pub(crate) fn registration(objects: &Objects) -> String {
    let mut links = String::from("</>;rt=\"oma.lwm2m\"");
    for definition in objects
        .definitions()
        .iter()
        .filter(|definition| definition.id != SECURITY)
    {
        let mut instances = objects.instances_of(definition.id).peekable();
        if instances.peek().is_none() || definition.version != Version(1, 0) {
            push(&mut links, Path::Object(definition.id));
            push_version(&mut links, definition.version);
        }
        for instance in instances {
            push(&mut links, Path::Instance(definition.id, instance));
        }
    }
    links
}

/// The payload of the response to a Discover, with the `dim` of each multiple resource (TS Core 1.0
/// 5.1.2).
pub(crate) fn discovered(
    path: Path,
    version: Version,
    instances: &[(ObjectInstanceId, Dimensions)],
) -> String {
    let mut links = String::new();
    if let Path::Object(object) = path {
        push(&mut links, Path::Object(object));
        push_version(&mut links, version);
    }
    for (instance, resources) in instances {
        let here = Path::Instance(path.object(), *instance);
        if path.resource().is_none() && path.contains(here) {
            push(&mut links, here);
        }
        for (resource, dimension) in resources {
            let here = Path::Resource(path.object(), *instance, *resource);
            if path.contains(here) {
                push(&mut links, here);
                push_dimension(&mut links, *dimension);
            }
        }
    }
    links
}

fn push(links: &mut String, path: Path) {
    let comma = if links.is_empty() { "" } else { "," };
    // Writing to a String does not fail.
    let _ = write!(links, "{comma}<{path}>");
}

fn push_dimension(links: &mut String, dimension: Option<u16>) {
    if let Some(dimension) = dimension {
        let _ = write!(links, ";dim={dimension}");
    }
}

fn push_version(links: &mut String, version: Version) {
    if version != Version(1, 0) {
        let _ = write!(links, ";ver=\"{}.{}\"", version.0, version.1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*, sample::select};

    use super::*;
    use crate::ObjectDefinition;

    static OBJECTS: [ObjectDefinition; 5] = [
        ObjectDefinition::new(0, &[]).multiple(),
        ObjectDefinition::new(1, &[]).multiple(),
        ObjectDefinition::new(3, &[]).version(Version(1, 1)),
        ObjectDefinition::new(9, &[]).multiple(),
        ObjectDefinition::new(14, &[]).multiple(),
    ];

    #[test]
    fn a_registration_lists_instances_and_objects_without_any_and_never_security() {
        let objects = Objects::new(&OBJECTS, [(9, 1), (0, 0), (1, 0), (3, 0), (9, 0)]);
        assert_eq!(
            registration(&objects),
            "</>;rt=\"oma.lwm2m\",</1/0>,</3>;ver=\"1.1\",</3/0>,</9/0>,</9/1>,</14>",
        );
    }

    #[test]
    fn a_discover_answers_at_its_level_and_below() {
        let there = [(0, vec![(0, None), (7, Some(8))]), (2, vec![(7, Some(0))])];
        let version = Version(1, 0);
        for (path, links) in [
            (
                Path::Object(9),
                "</9>,</9/0>,</9/0/0>,</9/0/7>;dim=8,</9/2>,</9/2/7>;dim=0",
            ),
            (Path::Instance(9, 0), "</9/0>,</9/0/0>,</9/0/7>;dim=8"),
            (Path::Resource(9, 0, 7), "</9/0/7>;dim=8"),
        ] {
            assert_eq!(discovered(path, version, &there), links);
        }
    }

    proptest! {
        #[test]
        fn every_instance_can_be_read_back_from_a_registration(
            instances in btree_set((select(vec![1_u16, 3, 9, 14]), any::<u16>()), 0..20),
        ) {
            let links = registration(&Objects::new(&OBJECTS, instances.iter().copied()));
            let paths = links.split(',').map(|link| link.split(['<', '>']).nth(1).unwrap());
            let listed: Vec<Vec<u16>> = paths
                .map(|path| path.split('/').filter_map(|id| id.parse().ok()).collect())
                .collect();
            let expected: Vec<_> =
                instances.iter().map(|(object, id)| vec![*object, *id]).collect();
            let instances: Vec<_> = listed.into_iter().filter(|path| path.len() == 2).collect();
            prop_assert_eq!(instances, expected);
        }
    }
}
