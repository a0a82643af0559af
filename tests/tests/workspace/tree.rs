//! The files of the workspace, and the code of its crates.

use std::{
    fs,
    path::{Path, PathBuf},
};

use syn::Attribute;
use wharf_tests::programs::workspace;

/// Every file and folder below a folder of the workspace.
pub(super) fn below(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut folders = vec![workspace().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

/// Every source file below a folder of the workspace.
pub(super) fn sources_below(folder: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    below(folder).into_iter().filter(|path| is_source(path))
}

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// The `src` of each crate.
pub(super) fn crates() -> Vec<PathBuf> {
    let metadata = crate::metadata();
    let packages = metadata.workspace_packages().into_iter();
    let folders = packages.map(|package| package.manifest_path.parent().unwrap().join("src"));
    folders.map(PathBuf::from).collect()
}

/// Each source file of a crate, without those of unit tests.
pub(super) fn code_below(src: &Path) -> impl Iterator<Item = PathBuf> {
    let is_code = move |path: &PathBuf| !is_of_unit_tests(path.strip_prefix(src).unwrap());
    sources_below(src).filter(is_code)
}

/// A source file as syn reads it.
pub(super) fn parsed(path: &Path) -> syn::File {
    let text = fs::read_to_string(path).unwrap();
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// A path as people write it: below the workspace.
pub(super) fn shown(path: &Path) -> String {
    let below = path.strip_prefix(workspace());
    below.unwrap_or(path).display().to_string()
}

/// Whether these attributes keep an item for tests alone.
pub(super) fn is_of_tests(attributes: &[Attribute]) -> bool {
    let is_test = |attribute: &Attribute| {
        let condition = attribute.parse_args::<syn::Ident>();
        attribute.path().is_ident("cfg") && condition.is_ok_and(|word| word == "test")
    };
    attributes.iter().any(is_test)
}

/// Whether a file below `src` has unit tests alone.
fn is_of_unit_tests(path: &Path) -> bool {
    let names = path.with_extension("");
    names.iter().any(|name| name == "tests")
}
