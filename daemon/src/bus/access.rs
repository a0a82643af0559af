//! What every object of the bus needs: the views, the way to the agent, and who asks.

use tokio::sync::{mpsc, oneshot, watch};
use wharf_bus::{Caller, ONLY_ROOT};
use zbus::fdo;

use super::{
    command::{Answer, Command, Refused},
    views::Views,
};

/// The way from an object to the agent.
#[derive(Clone)]
pub(super) struct Access {
    /// The state of the agent.
    pub(super) views: watch::Receiver<Views>,
    /// The state of the objects: each object that exists is in it.
    pub(super) shown: watch::Receiver<Views>,
    pub(super) commands: mpsc::Sender<Command>,
    /// Up to which generation of the views all signals went out.
    pub(super) announced: watch::Receiver<u64>,
}

/// The uid that may do everything.
pub(super) const ROOT: u32 = 0;

impl Access {
    /// Asks the agent. The answer comes back after the signals of what it changed.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(Answer<T>) -> Command,
    ) -> fdo::Result<T> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(command(answer)).await;
        sent.map_err(|_| ending())?;
        let answered = answered.await.map_err(|_| ending())?;
        let generation = self.views.borrow().generation;
        let mut announced = self.announced.clone();
        let _ = announced.wait_for(|told| *told >= generation).await; // the bus is going: so is the caller
        answered.map_err(error)
    }
}

/// The uid of the caller, if it may change what is installed here, and read all that is told of it.
pub(super) async fn root(caller: Caller<'_>) -> fdo::Result<u32> {
    match caller.user().await? {
        ROOT => Ok(ROOT),
        uid => Err(fdo::Error::AccessDenied(format!(
            "{ONLY_ROOT}, and the caller is the user with uid {uid}: try sudo"
        ))),
    }
}

/// The answer of a wharfd that ends. The bus gives the same one once it has ended.
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
