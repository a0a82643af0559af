//! The components of an instance as rows, with their ids in Object 14.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};
use wharf_frames::{
    PackageName,
    installer::{Component, FoundComponent},
};
use wharf_software::{ComponentIds, Instance, InstanceId};

use super::rows::Sql;

/// The components of the bundles of an instance, each in the order of its manifest.
#[derive(Default)]
pub(super) struct Bundles {
    pub(super) in_place: Vec<FoundComponent>,
    pub(super) delivered: Vec<Component>,
}

/// The stored ids.
pub(super) fn ids(transaction: &Transaction<'_>) -> rusqlite::Result<ComponentIds> {
    let rows: rusqlite::Result<Vec<_>> = transaction
        .prepare("SELECT id, instance, name FROM component")?
        .query_map([], |row| {
            Ok((
                row.get(0)?,
                row.get::<_, Sql<InstanceId>>(1)?.0,
                row.get::<_, Sql<PackageName>>(2)?.0,
            ))
        })?
        .collect();
    rows.map(ComponentIds::new)
}

/// The bundles of all instances.
pub(super) fn bundles(
    transaction: &Transaction<'_>,
) -> rusqlite::Result<BTreeMap<InstanceId, Bundles>> {
    let mut bundles: BTreeMap<InstanceId, Bundles> = BTreeMap::new();
    let mut in_place = transaction.prepare(
        "SELECT instance, name, version, active, damage, no_services FROM component_in_place \
         JOIN component ON component.id = component ORDER BY ordinal",
    )?;
    let mut rows = in_place.query([])?;
    while let Some(row) = rows.next()? {
        let component = FoundComponent {
            name: row.get::<_, Sql<_>>(1)?.0,
            version: row.get::<_, Sql<_>>(2)?.0,
            active: row.get(3)?,
            damage: row.get::<_, Option<Sql<_>>>(4)?.map(|damage| damage.0),
            no_services: row.get(5)?,
        };
        let of = row.get::<_, Sql<InstanceId>>(0)?.0;
        bundles.entry(of).or_default().in_place.push(component);
    }
    let mut delivered = transaction.prepare(
        "SELECT instance, name, version FROM component_delivered \
         JOIN component ON component.id = component ORDER BY ordinal",
    )?;
    let mut rows = delivered.query([])?;
    while let Some(row) = rows.next()? {
        let component = Component {
            name: row.get::<_, Sql<_>>(1)?.0,
            version: row.get::<_, Sql<_>>(2)?.0,
        };
        let of = row.get::<_, Sql<InstanceId>>(0)?.0;
        bundles.entry(of).or_default().delivered.push(component);
    }
    Ok(bundles)
}

/// Replaces the rows of the instance, if they change.
pub(super) fn put(
    transaction: &Transaction<'_>,
    instance: InstanceId,
    ids: &ComponentIds,
    old: Option<&Instance>,
    new: Option<&Instance>,
) -> rusqlite::Result<()> {
    let (old, new) = (old.map(rows_of), new.map(rows_of));
    if old == new {
        return Ok(());
    }
    transaction
        .prepare_cached("DELETE FROM component WHERE instance = ?")?
        .execute([Sql(instance)])?;
    for (id, name) in ids.of(instance) {
        transaction
            .prepare_cached("INSERT INTO component (id, instance, name) VALUES (?, ?, ?)")?
            .execute(params![id, Sql(instance), Sql(name.clone())])?;
    }
    let (in_place, delivered) = new.map_or((&[][..], &[][..]), |rows| (rows.1, rows.2));
    for (ordinal, one) in (0_i64..).zip(in_place) {
        transaction
            .prepare_cached(
                "INSERT INTO component_in_place (component, ordinal, version, active, damage, no_services) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                ids.id(instance, &one.name),
                ordinal,
                Sql(one.version.clone()),
                one.active,
                one.damage.clone().map(Sql),
                one.no_services,
            ])?;
    }
    for (ordinal, one) in (0_i64..).zip(delivered) {
        transaction
            .prepare_cached(
                "INSERT INTO component_delivered (component, ordinal, version) VALUES (?, ?, ?)",
            )?
            .execute(params![
                ids.id(instance, &one.name),
                ordinal,
                Sql(one.version.clone()),
            ])?;
    }
    Ok(())
}

/// The facts that are in the rows of an instance: the names of its packages, and their components.
fn rows_of(instance: &Instance) -> ([Option<&PackageName>; 2], &[FoundComponent], &[Component]) {
    let package = instance.package();
    let names = [
        instance.software().map(|(name, _)| name),
        package.map(|package| &package.name),
    ];
    let delivered = package.map_or(&[][..], |package| &package.components);
    (names, instance.components_in_place(), delivered)
}
