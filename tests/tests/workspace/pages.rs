use std::{
    fs,
    path::{Path, PathBuf},
};

use wharf_tests::{
    pages::{broken_links, relative_links},
    programs::workspace,
};

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
