//! The rows of one account in the database. They outlive wharfd.

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
    /// The last attempt to store the registration failed.
    is_behind: bool,
    /// The registration before a Deregister that has no answer yet.
    frozen: Option<Saved>,
}

/// The rows that an earlier run left.
pub(super) struct Left {
    pub(super) lifetime: u32,
    pub(super) registration: Option<Saved>,
    pub(super) port: Option<u16>,
    pub(super) answered: Vec<Answered>,
}

impl AccountRows {
    pub(super) fn new(store: Rc<RefCell<Store>>, configured: &config::ServerSettings) -> Self {
        Self {
            store,
            account: configured.id,
            uri: configured.address.to_string(),
            is_behind: false,
            frozen: None,
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

    /// Stores the registration. During a Deregister it stores only new Message IDs: until the answer, the server may
    /// continue to observe.
    pub(super) fn save(&mut self, registration: Saved) -> Result<(), StoreError> {
        let saved = match &self.frozen {
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

    /// Like [`save`](Self::save). If it fails, the datagram is sent nevertheless, and the next one retries.
    pub(super) fn save_or_log(&mut self, registration: Saved) {
        let was_behind = self.is_behind;
        if let (Err(error), false) = (self.save(registration), was_behind) {
            tracing::error!(
                MESSAGE_ID = message::NOT_STORED,
                "cannot store the registration: {error}. After a restart the server may have to observe again, or take a \
                 new message for a repeated one"
            );
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// A Deregister begins. This registration stays stored until its answer.
    pub(super) fn freeze(&mut self, registered: Saved) {
        self.frozen = Some(registered);
    }

    /// The Deregister was answered.
    pub(super) fn let_go(&mut self) {
        self.frozen = None;
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    pub(super) fn keep_port(&mut self, port: u16) {
        let stored = self.store.borrow_mut().set_local_port(self.account, port);
        if let Err(error) = stored {
            tracing::error!(
                MESSAGE_ID = message::NOT_STORED,
                "cannot store the local port: {error}. After a restart the server sees another port"
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

    /// Deletes the answered messages. If that fails, they expire in four minutes.
    pub(super) fn forget_answered(&mut self) {
        if let Err(error) = self.store.borrow_mut().forget_answered(self.account) {
            tracing::error!(
                MESSAGE_ID = message::NOT_STORED,
                "cannot delete the answered messages of the last registration: {error}"
            );
        }
    }
}
