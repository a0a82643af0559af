//! Modules of a crate import each other in no circle: a reader can begin with the lowest one. A parent declares its
//! children, so an import from a parent closes no circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use syn::{
    Item, ItemUse, UseTree,
    visit::{self, Visit},
};
use wharf_tests::programs::workspace;

use crate::tree::{crates, is_of_tests, parsed, sources_below};

/// A module by its path below the crate: `store`, `database`.
type Module = Vec<String>;

/// The modules that each module imports.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn the_modules_of_each_crate_import_each_other_in_no_circle() {
    let circles: Vec<String> = crates()
        .iter()
        .flat_map(|folder| {
            let name = folder.strip_prefix(workspace()).unwrap().display();
            let found = circles(&imports(&modules(folder)));
            let texts = found.iter().map(|circle| shown(circle).join(" → "));
            texts
                .map(|text| format!("{name}: {text}"))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(circles.is_empty(), "circles of modules: {circles:#?}");
}

#[test]
fn a_circle_is_seen_through_names_that_a_parent_hands_on() {
    let crate_of = |sources: &[(&str, &str)]| {
        let modules = sources.iter().map(|(module, text)| {
            let path = module.split('/').filter(|name| !name.is_empty());
            (
                path.map(str::to_owned).collect(),
                syn::parse_file(text).unwrap(),
            )
        });
        circles(&imports(&modules.collect()))
    };
    let handed_on = [
        ("", "mod a; mod b;"),
        ("a", "mod low; pub use low::Low;"),
        ("a/low", "use crate::b::{B, other};"),
        ("b", "use super::a::Low;"),
    ];
    let found = crate_of(&handed_on);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(shown(&found[0]), ["a::low", "b"]);

    let in_an_expression = [
        ("", ""),
        ("a", "fn f() { crate::b::g() }"),
        ("b", "use crate::a;"),
    ];
    assert_eq!(crate_of(&in_an_expression).len(), 1);

    let of_tests_or_parents = [
        ("", "mod a; mod b;"),
        ("a", "mod child; use child::Child; struct A;"),
        ("a/child", "use super::A;"),
        (
            "b",
            "use crate::a::A; #[cfg(test)] mod tests { use crate::c::C; }",
        ),
        ("c", "use crate::b::B;"),
    ];
    assert_eq!(crate_of(&of_tests_or_parents), [] as [Vec<Module>; 0]);
}

/// Each file of a crate with its module. A crate of one file has no circle.
fn modules(src: &Path) -> BTreeMap<Module, syn::File> {
    let files = sources_below(src);
    files
        .map(|path| (module(path.strip_prefix(src).unwrap()), parsed(&path)))
        .collect()
}

fn module(file: &Path) -> Module {
    let names = file.with_extension("");
    let names = names.iter().map(|name| name.to_string_lossy().into_owned());
    names
        .filter(|name| !["mod", "lib", "main"].contains(&name.as_str()))
        .collect()
}

fn imports(modules: &BTreeMap<Module, syn::File>) -> Imports {
    let found: BTreeMap<&Module, Found> = modules
        .iter()
        .map(|(module, file)| {
            let mut found = Found::default();
            found.visit_file(file);
            (module, found)
        })
        .collect();
    let imported = |module: &Module, path: &[String]| {
        let target = resolved(&found, module, path, 0)?;
        (!module.starts_with(&target)).then_some(target)
    };
    let of = |(module, found): (&&Module, &Found)| {
        let imports = found.paths.iter().filter_map(|path| imported(module, path));
        ((*module).clone(), imports.collect())
    };
    found.iter().map(of).collect()
}

/// The module that a path leads to: the deepest one on it, through names that a module hands on with `pub use`.
fn resolved(
    found: &BTreeMap<&Module, Found>,
    from: &Module,
    path: &[String],
    hops: usize,
) -> Option<Module> {
    let (mut at, mut rest) = match path.first()?.as_str() {
        "crate" => (Module::new(), path.get(1..)?),
        "self" => (from.clone(), path.get(1..)?),
        _ => (from.clone(), path),
    };
    while rest.first().is_some_and(|name| name == "super") {
        at.pop();
        rest = rest.get(1..)?;
    }
    while let Some((name, after)) = rest.split_first() {
        let below: Module = at.iter().chain([name]).cloned().collect();
        if !found.contains_key(&below) {
            break;
        }
        (at, rest) = (below, after);
    }
    let is_inside = at != *from || path.len() != rest.len();
    let handed_on = rest
        .first()
        .and_then(|name| found.get(&at)?.hands_on.get(name));
    match handed_on {
        Some(path) if hops < 8 => resolved(found, &at, path, hops + 1),
        _ => is_inside.then_some(at),
    }
}

/// The paths in one file, but for those of its unit tests.
#[derive(Default)]
struct Found {
    paths: Vec<Vec<String>>,
    hands_on: BTreeMap<String, Vec<String>>,
}

impl Found {
    fn add(&mut self, tree: &UseTree, before: &[String], is_public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let (path, name) = match tree {
            UseTree::Path(path) => return self.add(&path.tree, &with(&path.ident), is_public),
            UseTree::Group(group) => {
                return group
                    .items
                    .iter()
                    .for_each(|tree| self.add(tree, before, is_public));
            }
            UseTree::Name(name) if name.ident == "self" => {
                (before.to_vec(), before.last().cloned())
            }
            UseTree::Name(name) => (with(&name.ident), Some(name.ident.to_string())),
            UseTree::Rename(rename) => (with(&rename.ident), Some(rename.rename.to_string())),
            UseTree::Glob(_) => (before.to_vec(), None),
        };
        match name {
            Some(name) if is_public => {
                self.hands_on.insert(name, path);
            }
            _ => self.paths.push(path),
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_of_tests(&module.attrs) => {}
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_public = !matches!(item.vis, syn::Visibility::Inherited);
        self.add(&item.tree, &[], is_public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        self.paths.push(names.collect());
        visit::visit_path(self, path);
    }
}

/// Each set of modules of which every one leads to every other.
fn circles(imports: &Imports) -> Vec<Vec<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = imports
        .keys()
        .map(|module| (module, reach(imports, module)))
        .collect();
    let circles: BTreeSet<Vec<Module>> = reached
        .iter()
        .filter(|(module, reached)| reached.contains(*module))
        .map(|(module, from)| {
            let back = from
                .iter()
                .filter(|other| reached[**other].contains(*module));
            back.map(|other| (*other).clone()).collect()
        })
        .collect();
    circles.into_iter().collect()
}

fn reach<'a>(imports: &'a Imports, module: &'a Module) -> BTreeSet<&'a Module> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![module]);
    while let Some(at) = next.pop() {
        let imported = imports.get(at).into_iter().flatten();
        next.extend(imported.filter(|module| reached.insert(*module)));
    }
    reached
}

fn shown(circle: &[Module]) -> Vec<String> {
    circle.iter().map(|module| module.join("::")).collect()
}
