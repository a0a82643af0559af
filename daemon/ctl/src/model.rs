//! The state of wharfd as values. wharfctl(1) documents their names in JSON, which must not change.

use std::fmt;

use serde::{Deserialize, Serialize};
use wharf_bus::{FullReason, OperationState, USER, instance_id, operation_name};
use wharf_software::UpdateState;
use zbus::ObjectPath;

use crate::{arguments::Named, error::CommandError};

/// The state at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) agent: ShownAgent,
    pub(crate) instances: Vec<ShownInstance>,
    pub(crate) operations: Vec<ShownOperation>,
}

/// The agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShownAgent {
    pub(crate) version: String,
    pub(crate) endpoint: String,
    pub(crate) server: String,
    pub(crate) registered: bool,
    /// Seconds since 1970.
    pub(crate) registered_since: Option<u64>,
    pub(crate) registration_failure: Option<String>,
    #[serde(rename = "backend")]
    pub(crate) package_manager: Option<String>,
}

/// An instance of Object 9.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShownInstance {
    pub(crate) id: u16,
    /// A local user created it.
    pub(crate) local: bool,
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) update_state: u8,
    pub(crate) update_state_name: String,
    pub(crate) update_result: u8,
    pub(crate) status_reason: String,
    pub(crate) active: bool,
    pub(crate) in_place: Option<ShownSoftware>,
    pub(crate) components: Vec<ComponentRow>,
    pub(crate) busy: bool,
    pub(crate) operation: Option<String>,
    pub(crate) percent: Option<u8>,
}

/// Software on the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShownSoftware {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) runs: bool,
    pub(crate) no_services: bool,
}

impl fmt::Display for ShownSoftware {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", self.name, self.version)
    }
}

/// An instance of Object 14.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ComponentRow {
    pub(crate) id: u16,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) active: bool,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShownOperation {
    pub(crate) id: String,
    /// Rises from each accepted operation to the next.
    pub(crate) sequence: u64,
    pub(crate) kind: String,
    /// `server` or `user`.
    pub(crate) origin: String,
    /// The Short Server ID or the uid.
    pub(crate) origin_id: u32,
    pub(crate) instance: u16,
    pub(crate) state: String,
    /// Seconds since 1970.
    pub(crate) accepted_at: u64,
    pub(crate) outcome: Option<String>,
}

/// An operation that wharfd keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PastOperation {
    #[serde(flatten)]
    pub(crate) operation: ShownOperation,
    /// The last package that history names for the operation.
    pub(crate) package: Option<String>,
}

/// A change that a server could see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShownHistory {
    /// Seconds since 1970.
    pub(crate) at: u64,
    pub(crate) instance: u16,
    pub(crate) operation: Option<String>,
    pub(crate) update_state: u8,
    pub(crate) update_state_name: &'static str,
    pub(crate) update_result: u8,
    pub(crate) status_reason: String,
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
}

/// A unit, or a file that starts something without one. The names are wharf-installer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShownUnit {
    pub(crate) unit: String,
    pub(crate) enabled: Option<String>,
    pub(crate) active: Option<String>,
    pub(crate) sub: Option<String>,
    pub(crate) wharfd: Vec<String>,
}

/// Update State, by its names.
pub(crate) const INITIAL: u8 = UpdateState::Initial.value();
pub(crate) const DELIVERED: u8 = UpdateState::Delivered.value();
pub(crate) const INSTALLED: u8 = UpdateState::Installed.value();

impl Snapshot {
    /// Replaces public texts by full ones. Returns false if one did not match: they are of different moments.
    pub(crate) fn complete(&mut self, reasons: &[FullReason]) -> bool {
        reasons
            .iter()
            .map(|reason| self.replace(reason))
            .fold(true, |all, fits| all & fits)
    }

