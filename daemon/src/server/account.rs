//! The Writes and Executes of a server in its own account (Object 1).

use lwm2m::{Answer, ErrorCode, Input, Path, RequestId, Resources};
use wharf_journal::message;

use super::Server;

impl Server {
    /// Stores and applies a Write of the account, and answers it.
    pub fn write_account(
        &mut self,
        request: RequestId,
        values: &Resources,
    ) -> Result<(), ErrorCode> {
        let written = self.account.write(values)?;
        let configured = self.configured.lifetime;
        let stored = self.rows.save_lifetime(configured, written.lifetime());
        stored.map_err(|error| {
            tracing::error!(
                MESSAGE_ID = message::NOT_STORED,
                "cannot store the lifetime that the server wrote: {error}"
            );
            ErrorCode::InternalServerError
        })?;
        self.account = written;
        self.answer(request, Answer::Changed);
        self.tell(Input::Changed(vec![Path::Resource(1, 0, 1)]));
        self.tell(Input::Update {
            lifetime: Some(self.account.lifetime()),
        });
        Ok(())
    }

    /// Registration Update Trigger.
    pub fn trigger_update(&mut self, request: RequestId) {
        self.answer(request, Answer::Changed);
        self.tell(Input::Update { lifetime: None });
    }
}
