//! The journal lines of each instance, for a person: a few for each package. It makes no decision.

use std::collections::BTreeMap;

use wharf_frames::{Action, OperationId, PackageName};
use wharf_journal::message;
use wharf_software::{
    Instance, InstanceId, OperationKind, Refusal, UpdateResult, UpdateState, instance::Flow,
    operation::Phase,
};

use crate::file_name;

/// The state between two lines.
#[derive(Debug, Default)]
pub(super) struct JournalLines {
    /// The package that is being delivered, by the file name of its Package URI. Its file is not yet verified.
    expected: BTreeMap<InstanceId, PackageName>,
}

impl JournalLines {
    /// The subject of an instance: the delivered package, else the one that is being delivered, else the one in place.
    pub(super) fn package(&self, id: InstanceId, instance: &Instance) -> Option<PackageName> {
        let expected = self
            .expected
            .get(&id)
            .filter(|_| instance.package().is_none());
        expected.or(instance.subject()).cloned()
    }

    /// Writes the line for a change of an instance.
    pub(super) fn tell(&mut self, id: InstanceId, old: Option<&Instance>, new: Option<&Instance>) {
        let Some(new) = new else {
            self.expected.remove(&id);
            let deleted = message::DELETED;
            return tracing::info!(
                MESSAGE_ID = deleted,
                WHARF_INSTANCE = id.0,
                "instance {}: deleted",
                id.0
            );
        };
        self.expect(id, new);
        if is_news(old, new) {
            let before = old.and_then(|old| Some(old.software()?.0.clone()));
            let package = self.package(id, new).or(before);
            Line::new(id, package, old, new).say();
        }
        if new.update_state() == UpdateState::Initial {
            self.expected.remove(&id);
        }
    }

    fn expect(&mut self, id: InstanceId, instance: &Instance) {
        let Some(Flow::Pull { uri, .. }) = instance.delivery().map(|delivery| &delivery.flow)
        else {
            return;
        };
        match uri.file_name().and_then(file_name::package) {
            Some(name) => self.expected.insert(id, name),
            None => self.expected.remove(&id),
        };
    }
}

/// Whether a change deserves a line. Progress after a reported start does not.
fn is_news(old: Option<&Instance>, new: &Instance) -> bool {
    let Some(old) = old else { return true };
    let resources = |of: &Instance| (of.update_state(), of.update_result(), of.activation_state());
    let is_at_work = new.phase() == Some(Phase::Act);
    resources(old) != resources(new) || (!is_at_work && old.status_reason() != new.status_reason())
}

/// One line, with its fields.
struct Line {
    message: &'static str,
    instance: InstanceId,
    package: Option<PackageName>,
    operation: Option<OperationId>,
    state: UpdateState,
    result: UpdateResult,
    text: String,
}

impl Line {
    fn new(
        id: InstanceId,
        package: Option<PackageName>,
        old: Option<&Instance>,
        new: &Instance,
    ) -> Self {
        let (state, result) = (new.update_state(), new.update_result());
        let active = match (state, new.no_services(), new.activation_state()) {
            (UpdateState::Installed, true, _) => "no services, ",
            (UpdateState::Installed, false, true) => "active, ",
            (UpdateState::Installed, false, false) => "inactive, ",
            _ => "",
        };
        let operation = new.operation().or_else(|| old?.operation());
        Self {
            message: message_of(old, new),
            instance: id,
            package,
            operation: operation.map(|operation| operation.id),
            state,
            result,
            text: format!(
                "instance {}: {}/{}, {active}{}",
                id.0,
                state.name(),
                result.value(),
                new.status_reason()
            ),
        }
    }

    fn say(&self) {
        macro_rules! say {
            ($level:ident) => {
                tracing::$level!(
                    MESSAGE_ID = self.message,
                    WHARF_INSTANCE = self.instance.0,
                    WHARF_PACKAGE = self.package.as_ref().map(PackageName::as_str),
                    WHARF_OPERATION = self.operation.map(display),
                    WHARF_STATE = self.state.name(),
                    WHARF_RESULT = self.result.value(),
                    "{}",
                    self.text
                )
            };
        }
        match self.message {
            message::UNDER_WAY | message::INSTALLED => say!(info),
            _ => say!(warn),
        }
    }
}

fn message_of(old: Option<&Instance>, new: &Instance) -> &'static str {
    match old.filter(|old| is_about_what_is_in_place(old, new)) {
        None => of_result(old, new),
        Some(old) if old.damage() != new.damage() && new.damage().is_some() => message::DAMAGED,
        Some(_) if activation_failed(old, new) => message::ACTIVATION_FAILED,
        Some(_) => message::UNDER_WAY,
    }
}

/// Whether only the software in place changed. The Result of the instance is then not new.
fn is_about_what_is_in_place(old: &Instance, new: &Instance) -> bool {
    let resources = |of: &Instance| (of.update_state(), of.update_result());
    resources(old) == resources(new) && old.in_place() != new.in_place()
}

fn of_result(old: Option<&Instance>, new: &Instance) -> &'static str {
    use UpdateResult as Is;
    match new.update_result() {
        Is::NotEnoughStorage => message::NO_ROOM,
        Is::OutOfMemory => message::OUT_OF_MEMORY,
        Is::ConnectionLost => message::CONNECTION_LOST,
        Is::IntegrityFailure => message::INTEGRITY_FAILURE,
        Is::UnsupportedPackage => message::UNSUPPORTED_PACKAGE,
        Is::InvalidUri => message::INVALID_URI,
        Is::DeviceDefined => message::DEVICE_REFUSED,
        Is::InstallationFailure => message::INSTALLATION_FAILED,
        Is::UninstallationFailure => message::UNINSTALLATION_FAILED,
        Is::Initial | Is::Installed if is_told_as_damaged(new) => message::DAMAGED,
        Is::Installed if activation_failed(old, new) => message::ACTIVATION_FAILED,
        Is::Installed if failed_after(old, new, &[Action::Back]) => message::BACK_FAILED,
        Is::Installed => message::INSTALLED,
        Is::Initial | Is::Downloading => message::UNDER_WAY,
    }
}

/// Whether the line is about damage. While a package is being delivered, Status Reason is about that one.
fn is_told_as_damaged(instance: &Instance) -> bool {
    let state = instance.update_state();
    let is_settled = matches!(state, UpdateState::Initial | UpdateState::Installed);
    is_settled && !instance.is_busy() && instance.damage().is_some()
}

/// Whether an activation failed. The Result stays the same then.
fn activation_failed(old: Option<&Instance>, new: &Instance) -> bool {
    failed_after(old, new, &[Action::Activate, Action::Deactivate])
}

/// Whether one of these actions ended with a failure.
fn failed_after(old: Option<&Instance>, new: &Instance, actions: &[Action]) -> bool {
    let ended = old.and_then(Instance::operation);
    let is_one = |action: &Action| {
        let kind = OperationKind::Action(*action);
        ended.as_ref().is_some_and(|ended| ended.kind == kind)
    };
    actions.iter().any(is_one) && new.last_failure().is_some()
}

/// Writes why a request was refused: the server gets only the code.
pub(super) fn tell_refusal(id: Option<InstanceId>, refusal: &Refusal) {
    let of_instance = id
        .map(|id| format!("instance {}: ", id.0))
        .unwrap_or_default();
    tracing::info!(
        MESSAGE_ID = message::REQUEST_REFUSED,
        WHARF_INSTANCE = id.map(|id| id.0),
        "{of_instance}a request is refused with {}: {}",
        refusal.code.as_str(),
        refusal.why
    );
}