    fn replace(&mut self, reason: &FullReason) -> bool {
        let FullReason {
            object,
            public,
            full,
        } = reason;
        let mut instances = self.instances.iter_mut();
        if let Some(id) = instance_id(object)
            && let Some(instance) = instances.find(|instance| instance.id == id)
        {
            let fits = instance.status_reason == *public;
            if fits {
                full.clone_into(&mut instance.status_reason);
            }
            return fits;
        }
        let mut operations = self.operations.iter_mut();
        let operation = operations.find(|operation| operation_name(object) == Some(&*operation.id));
        let Some(operation) = operation else {
            return false;
        };
        let fits = operation.outcome.as_deref().unwrap_or_default() == public;
        if fits {
            operation.outcome = given(full.clone());
        }
        fits
    }

    /// The only instance with this number or package.
    pub(crate) fn instance(&self, named: &Named) -> Result<&ShownInstance, CommandError> {
        match self.called(named)[..] {
            [one] => Ok(one),
            [one, other, ..] => Err(CommandError::Refused(format!(
                "instances {} and {} both have a package {named}: give the number of one",
                one.id, other.id
            ))),
            [] => Err(CommandError::Refused(match named {
                Named::Number(id) => {
                    format!("there is no instance {id}: `wharfctl list` shows all")
                }
                Named::Package(name) => {
                    format!("no instance has a package {name}: `wharfctl list` shows all")
                }
            })),
        }
    }

    /// The instance with this id.
    pub(crate) fn by_id(&self, id: u16) -> Option<&ShownInstance> {
        self.instances.iter().find(|instance| instance.id == id)
    }

    /// The operation of this name.
    pub(crate) fn operation(&self, id: &str) -> Option<&ShownOperation> {
        self.operations.iter().find(|operation| operation.id == id)
    }

    /// The last operation of this kind that was accepted for an instance after the one of this sequence.
    pub(crate) fn begun(&self, instance: u16, kind: &str, after: u64) -> Option<&ShownOperation> {
        self.operations.iter().rev().find(|operation| {
            operation.instance == instance && operation.kind == kind && operation.sequence > after
        })
    }

    /// The sequence of the operation that was accepted last.
    pub(crate) fn sequence(&self) -> u64 {
        self.operations.last().map_or(0, |last| last.sequence)
    }

    fn called(&self, named: &Named) -> Vec<&ShownInstance> {
        let all = self.instances.iter();
        match named {
            Named::Number(id) => all.filter(|instance| instance.id == *id).collect(),
            Named::Package(name) => all.filter(|instance| instance.is_called(name)).collect(),
        }
    }
}

impl From<wharf_bus::AgentProperties> for ShownAgent {
    fn from(agent: wharf_bus::AgentProperties) -> Self {
        Self {
            version: agent.version,
            endpoint: agent.endpoint_name,
            server: agent.server_uri,
            registered: agent.registered,
            registered_since: Some(agent.registered_since).filter(|since| *since != 0),
            registration_failure: given(agent.registration_failure),
            package_manager: given(agent.backend),
        }
    }
}

impl From<wharf_bus::InstanceProperties> for ShownInstance {
    fn from(instance: wharf_bus::InstanceProperties) -> Self {
        let (name, version) = instance.in_place;
        let in_place = given(name).map(|name| ShownSoftware {
            name,
            version,
            runs: instance.in_place_runs,
            no_services: instance.in_place_has_no_services,
        });
        Self {
            id: instance.id,
            local: instance.local,
            name: given(instance.pkg_name),
            version: given(instance.pkg_version),
            update_state: instance.update_state,
            update_state_name: instance.update_state_name,
            update_result: instance.update_result,
            status_reason: instance.status_reason,
            active: instance.activation_state,
            in_place,
            components: instance.components.into_iter().map(component).collect(),
            busy: instance.busy,
            operation: operation_of(&instance.operation),
            percent: u8::try_from(instance.percent).ok(),
        }
    }
}

fn component((id, name, version, active): (u16, String, String, bool)) -> ComponentRow {
    ComponentRow {
        id,
        name,
        version,
        active,
    }
}

