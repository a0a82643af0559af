//! The rows of one account in the database: what of its server outlives wharfd.

use std::{cell::RefCell, rc::Rc};

use lwm2m::{Answered, Saved};
use wharf_journal::message;
use wharf_software::ShortId;

use crate::{
    clock, config,
    store::{Store, StoreError},
};

/// The rows of an account.
pub(super) struct AccountRows {
    store: Rc<RefCell<Store>>,
    account: ShortId,
    /// The server's URI. A registration with another URI is ignored.
    uri: String,
    /// The registration could not be stored when it had to be.
    is_behind: bool,
    /// The registration as it was before a goodbye that nobody has answered yet.
    held: Option<Saved>,
}

/// The rows that an earlier run left.
pub(super) struct Left {
    pub(super) lifetime: u32,
    pub(super) registration: Option<Saved>,
    pub(super) port: Option<u16>,
    pub(super) answered: Vec<Answered>,
}

impl AccountRows {
    pub(super) fn new(store: Rc<RefCell<Store>>, configured: &config::Server) -> Self {
        Self {
            store,
            account: configured.id,
            uri: configured.address.to_string(),
            is_behind: false,
            held: None,
        }
    }

    pub(super) fn read(&self, configured_lifetime: u32) -> Result<Left, StoreError> {
        let mut store = self.store.borrow_mut();
        let registration = store.registration(self.account, &self.uri)?;
        if registration.is_none() {
            store.forget_answered(self.account)?; // these answers went to another server
        }
        Ok(Left {
            lifetime: store.lifetime(self.account, configured_lifetime)?,
            registration,
            port: store.local_port(self.account)?,
            answered: store.answered(self.account, clock::now())?,
        })
    }

    /// Stores the registration. During a goodbye only the Message IDs are new: until it is answered, the server may go on
    /// observing.
    pub(super) fn save(&mut self, registration: Saved) -> Result<(), StoreError> {
        let saved = match &self.held {
            Some(held) => Saved {
                message_ceiling: registration.message_ceiling,
                ..held.clone()
            },
            None => registration,
        };
        let mut store = self.store.borrow_mut();
        let kept = store.save_registration(self.account, &self.uri, &saved);
        self.is_behind = kept.is_err();
        kept
    }

    /// As [`save`](Self::save). If that fails, the server is told all the same, and the next message tries again.
    pub(super) fn keep(&mut self, registration: Saved) {
        let was_behind = self.is_behind;
        if let (Err(error), false) = (self.save(registration), was_behind) {
            tracing::error!(
                MESSAGE_ID = message::NOT_STORED,
                "after a restart the server may have to observe again, or take a message for one that it had: {error}"
            );
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// A goodbye begins. This was registered.
    pub(super) fn hold(&mut self, registered: Saved) {
        self.held = Some(registered);
    }

    /// The goodbye is over.
    pub(super) fn let_go(&mut self) {
        self.held = None;
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn keep_port(&mut self, port: u16) {
        let stored = self.store.borrow_mut().set_local_port(self.account, port);
        if let Err(error) = stored {
            tracing::error!(
                MESSAGE_ID = message::NOT_STORED,
                "after a restart the server will see another port: {error}"
            );
        }
    }

    pub(super) fn save_lifetime(
        &mut self,
        configured: u32,
        lifetime: u32,
    ) -> Result<(), StoreError> {
        let mut store = self.store.borrow_mut();
        store.set_lifetime(self.account, configured, lifetime)
    }

    /// If the delete fails, they expire in four minutes.
    pub(super) fn forget_answered(&mut self) {
        if let Err(error) = self.store.borrow_mut().forget_answered(self.account) {
            tracing::error!(
                MESSAGE_ID = message::NOT_STORED,
                "messages that were answered are not forgotten: {error}"
            );
        }
    }
}
