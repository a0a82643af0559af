//! An operation on the bus.

use wharf_frames::OperationId;
use wharf_software::Origin;
use zbus::{OwnedObjectPath, interface};

use super::{access::Access, instance, public, views::Views};
use crate::store::OperationRow;

/// `/org/wharfd/Agent1/operations/ID`.
pub(super) struct Operation {
    pub(super) id: OperationId,
    pub(super) access: Access,
}

/// Where an operation lies.
pub(super) fn path(id: OperationId) -> OwnedObjectPath {
    super::object_path(&format!("operations/{id}"))
}

/// The id of the operation at this path.
pub(super) fn id(path: &OwnedObjectPath) -> Option<OperationId> {
    let (folder, id) = path.as_str().rsplit_once('/')?;
    let id = id.parse().ok()?;
    folder.ends_with("/operations").then_some(id)
}

/// `server` with its Short Server ID, or `user` with its uid.
pub(super) fn origin(origin: Origin) -> (String, u32) {
    match origin {
        Origin::Server(id) => ("server".to_owned(), u32::from(id.0)),
        Origin::User(uid) => ("user".to_owned(), uid),
    }
}

impl Operation {
    fn view<T: Default>(&self, part: impl FnOnce(&OperationRow) -> T) -> T {
        let views: &Views = &self.access.shown.borrow();
        let found = views.operations.iter().find(|view| view.id == self.id);
        found.map(part).unwrap_or_default()
    }
}

/// One thing that is done to an instance: what is accepted and has not ended, and what ended last.
#[interface(name = "org.wharfd.Agent1.Operation")]
impl Operation {
    /// Its name, in the journal too.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> String {
        self.id.to_string()
    }

    /// `pull`, `push`, `install`, `uninstall`, `purge`, `activate`, `deactivate`.
    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> String {
        self.view(|operation| operation.kind.as_str().to_owned())
    }

    /// Who wanted it: `server` with its Short Server ID, or `user` with its uid.
    #[zbus(property(emits_changed_signal = "const"))]
    fn origin(&self) -> (String, u32) {
        self.view(|operation| origin(operation.origin))
    }

    /// What it is done to.
    #[zbus(property(emits_changed_signal = "const"))]
    fn instance(&self) -> OwnedObjectPath {
        let path = self.view(|operation| Some(instance::path(operation.instance)));
        path.unwrap_or_default()
    }

    /// Rises from each accepted operation to the next.
    #[zbus(property(emits_changed_signal = "const"))]
    fn sequence(&self) -> u64 {
        self.view(|operation| operation.sequence)
    }

    /// When it was accepted, in seconds since 1970.
    #[zbus(property(emits_changed_signal = "const"))]
    fn accepted_at(&self) -> u64 {
        self.view(|operation| operation.accepted_at)
    }

    /// `queued`, `running`, `done`, `failed`.
    #[zbus(property)]
    fn state(&self) -> String {
        self.view(|operation| operation.state.clone())
    }

    /// Its outcome as public text; empty before its end. `Reasons` has the Status Reason of that moment. A `pull` or
    /// `push` ends with the verdict on its package: `done` in DELIVERED, `failed` otherwise.
    #[zbus(property)]
    fn outcome(&self) -> String {
        self.view(public::outcome)
    }
}
