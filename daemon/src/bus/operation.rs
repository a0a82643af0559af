//! Serves an operation.

use wharf_bus::OperationService;
use wharf_frames::OperationId;

use super::access::Access;

/// `/org/wharfd/Agent1/operations/ID`.
pub(super) struct ServedOperation {
    pub(super) id: OperationId,
    pub(super) access: Access,
}

impl OperationService for ServedOperation {
    fn read<T: Default>(&self, part: impl FnOnce(&wharf_bus::OperationProperties) -> T) -> T {
        let views = self.access.shown.borrow();
        let found = views.operations.iter().find(|view| view.id == self.id);
        found.map(|view| part(&view.shown)).unwrap_or_default()
    }
}
