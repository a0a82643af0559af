use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, PackageId};

use super::metadata;

/// What a program is without, so that what is hostile, large or privileged stays behind its wall.
const WITHOUT: [(&str, &[&str]); 3] = [
    (
        "wharfd",
        &[
            "hyper",
            "native-tls",
            "nettle",
            "reqwest",
            "sequoia-openpgp",
            "wharf-installers",
        ],
    ),
    (
        "wharf-fetch",
        &["nettle", "rusqlite", "sequoia-openpgp", "wharf-installers"],
    ),
    (
        "wharf-installers",
        &["hyper", "native-tls", "reqwest", "rusqlite", "wharfd"],
    ),
];

#[test]
fn no_program_links_what_it_is_to_be_without() {
    let metadata = metadata();
    for (package, without) in WITHOUT {
        let linked = linked_into(&metadata, package);
        for name in without {
            let way = linked.get(*name).map(|way| way.join(" → "));
            assert_eq!(way, None, "{package} links {name}");
        }
    }
}

/// The names of all that `package` links, each with a way to it.
fn linked_into(metadata: &Metadata, package: &str) -> BTreeMap<String, Vec<String>> {
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    let nodes: BTreeMap<&PackageId, _> = nodes.iter().map(|node| (&node.id, node)).collect();
    let root = metadata
        .workspace_packages()
        .into_iter()
        .find(|member| member.name == package)
        .unwrap_or_else(|| panic!("no {package} in the workspace"));
    let mut seen = BTreeSet::new();
    let mut ways = BTreeMap::new();
    let mut left = vec![(&root.id, vec![package.to_owned()])];
    while let Some((id, way)) = left.pop() {
        for dependency in &nodes[id].deps {
            let kinds = &dependency.dep_kinds;
            let linked = kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if linked && seen.insert(&dependency.pkg) {
                let name = metadata[&dependency.pkg].name.to_string();
                let way = [way.clone(), vec![name.clone()]].concat();
                ways.insert(name, way.clone());
                left.push((&dependency.pkg, way));
            }
        }
    }
    ways
}
