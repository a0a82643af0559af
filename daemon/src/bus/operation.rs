//! Serves an operation.

use wharf_bus::{OperationService, SERVER, USER};
use wharf_frames::OperationId;
use wharf_software::Origin;
use zbus::OwnedObjectPath;

use super::access::Access;

/// `/org/wharfd/Agent1/operations/ID`.
pub(super) struct Operation {
    pub(super) id: OperationId,
    pub(super) access: Access,
}

/// The path of an operation.
pub(super) fn path(id: OperationId) -> OwnedObjectPath {
    wharf_bus::operation_path(&id.to_string())
}

/// `server` with its Short Server ID, or `user` with its uid.
pub(super) fn origin(origin: Origin) -> (String, u32) {
    match origin {
        Origin::Server(id) => (SERVER.to_owned(), id.0.into()),
        Origin::User(uid) => (USER.to_owned(), uid),
    }
}

impl OperationService for Operation {
    fn read<T: Default>(&self, part: impl FnOnce(&wharf_bus::Operation) -> T) -> T {
        let views = self.access.shown.borrow();
        let found = views.operations.iter().find(|view| view.id == self.id);
        found.map(|view| part(&view.shown)).unwrap_or_default()
    }
}