impl ShownInstance {
    /// An instance without anything, in a test.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        Self {
            id: 0,
            local: false,
            name: None,
            version: None,
            update_state: INITIAL,
            update_state_name: String::new(),
            update_result: 0,
            status_reason: String::new(),
            active: false,
            in_place: None,
            components: Vec::new(),
            busy: false,
            operation: None,
            percent: None,
        }
    }

    /// Whether no operation runs, and no package waits for its verdict.
    pub(crate) fn is_settled(&self) -> bool {
        self.operation.is_none() && matches!(self.update_state, INITIAL | DELIVERED | INSTALLED)
    }

    /// Whether the last operation failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.update_result >= 50
    }

    /// Name and version of the package; the number of the instance if it has none.
    pub(crate) fn title(&self) -> String {
        match (&self.name, &self.version) {
            (Some(name), Some(version)) => format!("{name} {version}"),
            _ => format!("instance {}", self.id),
        }
    }

    fn is_called(&self, name: &str) -> bool {
        let in_place = self.in_place.as_ref();
        self.name.as_deref() == Some(name) || in_place.is_some_and(|software| software.name == name)
    }
}

impl TryFrom<wharf_bus::OperationProperties> for ShownOperation {
    type Error = CommandError;

    fn try_from(operation: wharf_bus::OperationProperties) -> Result<Self, CommandError> {
        let (origin, origin_id) = operation.origin;
        Ok(Self {
            id: operation.id,
            sequence: operation.sequence,
            kind: operation.kind,
            origin,
            origin_id,
            instance: instance_of(&operation.instance)?,
            state: operation.state,
            accepted_at: operation.accepted_at,
            outcome: given(operation.outcome),
        })
    }
}

impl ShownOperation {
    /// Whether the operation ended as requested; none before its end.
    pub(crate) fn end(&self) -> Option<bool> {
        match OperationState::parse(&self.state)? {
            OperationState::Done => Some(true),
            OperationState::Failed => Some(false),
            OperationState::Queued | OperationState::Running => None,
        }
    }

    /// Whether this local user requested the operation.
    pub(crate) fn is_of_user(&self, uid: u32) -> bool {
        self.origin == USER && self.origin_id == uid
    }
}

impl PastOperation {
    /// Whether the operation belongs to this instance, by the name that the user gave. A package name includes
    /// operations of its instance without a known package, such as a failed download.
    pub(crate) fn is_of(&self, instance: &ShownInstance, named: &Named) -> bool {
        let of_instance = self.operation.instance == instance.id;
        match (named, &self.package) {
            (Named::Package(name), Some(package)) => name == package,
            _ => of_instance,
        }
    }
}

impl From<wharf_bus::KeptOperation> for PastOperation {
    fn from(kept: wharf_bus::KeptOperation) -> Self {
        let (origin, origin_id) = kept.origin;
        Self {
            operation: ShownOperation {
                id: kept.id,
                sequence: kept.sequence,
                kind: kept.kind,
                origin,
                origin_id,
                instance: kept.instance,
                state: kept.state,
                accepted_at: kept.accepted_at,
                outcome: given(kept.outcome),
            },
            package: given(kept.package),
        }
    }
}

