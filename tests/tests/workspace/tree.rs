use std::{
    fs,
    path::{Path, PathBuf},
};

use wharf_tests::programs::workspace;

/// Every file and folder below a folder of the workspace.
pub(super) fn below(folder: &str) -> Vec<PathBuf> {
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
pub(super) fn sources_below(folder: &str) -> impl Iterator<Item = PathBuf> {
    below(folder).into_iter().filter(|path| is_source(path))
}

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}
