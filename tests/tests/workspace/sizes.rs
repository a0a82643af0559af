//! The largest function and the largest file of shipped code. Test code is free.

use std::{
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Block, ImplItemFn, Item, ItemFn, Signature, TraitItemFn,
    visit::{self, Visit},
};
use wharf_tests::programs::workspace;

use crate::tree::{code_below, crates, is_of_tests, parsed, shown};

/// The most lines of a function, from `fn` to its last brace: it fits a screen.
const FUNCTION: usize = 60;

/// The most lines of a file, with its unit tests.
const FILE: usize = 757;

#[test]
fn each_function_of_shipped_code_fits_a_screen() {
    let mut long = Vec::new();
    for path in shipped() {
        let found = functions(&parsed(&path)).into_iter();
        let found = found.filter(|(_, lines)| *lines > FUNCTION);
        long.extend(found.map(|(name, lines)| format!("{}: {name}: {lines}", shown(&path))));
    }
    assert!(long.is_empty(), "over {FUNCTION} lines: {long:#?}");
}

#[test]
fn no_file_of_shipped_code_is_longer_than_the_longest_so_far() {
    let lengths = shipped().map(|path| (shown(&path), lines(&path)));
    let long: Vec<_> = lengths.filter(|(_, lines)| *lines > FILE).collect();
    assert!(long.is_empty(), "over {FILE} lines: {long:#?}");
}

#[test]
fn a_function_is_measured_from_its_first_line_to_its_last_brace() {
    let text = "
fn one() {}
trait T {
    fn declared();
    /// A comment before it.
    fn two(
    ) {
    }
}
#[cfg(test)]
mod tests {
    fn of_a_test() {}
}
";
    let found = functions(&syn::parse_str(text).unwrap());
    assert_eq!(found, [("one".to_owned(), 1), ("two".to_owned(), 3)]);
}

/// Each source file of the crates of which something is shipped.
fn shipped() -> impl Iterator<Item = PathBuf> {
    let tests = workspace().join("tests/src");
    let crates = crates().into_iter().filter(move |src| *src != tests);
    crates.flat_map(|src| code_below(&src).collect::<Vec<_>>())
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap().lines().count()
}

/// The functions outside of tests, each with its number of lines.
fn functions(file: &syn::File) -> Vec<(String, usize)> {
    let mut found = Functions::default();
    found.visit_file(file);
    found.0
}

#[derive(Default)]
struct Functions(Vec<(String, usize)>);

impl Functions {
    fn add(&mut self, signature: &Signature, block: &Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        self.0.push((signature.ident.to_string(), last + 1 - first));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item(&mut self, item: &'ast Item) {
        if let Item::Mod(module) = item
            && is_of_tests(&module.attrs)
        {
            return;
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}
