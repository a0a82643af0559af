use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use wharf_tests::{
    pages::{broken_links, relative_links},
    programs::workspace,
};

use crate::tree::below;

#[test]
fn each_relative_link_of_a_page_leads_somewhere() {
    let pages = pages().into_iter().map(|page| {
        let text = fs::read_to_string(&page).unwrap();
        (page, text)
    });
    let (links, broken) = broken_links(pages);
    assert!(links > 30, "{links} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_link_is_relative_where_it_names_no_scheme() {
    let page = "A [page](one.md), its [part](../two.md#part), [here](#here), [web](https://h/a.md)";
    assert_eq!(relative_links(page), ["one.md", "../two.md"]);
}

/// The map names a path by its end: `store/schema.rs` is daemon/src/store/schema.rs.
#[test]
fn each_path_that_the_map_names_is_in_the_tree() {
    let map = fs::read_to_string(workspace().join("docs/ARCHITECTURE.md")).unwrap();
    let folders = [
        "daemon",
        "fuzz/fuzz_targets",
        "installers",
        "packaging",
        "systemd",
    ];
    let mut tree: Vec<PathBuf> = folders.into_iter().flat_map(below).collect();
    tree.extend(folders.map(|folder| workspace().join(folder)));
    let named = paths_named(&map);
    assert!(named.len() > 40, "{} paths are named", named.len());
    let missing: Vec<&str> = named
        .into_iter()
        .filter(|path| !tree.iter().any(|file| file.ends_with(path)))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn a_name_in_backticks_is_a_path_where_it_is_a_source_or_has_a_folder() {
    let page = "`a/b.rs`, `jobs.rs`, `store/` and `Event`, of `/etc/wharfd`, by `make test`";
    let named = ["a/b.rs", "jobs.rs", "store/"];
    assert_eq!(paths_named(page), BTreeSet::from(named));
}

/// The names in backticks that are paths of the tree. One that begins with a slash is a gateway's, or LwM2M's.
fn paths_named(page: &str) -> BTreeSet<&str> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| name.contains('/') || name.ends_with(".rs"))
        .filter(|name| !name.starts_with('/'))
        .collect()
}

fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/decisions"];
    let folders = folders.map(|folder| workspace().join(folder));
    folders
        .iter()
        .flat_map(|folder| markdown_in(folder))
        .collect()
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}
