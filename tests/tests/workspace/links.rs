use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, PackageId};

use super::metadata;

/// The parsers of hostile input, and their dependencies.
const PARSERS: [&str; 7] = [
    "flate2",
    "lzma-rust2",
    "nettle",
    "ruzstd",
    "sequoia-openpgp",
    "tar",
    "wharf-inspect",
];

/// The crates that a program or a crate of it must not link, besides [`PARSERS`], which wharf-inspect alone links. They keep
/// hostile, large and privileged code behind its wall, and package managers apart from services.
const WITHOUT: [(&str, &[&str]); 8] = [
    (
        "wharfd",
        &["hyper", "native-tls", "reqwest", "wharf-installers"],
    ),
    (
        "wharfctl",
        &[
            "lwm2m",
            "openssl",
            "rusqlite",
            "wharf-installers",
            "wharf-journal",
            "wharf-transport",
            "wharfd",
        ],
    ),
    ("wharf-fetch", &["rusqlite", "wharf-installers"]),
    (
        "wharf-installers",
        &["hyper", "native-tls", "reqwest", "rusqlite", "wharfd"],
    ),
    ("wharf-managers", &["wharf-installers", "wharf-services"]),
    ("wharf-services", &["wharf-installers", "wharf-managers"]),
    (
        "wharf-root",
        &["wharf-installers", "wharf-managers", "wharf-services"],
    ),
    (
        "wharf-inspect",
        &[
            "hyper",
            "native-tls",
            "reqwest",
            "rusqlite",
            "wharf-installers",
            "wharf-managers",
            "wharf-root",
            "wharf-services",
            "wharfd",
        ],
    ),
];

#[test]
fn no_program_links_what_it_is_to_be_without() {
    let metadata = metadata();
    for (package, without) in WITHOUT {
        expect_without(&metadata, package, without);
    }
}

/// "Root parses no package": the parsers are in the graph of the one program that has no privilege.
#[test]
fn the_parsers_are_linked_into_wharf_inspect_alone() {
    let metadata = metadata();
    for member in metadata.workspace_packages() {
        if member.name != "wharf-inspect" {
            expect_without(&metadata, &member.name, &PARSERS);
        }
    }
    let linked = linked_into(&metadata, "wharf-inspect");
    for parser in PARSERS.iter().filter(|name| **name != "wharf-inspect") {
        assert!(
            linked.contains_key(*parser),
            "wharf-inspect has no {parser}"
        );
    }
}

#[track_caller]
fn expect_without(metadata: &Metadata, package: &str, without: &[&str]) {
    let linked = linked_into(metadata, package);
    for name in without {
        let way = linked.get(*name).map(|way| way.join(" → "));
        assert_eq!(way, None, "{package} links {name}");
    }
}

/// The names of all crates that `package` links, each with the path of dependencies to it.
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
