//! What the bus shows, as plain values. The agent changes them after each commit; readers see the newest, and a
//! reader that is slow misses what lay between (`History` has each step).

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;
use wharf_frames::OperationId;
use wharf_software::{Instance, InstanceId, ObjectLink};

use crate::store::OperationRow;

/// All that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Views {
    /// The agent.
    pub agent: AgentView,
    /// The instances of Object 9.
    pub instances: BTreeMap<InstanceId, InstanceView>,
    /// What is accepted and has not ended, and what ended last, in the order of acceptance.
    pub operations: Vec<OperationRow>,
    /// Rises with each change.
    pub generation: u64,
}

/// The agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentView {
    /// The name it registers under.
    pub endpoint: String,
    /// The LwM2M server.
    pub server_uri: String,
    /// Seconds since 1970; none while it is not registered.
    pub registered_since: Option<u64>,
    /// Why the last Register or Update failed; empty once one succeeded.
    pub registration_failure: String,
    /// The package manager; empty until the installer has told.
    pub backend: String,
}

/// An instance of Object 9, without what only a server may write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstanceView {
    /// Resource 0.
    pub pkg_name: String,
    /// Resource 1.
    pub pkg_version: String,
    /// Resource 7, with its name.
    pub update_state: (u8, &'static str),
    /// Resource 8.
    pub update_supported_objects: bool,
    /// Resource 9.
    pub update_result: u8,
    /// Resource 13.
    pub package_settings: ObjectLink,
    /// The public text in place of resource 16.
    pub status_reason: String,
    /// Resource 16, which root reads.
    pub whole_reason: String,
    /// Resource 12.
    pub activation_state: bool,
    /// Name and version of the software in place.
    pub software: Option<(String, String)>,
    /// Whether the software in place runs.
    pub runs: bool,
    /// The software has nothing for the service manager to start.
    pub no_services: bool,
    /// A local user created it.
    pub local: bool,
    /// An Install, Uninstall, purge, Activate or Deactivate is accepted and has not ended.
    pub busy: bool,
    /// What is being done, downloads included.
    pub operation: Option<OperationId>,
    /// How far that is.
    pub percent: Option<u8>,
}

impl InstanceView {
    fn of(instance: &Instance) -> Self {
        let state = instance.update_state();
        let software = instance.software();
        Self {
            pkg_name: instance.pkg_name().to_owned(),
            pkg_version: instance.pkg_version().to_owned(),
            update_state: (state.value(), state.name()),
            update_supported_objects: instance.update_supported_objects(),
            update_result: instance.update_result().value(),
            package_settings: instance.package_settings(),
            status_reason: instance.public_reason().to_string(),
            whole_reason: instance.status_reason().to_string(),
            activation_state: instance.activation_state(),
            software: software.map(|(name, version)| (name.to_string(), version.to_string())),
            runs: instance.runs(),
            no_services: instance.no_services(),
            local: instance.is_local(),
            busy: instance.is_busy(),
            operation: instance.operation().map(|operation| operation.id),
            percent: None,
        }
    }
}

impl Views {
    pub(super) fn of(agent: AgentView) -> Self {
        Self {
            agent,
            ..Self::default()
        }
    }

    /// These views, with the objects that only the other ones have.
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

/// The one way to change what is shown.
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

    /// How the registration stands.
    pub fn registration(&self, since: Option<u64>, failure: &str) {
        self.0.send_if_modified(|views| {
            let agent = &mut views.agent;
            if agent.registered_since == since && agent.registration_failure == failure {
                return false;
            }
            agent.registered_since = since;
            agent.registration_failure = failure.to_owned();
            views.generation += 1;
            true
        });
    }

    /// The agent is another.
    pub fn agent(&self, change: impl FnOnce(&mut AgentView)) {
        self.change(|views| change(&mut views.agent));
    }

    /// An instance is new, another, or gone.
    pub fn instance(&self, id: InstanceId, instance: Option<&Instance>) {
        self.change(|views| match instance {
            None => drop(views.instances.remove(&id)),
            Some(instance) => {
                let mut view = InstanceView::of(instance);
                let before = views.instances.get(&id);
                view.percent = before
                    .filter(|before| before.operation == view.operation)
                    .and_then(|before| before.percent);
                views.instances.insert(id, view);
            }
        });
    }

    /// Operations began, went on, or ended.
    pub fn operations(&self, operations: Vec<OperationRow>) {
        self.change(|views| views.operations = operations);
    }

    /// An operation is so far.
    pub fn progress(&self, operation: OperationId, percent: Option<u8>) {
        self.0.send_if_modified(|views| {
            let mut all = views.instances.values_mut();
            let found = all.find(|view| view.operation == Some(operation));
            let Some(view) = found.filter(|view| view.percent != percent) else {
                return false;
            };
            view.percent = percent;
            views.generation += 1;
            true
        });
    }
}
