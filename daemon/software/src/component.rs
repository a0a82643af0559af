//! The components of a package (TS 5.3): their values, and their ids in Object 14. A plain package is its own component.

use std::collections::{BTreeMap, BTreeSet};

use wharf_frames::{
    PackageName, PackageVersion,
    installer::{Found, FoundComponent, SealedPackage},
};

use crate::{
    Instance, InstanceId,
    instance::{InstanceState, Software},
};

/// The values of a component (TS table 7.-2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentValues {
    /// Resource 0.
    pub name: PackageName,
    /// Resource 2.
    pub version: PackageVersion,
    /// Resource 5: false also while the activation machine is not alive (TS 5.2).
    pub active: bool,
}

/// The Object 14 id of each component of each instance. A component keeps its id as long as it is delivered or in place,
/// also over an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ComponentIds(BTreeMap<u16, (InstanceId, PackageName)>);

impl ComponentIds {
    /// The ids of earlier commits.
    pub fn new(stored: impl IntoIterator<Item = (u16, InstanceId, PackageName)>) -> Self {
        let ids = stored.into_iter();
        Self(ids.map(|(id, of, name)| (id, (of, name))).collect())
    }

    /// The instance and the name of a component.
    pub fn get(&self, id: u16) -> Option<(InstanceId, &PackageName)> {
        self.0.get(&id).map(|(of, name)| (*of, name))
    }

    /// The ids of an instance, in order.
    pub fn of(&self, instance: InstanceId) -> impl Iterator<Item = (u16, &PackageName)> {
        let all = self.0.iter();
        let own = all.filter(move |(_, (of, _))| *of == instance);
        own.map(|(id, (_, name))| (*id, name))
    }

    /// The id of a component of this instance.
    pub fn id(&self, instance: InstanceId, name: &PackageName) -> Option<u16> {
        let mut own = self.of(instance);
        own.find(|(_, known)| *known == name).map(|(id, _)| id)
    }

    /// The ids after the instance is this one, or deleted: a new component gets the lowest free id.
    pub fn after(&self, instance: InstanceId, now: Option<&Instance>) -> Self {
        let names = now.map(Instance::component_names).unwrap_or_default();
        let mut ids = self.clone();
        ids.0
            .retain(|_, (of, name)| *of != instance || names.contains(&&*name));
        for name in names {
            let free = (0..u16::MAX).find(|id| !ids.0.contains_key(id));
            if let (None, Some(id)) = (ids.id(instance, name), free) {
                ids.0.insert(id, (instance, name.clone()));
            }
        }
        ids
    }
}

impl Instance {
    /// The components of the package that resources 0 and 1 name, in the order of its manifest.
    pub fn components(&self) -> Vec<ComponentValues> {
        let is_alive = matches!(self.state, InstanceState::Installed { .. });
        if let Some(package) = self.package() {
            return of_package(package);
        }
        let Some((name, version)) = self.software() else {
            return Vec::new();
        };
        let of = |name: &PackageName, version: &PackageVersion, active| ComponentValues {
            name: name.clone(),
            version: version.clone(),
            active: is_alive && active,
        };
        match self.components_in_place() {
            [] => vec![of(name, version, self.runs())],
            several => several
                .iter()
                .map(|one| of(&one.name, &one.version, one.active))
                .collect(),
        }
    }

    /// Whether that package is a bundle.
    pub fn is_bundle(&self) -> bool {
        match self.package() {
            Some(package) => !package.components.is_empty(),
            None => !self.components_in_place().is_empty(),
        }
    }

    /// The components of a bundle in place, in any state. None of a plain package.
    pub fn components_in_place(&self) -> &[FoundComponent] {
        match (&self.state, self.in_place()) {
            (InstanceState::Installed { software, .. }, _) => &software.components,
            (_, Some(known)) => &known.components,
            (_, None) => &[],
        }
    }

    /// The names of all components that are delivered or in place, in this order. A plain package is one.
    fn component_names(&self) -> Vec<&PackageName> {
        let delivered = self.package().map(|package| {
            let several = package.components.iter().map(|one| &one.name);
            or_itself(several.collect(), &package.name)
        });
        let in_place = self.software().map(|(name, _)| {
            let several = self.components_in_place().iter().map(|one| &one.name);
            or_itself(several.collect(), name)
        });
        let mut seen = BTreeSet::new();
        let all = delivered.into_iter().chain(in_place).flatten();
        all.filter(|name| seen.insert(*name)).collect()
    }

    /// Whether this package, or a package in it, is in place here: alone, as a bundle or in one.
    pub fn holds(&self, package: &SealedPackage) -> bool {
        self.names_in_place().any(|name| {
            *name == package.name || package.components.iter().any(|one| one.name == *name)
        })
    }

    /// The name of the software in place, and those of its components.
    pub(crate) fn names_in_place(&self) -> impl Iterator<Item = &PackageName> {
        let own = self.software().map(|(name, _)| name).into_iter();
        own.chain(self.components_in_place().iter().map(|one| &one.name))
    }

    /// Whether all of the software in place runs, or none of it.
    pub fn all_run(&self, wanted: bool) -> bool {
        match self.components_in_place() {
            [] => self.runs() == wanted,
            several => several.iter().all(|one| one.active == wanted),
        }
    }
}

impl Software {
    /// Whether all of it runs, or none of it.
    pub(crate) fn all_run(&self, wanted: bool) -> bool {
        match self.components.as_slice() {
            [] => self.active == wanted,
            several => several.iter().all(|one| one.active == wanted),
        }
    }

    /// The bundle after a job that switched this component. None if the component is not in it.
    pub(crate) fn with_component(&self, found: Found) -> Option<Self> {
        let mut bundle = self.clone();
        let mut several = bundle.components.iter_mut();
        let known = several.find(|one| one.name == found.name)?;
        *known = found.into();
        bundle.active = bundle.all_run(true);
        Some(bundle)
    }
}

fn of_package(package: &SealedPackage) -> Vec<ComponentValues> {
    let of = |name: &PackageName, version: &PackageVersion| ComponentValues {
        name: name.clone(),
        version: version.clone(),
        active: false,
    };
    match package.components.as_slice() {
        [] => vec![of(&package.name, &package.version)],
        several => several
            .iter()
            .map(|one| of(&one.name, &one.version))
            .collect(),
    }
}

fn or_itself<'a>(several: Vec<&'a PackageName>, name: &'a PackageName) -> Vec<&'a PackageName> {
    match several.is_empty() {
        true => vec![name],
        false => several,
    }
}
