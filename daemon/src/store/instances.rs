//! An instance as a row, and back.

use rusqlite::{Row, Transaction, named_params};
use wharf_frames::{
    Secret,
    installer::{Component, FoundComponent, SealedPackage},
};
use wharf_software::{
    Instance, InstanceId, InstanceRecord, ObjectLink, Operation, PackageUri, Requester,
    instance::Software, record::StoredProgress,
};

use super::{
    components::{self, Bundles},
    rows::Sql,
};

const COLUMNS: &str = "instance.id, update_state, update_result, note, \
    in_place_name, in_place_version, in_place_active, in_place_damage, in_place_skipped, \
    in_place_no_services, in_place_runs, in_place_note, component, \
    stage, package_name, package_version, package_architecture, package_length, package_signer, \
    package_uri, progress, update_supported_objects, settings_object, settings_instance, \
    user_name, password, local, operation.id AS operation_id, kind, origin, origin_id";

/// Every row as an instance, or the reason why it cannot be read.
pub(super) fn all(
    transaction: &Transaction<'_>,
) -> rusqlite::Result<Vec<(InstanceId, Result<Instance, String>)>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM instance LEFT JOIN operation ON operation.id = instance.operation \
         ORDER BY instance.id"
    );
    let mut bundles = components::bundles(transaction)?;
    transaction
        .prepare(&sql)?
        .query_map([], |row| {
            let id: Sql<InstanceId> = row.get("id")?;
            let components = bundles.remove(&id.0).unwrap_or_default();
            let instance = record(row, components).map_err(|error| error.to_string());
            let instance = instance
                .and_then(|record| Instance::try_from(record).map_err(|error| error.to_string()));
            Ok((id.0, instance))
        })?
        .collect()
}

fn record(row: &Row<'_>, components: Bundles) -> rusqlite::Result<InstanceRecord> {
    Ok(InstanceRecord {
        update_state: row.get::<_, Sql<_>>("update_state")?.0,
        update_result: row.get::<_, Sql<_>>("update_result")?.0,
        note: optional(row, "note")?,
        in_place: in_place(row, components.in_place)?,
        in_place_runs: row.get("in_place_runs")?,
        in_place_note: optional(row, "in_place_note")?,
        stage: optional(row, "stage")?,
        package: package(row, components.delivered)?,
        package_uri: package_uri(row)?,
        operation: operation(row)?,
        progress: progress(row)?,
        component: optional(row, "component")?,
        update_supported_objects: row.get("update_supported_objects")?,
        package_settings: ObjectLink {
            object: row.get("settings_object")?,
            instance: row.get("settings_instance")?,
        },
        user_name: optional(row, "user_name")?,
        password: optional(row, "password")?,
        local: row.get("local")?,
    })
}

fn optional<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>>
where
    Sql<T>: rusqlite::types::FromSql,
{
    Ok(row.get::<_, Option<Sql<T>>>(column)?.map(|value| value.0))
}

fn in_place(row: &Row<'_>, components: Vec<FoundComponent>) -> rusqlite::Result<Option<Software>> {
    let Some(name) = optional(row, "in_place_name")? else {
        return Ok(None);
    };
    Ok(Some(Software {
        name,
        version: row.get::<_, Sql<_>>("in_place_version")?.0,
        active: row.get("in_place_active")?,
        damage: optional(row, "in_place_damage")?,
        no_services: row.get("in_place_no_services")?,
        skipped: optional(row, "in_place_skipped")?,
        components,
    }))
}

fn package(row: &Row<'_>, components: Vec<Component>) -> rusqlite::Result<Option<SealedPackage>> {
    let Some(name) = optional(row, "package_name")? else {
        return Ok(None);
    };
    Ok(Some(SealedPackage {
        name,
        version: row.get::<_, Sql<_>>("package_version")?.0,
        architecture: row.get::<_, Sql<_>>("package_architecture")?.0,
        length: row.get::<_, Sql<_>>("package_length")?.0,
        signer: optional(row, "package_signer")?,
        components,
    }))
}

fn package_uri(row: &Row<'_>) -> rusqlite::Result<Option<PackageUri>> {
    let Some(stored) = optional::<Secret>(row, "package_uri")? else {
        return Ok(None);
    };
    let uri = PackageUri::parse_syntax(stored.expose());
    uri.map(Some)
        .map_err(|error| not_known("package_uri", &error.to_string()))
}

