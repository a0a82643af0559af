//! Results that are slow to make and never change are made once for a machine, and kept outside the repository.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use crate::folder::{cache, lock};

/// The folder that `make` makes from `recipe`, made now unless it exists. A folder appears complete, and processes that
/// need it at the same time wait until one of them has made it.
pub fn made_once(name: &str, recipe: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let path = cache().join(format!("{name}-{:016x}", digest(recipe)));
    if path.exists() {
        return path;
    }
    let _guard = lock(&cache().join(format!("{name}.lock")));
    if !path.exists() {
        let unfinished = path.with_extension("new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)
                .unwrap_or_else(|error| panic!("{unfinished:?} cannot be removed: {error}"));
        }
        fs::create_dir(&unfinished)
            .unwrap_or_else(|error| panic!("no folder {unfinished:?}: {error}"));
        make(&unfinished);
        fs::rename(&unfinished, &path)
            .unwrap_or_else(|error| panic!("{unfinished:?} cannot become {path:?}: {error}"));
    }
    path
}

fn digest(recipe: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    hasher.finish()
}