impl From<wharf_bus::HistoryLine> for ShownHistory {
    fn from(line: wharf_bus::HistoryLine) -> Self {
        let state = UpdateState::from_value(line.update_state);
        Self {
            at: line.at,
            instance: line.instance,
            operation: given(line.operation),
            update_state: line.update_state,
            update_state_name: state.map_or("", UpdateState::name),
            update_result: line.update_result,
            status_reason: line.status_reason,
            name: given(line.pkg_name),
            version: given(line.pkg_version),
        }
    }
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// The id of the operation at this path; none at `/`.
fn operation_of(path: &ObjectPath<'_>) -> Option<String> {
    operation_name(path).map(str::to_owned)
}

/// The id of the instance at this path.
pub(crate) fn instance_of(path: &ObjectPath<'_>) -> Result<u16, CommandError> {
    instance_id(path).ok_or_else(|| CommandError::NotUnderstood(path.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn words(path: &str, public: &str, full: &str) -> FullReason {
        let path = format!("/org/wharfd/Agent1/{path}");
        FullReason {
            object: path.try_into().unwrap(),
            public: public.to_owned(),
            full: full.to_owned(),
        }
    }

    fn everything() -> Snapshot {
        Snapshot {
            agent: ShownAgent {
                version: String::new(),
                endpoint: String::new(),
                server: String::new(),
                registered: true,
                registered_since: None,
                registration_failure: None,
                package_manager: None,
            },
            instances: vec![ShownInstance {
                in_place: Some(ShownSoftware {
                    name: String::new(),
                    version: String::new(),
                    runs: false,
                    no_services: false,
                }),
                components: vec![component(Default::default())],
                ..ShownInstance::empty()
            }],
            operations: vec![ShownOperation {
                id: String::new(),
                sequence: 0,
                kind: String::new(),
                origin: String::new(),
                origin_id: 0,
                instance: 0,
                state: String::new(),
                accepted_at: 0,
                outcome: None,
            }],
        }
    }

    #[test]
    fn words_that_were_read_at_another_moment_are_not_put_together() {
        let mut snapshot = everything();
        let instance = words("instances/0", "60: failed", "60: failed: it said: no");
        let operation = words("operations/0a", "install failed", "it said: no");
        snapshot.instances[0].status_reason = "50: installing".to_owned();
        snapshot.operations[0].id = "0a".to_owned();
        snapshot.operations[0].outcome = Some("install failed".to_owned());
        assert!(!snapshot.complete(&[instance.clone(), operation]));
        assert_eq!(snapshot.instances[0].status_reason, "50: installing");
        let outcome = snapshot.operations[0].outcome.as_deref();
        assert_eq!(outcome, Some("it said: no"));

        snapshot.instances[0].status_reason = "60: failed".to_owned();
        assert!(snapshot.complete(&[instance]));
        assert_eq!(
            snapshot.instances[0].status_reason,
            "60: failed: it said: no"
        );
        assert!(!snapshot.complete(&[words("instances/7", "", "")]));
    }

    #[test]
    fn a_package_has_the_operations_that_history_names_it_for_and_those_of_its_instance_without_a_name()
     {
        let mut instance = everything().instances.remove(0);
        instance.id = 3;
        let hello = Named::Package("hello".to_owned());
        for (package, on, of_package, of_number) in [
            ("hello", 3, true, true),
            ("hello", 7, true, false),
            ("other", 3, false, true),
            ("", 3, true, true),
            ("", 7, false, false),
        ] {
            let kept = PastOperation::from(wharf_bus::KeptOperation {
                instance: on,
                package: package.to_owned(),
                ..Default::default()
            });
            let found = (
                kept.is_of(&instance, &hello),
                kept.is_of(&instance, &Named::Number(3)),
            );
            assert_eq!(found, (of_package, of_number), "{kept:?}");
        }
    }

    fn names(value: &Value) -> Vec<String> {
        match value {
            Value::Object(fields) => fields
                .iter()
                .flat_map(|(name, value)| [vec![name.clone()], names(value)].concat())
                .collect(),
            Value::Array(values) => values.iter().flat_map(names).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn the_manual_page_has_every_name_in_json() {
        let history = ShownHistory::from(wharf_bus::HistoryLine::default());
        let page = include_str!("../../../docs/man/wharfctl.1");
        let kept = PastOperation {
            operation: everything().operations.remove(0),
            package: None,
        };
        for value in [
            serde_json::to_value(everything()),
            serde_json::to_value(kept),
            serde_json::to_value(history),
        ] {
            for name in names(&value.unwrap()) {
                assert!(page.contains(&format!("\\fB{name}\\fR")), "no {name}");
            }
        }
    }
}
