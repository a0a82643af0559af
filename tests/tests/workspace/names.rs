//! A type that other modules can name has a name of its own in the whole workspace: a reader who searches for it finds
//! one thing. A type that only its own module or its parent can name is free.

use std::collections::BTreeMap;

use syn::{
    Ident, Item, Visibility,
    visit::{self, Visit},
};

use crate::tree::{code_below, crates, is_of_tests, parsed, shown};

/// The places that declare each name.
type Places = BTreeMap<String, Vec<String>>;

#[test]
fn each_visible_type_has_a_name_of_its_own() {
    let mut places = Places::new();
    for src in crates() {
        for path in code_below(&src) {
            declared(&parsed(&path), &shown(&path), &mut places);
        }
    }
    let shared: Places = places
        .into_iter()
        .filter(|(_, in_)| in_.len() > 1)
        .collect();
    assert!(
        shared.is_empty(),
        "types with the same name: give all but one a name that says what it is, or less visibility: {shared:#?}"
    );
}

#[test]
fn only_visible_types_outside_of_tests_count() {
    let text = "
        pub struct A; pub(crate) enum B {} pub trait C {} pub type D = (); mod inner { pub struct E; }
        struct Private; pub(super) struct Near; pub fn function() {}
        #[cfg(test)] mod tests { pub struct Test; } #[cfg(test)] pub struct Double;";
    let mut places = Places::new();
    declared(&syn::parse_str(text).unwrap(), "here", &mut places);
    assert_eq!(
        places.into_keys().collect::<Vec<_>>(),
        ["A", "B", "C", "D", "E"]
    );
}

fn declared(file: &syn::File, place: &str, places: &mut Places) {
    Types { place, places }.visit_file(file);
}

struct Types<'a> {
    place: &'a str,
    places: &'a mut Places,
}

impl<'ast> Visit<'ast> for Types<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, declared): (_, Option<(&Visibility, &Ident)>) = match item {
            Item::Struct(item) => (&item.attrs, Some((&item.vis, &item.ident))),
            Item::Enum(item) => (&item.attrs, Some((&item.vis, &item.ident))),
            Item::Union(item) => (&item.attrs, Some((&item.vis, &item.ident))),
            Item::Trait(item) => (&item.attrs, Some((&item.vis, &item.ident))),
            Item::Type(item) => (&item.attrs, Some((&item.vis, &item.ident))),
            Item::Mod(item) => (&item.attrs, None),
            _ => return,
        };
        if is_of_tests(attributes) {
            return;
        }
        if let Some((visibility, name)) = declared
            && is_wide(visibility)
        {
            let places = self.places.entry(name.to_string()).or_default();
            places.push(self.place.to_owned());
        }
        visit::visit_item(self, item);
    }
}

/// `pub` or `pub(crate)`.
fn is_wide(visibility: &Visibility) -> bool {
    match visibility {
        Visibility::Public(_) => true,
        Visibility::Restricted(within) => within.path.is_ident("crate"),
        Visibility::Inherited => false,
    }
}