fn operation(row: &Row<'_>) -> rusqlite::Result<Option<Operation>> {
    let Some(id) = optional(row, "operation_id")? else {
        return Ok(None);
    };
    let origin: String = row.get("origin")?;
    let requester = match origin.as_str() {
        "server" => Requester::Server(row.get::<_, Sql<_>>("origin_id")?.0),
        _ => Requester::User(row.get("origin_id")?),
    };
    Ok(Some(Operation {
        id,
        kind: row.get::<_, Sql<_>>("kind")?.0,
        requester,
    }))
}

fn progress(row: &Row<'_>) -> rusqlite::Result<Option<StoredProgress>> {
    let Some(word) = row.get::<_, Option<String>>("progress")? else {
        return Ok(None);
    };
    let all = [
        StoredProgress::Queued,
        StoredProgress::Running,
        StoredProgress::Receiving,
    ];
    let known = all
        .into_iter()
        .find(|progress| progress_word(*progress) == word);
    known.map(Some).ok_or_else(|| not_known("progress", &word))
}

const fn progress_word(progress: StoredProgress) -> &'static str {
    match progress {
        StoredProgress::Queued => "queued",
        StoredProgress::Running => "running",
        StoredProgress::Receiving => "receiving",
    }
}

fn not_known(column: &str, what: &str) -> rusqlite::Error {
    let kind = rusqlite::types::Type::Text;
    rusqlite::Error::FromSqlConversionFailure(0, kind, format!("{column}: {what}").into())
}

/// Stores an instance. Its operation is stored already.
pub(super) fn put(
    transaction: &Transaction<'_>,
    id: InstanceId,
    instance: &Instance,
) -> rusqlite::Result<()> {
    let record = InstanceRecord::from(instance);
    let in_place = record.in_place.as_ref();
    let package = record.package.as_ref();
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO instance (id, update_state, update_result, note, \
             in_place_name, in_place_version, in_place_active, in_place_damage, in_place_skipped, \
             in_place_no_services, in_place_runs, in_place_note, \
             stage, package_name, package_version, package_architecture, package_length, package_signer, \
             package_uri, operation, progress, component, update_supported_objects, settings_object, \
             settings_instance, user_name, password, local) \
             VALUES (:id, :update_state, :update_result, :note, \
             :in_place_name, :in_place_version, :in_place_active, :in_place_damage, :in_place_skipped, \
             :in_place_no_services, :in_place_runs, :in_place_note, \
             :stage, :package_name, :package_version, :package_architecture, :package_length, :package_signer, \
             :package_uri, :operation, :progress, :component, :update_supported_objects, :settings_object, \
             :settings_instance, :user_name, :password, :local)",
        )?
        .execute(named_params! {
            ":id": Sql(id),
            ":update_state": Sql(record.update_state),
            ":update_result": Sql(record.update_result),
            ":note": record.note.map(Sql),
            ":in_place_name": in_place.map(|it| Sql(it.name.clone())),
            ":in_place_version": in_place.map(|it| Sql(it.version.clone())),
            ":in_place_active": in_place.map(|it| it.active),
            ":in_place_damage": in_place.and_then(|it| it.damage.clone()).map(Sql),
            ":in_place_no_services": in_place.is_some_and(|it| it.no_services),
            ":in_place_runs": record.in_place_runs,
            ":in_place_note": record.in_place_note.map(Sql),
            ":in_place_skipped": in_place.and_then(|it| it.skipped.clone()).map(Sql),
            ":stage": record.stage.map(Sql),
            ":package_name": package.map(|it| Sql(it.name.clone())),
            ":package_version": package.map(|it| Sql(it.version.clone())),
            ":package_architecture": package.map(|it| Sql(it.architecture.clone())),
            ":package_length": package.map(|it| Sql(it.length)),
            ":package_signer": package.and_then(|it| it.signer.clone()).map(Sql),
            ":package_uri": record.package_uri.as_ref().map(|uri| uri.as_secret().expose()),
            ":operation": record.operation.as_ref().map(|it| Sql(it.id)),
            ":progress": record.progress.map(progress_word),
            ":component": record.component.map(Sql),
            ":update_supported_objects": record.update_supported_objects,
            ":settings_object": record.package_settings.object,
            ":settings_instance": record.package_settings.instance,
            ":user_name": record.user_name.map(Sql),
            ":password": record.password.map(Sql),
            ":local": record.local,
        })?;
    Ok(())
}
