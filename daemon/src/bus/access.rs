//! The access of the bus objects to the agent, and the check of the caller.

use tokio::sync::{mpsc, oneshot, watch};
use wharf_bus::{Caller, ONLY_ROOT};
use zbus::fdo;

use super::{
    command::{AgentCommand, AnswerSender, Refused},
    views::Views,
};

/// The access of an object to the agent.
#[derive(Clone)]
pub(super) struct Access {
    /// The state of the agent.
    pub(super) views: watch::Receiver<Views>,
    /// The state of the objects: each object that exists is in it.
    pub(super) shown: watch::Receiver<Views>,
    pub(super) commands: mpsc::Sender<AgentCommand>,
    /// The last generation of the views whose signals were sent.
    pub(super) announced: watch::Receiver<u64>,
}

/// The uid of root.
pub(super) const ROOT: u32 = 0;

impl Access {
    /// Asks the agent. Returns the answer after the signals of its changes were sent.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(AnswerSender<T>) -> AgentCommand,
    ) -> fdo::Result<T> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(command(answer)).await;
        sent.map_err(|_| ending())?;
        let answered = answered.await.map_err(|_| ending())?;
        let generation = self.views.borrow().generation;
        let mut announced = self.announced.clone();
        let _ = announced.wait_for(|told| *told >= generation).await; // fails only when the service ends
        answered.map_err(error)
    }
}

/// The uid of the caller; an error unless it is root, who alone changes software and reads full reasons.
pub(super) async fn root(caller: Caller<'_>) -> fdo::Result<u32> {
    match caller.user().await? {
        ROOT => Ok(ROOT),
        uid => Err(fdo::Error::AccessDenied(format!(
            "{ONLY_ROOT}, and the caller is the user with uid {uid}: try sudo"
        ))),
    }
}

/// The error while wharfd ends. The bus returns the same one after that.
fn ending() -> fdo::Error {
    fdo::Error::NoReply("wharfd is ending: ask again when it runs".to_owned())
}

fn error(refused: Refused) -> fdo::Error {
    let text = refused.to_string();
    match refused {
        Refused::NoInstance(_) => fdo::Error::UnknownObject(text),
        Refused::BadRequest(_) => fdo::Error::InvalidArgs(text),
        Refused::NotAllowed(_) => fdo::Error::Failed(text),
        Refused::NotStored(_) => fdo::Error::IOError(text),
    }
}
