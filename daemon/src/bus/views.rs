//! The published state as plain values. The agent changes it after each commit. A slow reader sees only the newest
//! state; `History` has each step.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;
use wharf_bus::{AgentProperties, SERVER, USER};
use wharf_frames::OperationId;
use wharf_software::{Instance, InstanceId, Requester};
use zbus::OwnedObjectPath;

use super::public;
use crate::{objects::component::ShownComponent, store::OperationRow};

/// The published state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Views {
    /// The agent.
    pub agent: AgentProperties,
    /// The instances of Object 9.
    pub instances: BTreeMap<InstanceId, InstanceView>,
    /// The operations that have not ended and the last ones that have, in the order of acceptance.
    pub operations: Vec<OperationView>,
    /// Rises with each change.
    pub generation: u64,
}

/// An instance of Object 9, without its write-only resources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstanceView {
    /// The public properties.
    pub shown: wharf_bus::InstanceProperties,
    /// Resource 16 in full, for root.
    pub whole_reason: String,
    /// The running operation, downloads included.
    pub operation: Option<OperationId>,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationView {
    /// Its id.
    pub id: OperationId,
    /// The public properties.
    pub shown: wharf_bus::OperationProperties,
    /// Its outcome in full, for root.
    pub whole_outcome: String,
}

/// `Percent` if the progress is not known.
const UNKNOWN: i16 = -1;

/// The object path of an operation.
pub(super) fn operation_path(id: OperationId) -> OwnedObjectPath {
    wharf_bus::operation_path(&id.to_string())
}

/// `server` with its Short Server ID, or `user` with its uid.
pub(super) fn requester(requester: Requester) -> (String, u32) {
    match requester {
        Requester::Server(id) => (SERVER.to_owned(), id.0.into()),
        Requester::User(uid) => (USER.to_owned(), uid),
    }
}

impl InstanceView {
    fn of(id: InstanceId, instance: &Instance, components: &[ShownComponent]) -> Self {
        let state = instance.update_state();
        let settings = instance.package_settings();
        let software = instance.software();
        let in_place = software.map(|(name, version)| (name.to_string(), version.to_string()));
        let operation = instance.operation().map(|operation| operation.id);
        let components = components.iter().map(|ShownComponent { id, component }| {
            let (name, version) = (component.name.to_string(), component.version.to_string());
            (*id, name, version, component.active)
        });
        Self {
            shown: wharf_bus::InstanceProperties {
                id: id.0,
                local: instance.is_local(),
                pkg_name: instance.pkg_name().to_owned(),
                pkg_version: instance.pkg_version().to_owned(),
                update_state: state.value(),
                update_state_name: state.name().to_owned(),
                update_supported_objects: instance.update_supported_objects(),
                update_result: instance.update_result().value(),
                package_settings: (settings.object, settings.instance),
                status_reason: instance.public_reason().to_string(),
                activation_state: instance.activation_state(),
                in_place: in_place.unwrap_or_default(),
                in_place_runs: instance.runs(),
                in_place_has_no_services: instance.no_services(),
                components: components.collect(),
                busy: instance.is_busy(),
                operation: operation.map(operation_path).unwrap_or_default(),
                percent: UNKNOWN,
            },
            whole_reason: instance.status_reason().to_string(),
            operation,
        }
    }
}

impl OperationView {
    fn of(row: OperationRow) -> Self {
        Self {
            id: row.id,
            shown: wharf_bus::OperationProperties {
                id: row.id.to_string(),
                kind: row.kind.as_str().to_owned(),
                origin: requester(row.requester),
                instance: wharf_bus::instance_path(row.instance.0),
                sequence: row.sequence,
                accepted_at: row.accepted_at,
                outcome: public::outcome(&row),
                state: row.state,
            },
            whole_outcome: row.outcome,
        }
    }
}

impl Views {
    pub(super) fn of(agent: AgentProperties) -> Self {
        Self {
            agent,
            ..Self::default()
        }
    }

    /// These views, plus the objects that only `other` has.
    pub(super) fn with_what_is_in(mut self, other: &Self) -> Self {
        for (id, instance) in &other.instances {
            let known = self.instances.entry(*id);
            known.or_insert_with(|| instance.clone());
        }
        let is_known = |id| self.operations.iter().any(|operation| operation.id == id);
        let others = other.operations.iter();
        let missing: Vec<_> = others.filter(|one| !is_known(one.id)).cloned().collect();
        self.operations.extend(missing);
        self
    }
}

/// The only writer of the published state.
#[derive(Debug, Clone)]
pub struct Publisher(Arc<watch::Sender<Views>>);

impl Publisher {
    pub(super) fn new(views: watch::Sender<Views>) -> Self {
        Self(Arc::new(views))
    }

    fn change(&self, change: impl FnOnce(&mut Views)) {
        self.0.send_modify(|views| {
            change(views);
            views.generation += 1;
        });
    }

    /// Publishes the registration.
    pub fn registration(&self, since: Option<u64>, failure: &str) {
        self.0.send_if_modified(|views| {
            let mut agent = views.agent.clone();
            agent.set_registered_since(since);
            failure.clone_into(&mut agent.registration_failure);
            let is_new = agent != views.agent;
            views.agent = agent;
            views.generation += u64::from(is_new);
            is_new
        });
    }

    /// Publishes a change of the agent.
    pub fn agent(&self, change: impl FnOnce(&mut AgentProperties)) {
        self.change(|views| change(&mut views.agent));
    }

    /// Publishes an instance, or removes a deleted one.
    pub fn instance(
        &self,
        id: InstanceId,
        instance: Option<&Instance>,
        components: &[ShownComponent],
    ) {
        self.change(|views| match instance {
            None => drop(views.instances.remove(&id)),
            Some(instance) => {
                let mut view = InstanceView::of(id, instance, components);
                let before = views.instances.get(&id);
                view.shown.percent = before
                    .filter(|before| before.operation == view.operation)
                    .map_or(UNKNOWN, |before| before.shown.percent);
                views.instances.insert(id, view);
            }
        });
    }

    /// Publishes the operations.
    pub fn operations(&self, operations: Vec<OperationRow>) {
        let operations = operations.into_iter().map(OperationView::of).collect();
        self.change(|views| views.operations = operations);
    }

    /// Publishes the progress of an operation.
    pub fn progress(&self, operation: OperationId, percent: Option<u8>) {
        let percent = percent.map_or(UNKNOWN, i16::from);
        self.0.send_if_modified(|views| {
            let mut all = views.instances.values_mut();
            let found = all.find(|view| view.operation == Some(operation));
            let Some(view) = found.filter(|view| view.shown.percent != percent) else {
                return false;
            };
            view.shown.percent = percent;
            views.generation += 1;
            true
        });
    }
}
