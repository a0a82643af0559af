//! The public texts. A stored text may have output of a maintainer script or the path of a Package URI, so its public
//! form is built from the other columns, not cut out of it.

use wharf_bus::OperationState;
use wharf_software::{ReasonCode, UpdateResult, UpdateState, public::ReasonFacts};

use crate::store::{DELETED, HistoryEntry, OperationRow};

/// The public Status Reason of a line of history; empty if a column has an unknown value.
pub(super) fn reason(line: &HistoryEntry) -> String {
    if line.reason == DELETED {
        return DELETED.to_owned();
    }
    let facts = || {
        Some(ReasonFacts {
            code: ReasonCode::of(&line.reason)?,
            state: UpdateState::from_value(line.update_state)?,
            result: UpdateResult::from_value(line.update_result)?,
            name: &line.name,
            version: &line.version,
        })
    };
    facts().map_or_else(String::new, |facts| facts.reason().to_string())
}

/// The public outcome of an operation; empty before its end.
pub(super) fn outcome(operation: &OperationRow) -> String {
    let end = match OperationState::parse(&operation.state) {
        _ if operation.outcome.is_empty() => return String::new(),
        // The changes beside its package are stored before its end.
        Some(OperationState::Queued | OperationState::Running) => return String::new(),
        Some(OperationState::Done) => "is done",
        _ => "failed",
    };
    let code = ReasonCode::of(&operation.outcome);
    let number = code.map_or_else(String::new, |code| format!("{}: ", code.value()));
    format!("{number}{} {end}", operation.kind.as_str())
}

#[cfg(test)]
mod tests {
    use wharf_frames::{Action, OperationId};
    use wharf_software::{InstanceId, OperationKind, Requester, ShortId};

    use super::*;

    fn line(update_state: u8, update_result: u8, reason: &str) -> HistoryEntry {
        HistoryEntry {
            at: 0,
            instance: InstanceId(0),
            operation: None,
            update_state,
            update_result,
            reason: reason.to_owned(),
            name: "hello".to_owned(),
            version: "1.0".to_owned(),
        }
    }

    #[test]
    fn a_line_of_history_is_told_anew() {
        for (line, expected) in [
            (
                line(0, 56, "20: http://h/secret answered 404"),
                "20: the Package URI is invalid or leads to nothing",
            ),
            (
                line(3, 58, "60: apt: it said: secret"),
                "60: hello 1.0 is not installed: the installation failed",
            ),
            (line(0, 56, DELETED), "deleted"),
            (line(9, 0, "10: secret"), ""),
            (line(0, 0, "secret"), ""),
            (line(0, 0, "10 secret"), ""),
        ] {
            assert_eq!(reason(&line), expected, "{}", line.reason);
        }
    }

    #[test]
    fn an_outcome_is_told_anew() {
        let of = |state: &str, told: &str| {
            outcome(&OperationRow {
                id: OperationId::from_bytes([0; 16]),
                sequence: 0,
                kind: OperationKind::Action(Action::Install),
                requester: Requester::Server(ShortId(1)),
                instance: InstanceId(0),
                state: state.to_owned(),
                accepted_at: 0,
                outcome: told.to_owned(),
                target: None,
            })
        };
        assert_eq!(of("running", ""), "");
        assert_eq!(of("running", "came with it: libfoo 2"), "");
        assert_eq!(of("done", "40: hello is installed"), "40: install is done");
        assert_eq!(of("failed", "60: it said: secret"), "60: install failed");
        assert_eq!(of("failed", "the instance was deleted"), "install failed");
    }
}
