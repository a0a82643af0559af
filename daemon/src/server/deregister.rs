//! The Deregister of `wharfd --deregister`. A restart does not deregister: the server continues to observe.

use std::{cell::RefCell, path::Path, rc::Rc, time::Duration};

use lwm2m::{Input, Saved};

use super::{News, Server, ServerError};
use crate::{config::Settings, objects, store::Store};

/// The timeout, including name lookup and handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the stored registration. Returns false if there is none. wharfd must not be running.
pub async fn deregister(settings: Settings, root: &Path) -> Result<bool, ServerError> {
    let mut store = Store::open(&Store::file(root))?;
    let configured = settings.server.clone().ok_or(ServerError::NoServer)?;
    let saved = store.registration(configured.id, &configured.address.to_string())?;
    let Some(registered) = saved.filter(|saved| !saved.location.is_empty()) else {
        return Ok(false);
    };
    // The configuration may have another endpoint name by now.
    let settings = Settings {
        endpoint: registered.endpoint.clone(),
        ..settings
    };
    let store = Rc::new(RefCell::new(store));
    let no_software = objects::no_software();
    let mut server = Server::start(&settings, &configured, no_software, &store)?;
    let answered = tokio::time::timeout(PATIENCE, server.deregister(registered)).await;
    server.close().await;
    answered.map_err(|_| ServerError::NoAnswer)?;
    server.rows.save(server.link.saved())?;
    Ok(true)
}

impl Server {
    /// Sends only the Deregister. Requests of the server get no answer.
    async fn deregister(&mut self, registered: Saved) {
        self.rows.freeze(registered);
        while self.rows.is_frozen() {
            let news = match self.next().await {
                News::Input(Input::Start) => News::Input(Input::Stop),
                news => news,
            };
            self.hear(news);
            while self.next_request().await.is_some() {}
        }
    }
}
