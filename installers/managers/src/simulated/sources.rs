//! The sources of the simulated package manager. `srv/wharf-simulated` below the root has the packages that they offer now,
//! each in a file with its name. `var/lib/wharf-simulated/index` is the list that the device fetched last: the names, one a
//! line. With `etc/wharf-simulated/no-network`, the sources cannot be reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use wharf_frames::{Cause, Failure, PackageName, PackageVersion, installer::Dependency};
use wharf_root::durable;

use super::{Lines, SimulatedManager, failed, numbers};
use crate::{Brought, Dependencies, Install};

/// The packages that come with an installation.
#[derive(Default)]
pub(super) struct Resolved {
    pub(super) brought: Brought,
    /// The bytes of each of them.
    pub(super) packages: Vec<Vec<u8>>,
}

/// One package that another one needs.
struct Need {
    name: PackageName,
    /// The lowest version.
    version: Option<PackageVersion>,
}

impl SimulatedManager {
    /// Those of the packages that the device does not have.
    pub(super) fn missing<'a>(&self, installs: &'a [Install]) -> Result<Vec<&'a Install>, Failure> {
        let mut missing = Vec::new();
        for install in installs {
            if !crate::PackageManager::has(self, &install.file, install.options)? {
                missing.push(install);
            }
        }
        Ok(missing)
    }

    /// The dependencies of the installation. A stale index is fetched again, if it may `refresh`.
    pub(super) fn resolved(
        &self,
        work: &[&Install],
        dependencies: &Dependencies,
        may_refresh: bool,
    ) -> Result<Resolved, Failure> {
        let mut resolved = self.resolve(work, dependencies);
        let is_missing = |failure: &Failure| failure.cause == Cause::Dependency;
        if may_refresh && dependencies.may_come() && resolved.as_ref().is_err_and(is_missing) {
            if self.is_told("no-network") {
                return resolved.map_err(|failure| {
                    let away = "srv/wharf-simulated cannot be reached".into();
                    Failure::new(failure.cause, failure.detail.followed_by(&away))
                });
            }
            self.refresh()?;
            resolved = self.resolve(work, dependencies);
            if let Ok(resolved) = &mut resolved {
                resolved.brought.refreshed = true;
            }
        }
        let resolved = resolved?;
        dependencies.permit(&resolved.brought.dependencies)?;
        Ok(resolved)
    }

    fn resolve(&self, work: &[&Install], dependencies: &Dependencies) -> Result<Resolved, Failure> {
        let mut resolved = Resolved::default();
        for install in work {
            let package = fs::read(&install.file.path).map_err(failed)?;
            self.resolve_needs(&package, work, dependencies, &mut resolved)?;
        }
        Ok(resolved)
    }

    fn resolve_needs(
        &self,
        package: &[u8],
        work: &[&Install],
        dependencies: &Dependencies,
        resolved: &mut Resolved,
    ) -> Result<(), Failure> {
        for need in needs(&Lines::of(package).needs) {
            let installed = self.version(&need.name)?;
            let in_files = work.iter().map(|it| &it.file.package);
            let mut in_files = in_files.filter(|it| it.name == need.name);
            let known = &resolved.brought.dependencies;
            let is_there = installed.as_ref().is_some_and(|it| need.takes(it))
                || in_files.any(|it| need.takes(&it.version))
                || known.iter().any(|it| it.name == need.name);
            if is_there {
                continue;
            }
            let offered = match dependencies.may_come() {
                true => self.offered(&need)?,
                false => None,
            };
            let Some((version, bytes)) = offered else {
                let detail = format!("simulated: {} is missing", need.told());
                return Err(Failure::new(Cause::Dependency, detail));
            };
            if let Some(installed) = installed {
                let detail = format!(
                    "simulated: {} {installed} would become {version}",
                    need.name
                );
                return Err(Failure::new(Cause::Plan, detail));
            }
            self.resolve_needs(&bytes, work, dependencies, resolved)?;
            let name = need.name;
            resolved
                .brought
                .dependencies
                .push(Dependency { name, version });
            resolved.packages.push(bytes);
        }
        Ok(())
    }

    /// The version that the sources offer, and its bytes.
    fn offered(&self, need: &Need) -> Result<Option<(PackageVersion, Vec<u8>)>, Failure> {
        let index = durable::read(&self.database.join("index")).map_err(failed)?;
        let index = String::from_utf8_lossy(&index.unwrap_or_default()).into_owned();
        if self.is_told("no-network") || !index.lines().any(|it| it == need.name.as_str()) {
            return Ok(None);
        }
        let file = self
            .root
            .path("srv/wharf-simulated")
            .join(need.name.as_str());
        let Some(bytes) = durable::read(&file).map_err(failed)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let version = text.lines().find_map(|line| line.strip_prefix("version: "));
        let version = version.and_then(|version| PackageVersion::new(version).ok());
        let version = version.filter(|version| need.takes(version));
        Ok(version.map(|version| (version, bytes)))
    }

    fn refresh(&self) -> Result<(), Failure> {
        let names: Vec<String> = match fs::read_dir(self.root.path("srv/wharf-simulated")) {
            Ok(entries) => entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect(),
            Err(_) => Vec::new(),
        };
        durable::write(&self.database.join("index"), names.join("\n").as_bytes()).map_err(failed)
    }

    /// The installed packages that came as dependencies, and that no installed package needs.
    pub(super) fn unneeded(&self) -> Result<BTreeSet<PackageName>, Failure> {
        let (mut automatic, mut wanted) = (BTreeMap::new(), Vec::new());
        for name in self.names()? {
            if self.version(&name)?.is_none() {
                continue;
            }
            let lines = durable::read(&self.file(&name, "_needs")).map_err(failed)?;
            let lines = String::from_utf8_lossy(&lines.unwrap_or_default()).into_owned();
            let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
            let needed = needs(&lines).map(|need| need.name);
            match self.file(&name, "_automatic").exists() {
                true => drop(automatic.insert(name, needed.collect::<Vec<_>>())),
                false => wanted.extend(needed),
            }
        }
        while let Some(name) = wanted.pop() {
            wanted.extend(automatic.remove(&name).unwrap_or_default());
        }
        Ok(automatic.into_keys().collect())
    }
}

fn needs(lines: &[String]) -> impl Iterator<Item = Need> {
    lines.iter().filter_map(|line| {
        let (name, version) = match line.split_once(' ') {
            Some((name, version)) => (name, PackageVersion::new(version).ok()),
            None => (line.as_str(), None),
        };
        let name = PackageName::new(name).ok()?;
        Some(Need { name, version })
    })
}

impl Need {
    fn takes(&self, version: &PackageVersion) -> bool {
        let lowest = self.version.as_ref();
        lowest.is_none_or(|lowest| numbers(version) >= numbers(lowest))
    }

    fn told(&self) -> String {
        match &self.version {
            Some(version) => format!("{} >= {version}", self.name),
            None => self.name.to_string(),
        }
    }
}
