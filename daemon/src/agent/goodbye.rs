//! The end of a registration for good. A restart of wharfd is none: the server goes on observing.

use std::{collections::BTreeMap, path::Path, time::Duration};

use lwm2m::{Event, Input, Output, Saved};

use super::{AgentError, database, link};
use crate::{
    config::Settings,
    link::Link,
    objects::Account,
    store::{Store, StoreError},
};

/// So long the server may take to answer, its name and a handshake included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deregisters what an earlier run registered. Says whether there was anything. wharfd must not be running.
pub async fn deregister(settings: Settings, root: &Path) -> Result<bool, AgentError> {
    let mut store = Store::open(&database(root))?;
    let configured = settings.server.as_ref().ok_or(AgentError::NoServer)?;
    let id = configured.id;
    let server = configured.address.to_string();
    let saved = store.registration(configured.id, &server)?;
    let Some(saved) = saved.filter(|saved| !saved.location.is_empty()) else {
        return Ok(false);
    };
    // Its name may be configured anew meanwhile.
    let endpoint = saved.endpoint.clone();
    let settings = Settings {
        endpoint,
        ..settings
    };
    let account = Account::new(id, settings.lifetime());
    let port = store.local_port(id)?;
    let mut link = link(
        &settings,
        &account,
        &BTreeMap::new(),
        Some(saved.clone()),
        port,
    )?;
    // Until it is answered the server may go on observing. But the Message IDs are used.
    let keep = |so_far: Saved| {
        let message_ceiling = so_far.message_ceiling;
        store.save_registration(
            id,
            &server,
            &Saved {
                message_ceiling,
                ..saved.clone()
            },
        )
    };
    let answered = tokio::time::timeout(PATIENCE, say_goodbye(&mut link, keep)).await;
    link.close().await;
    answered.map_err(|_| AgentError::NoAnswer)??;
    store.save_registration(id, &server, &link.saved())?;
    Ok(true)
}

async fn say_goodbye(
    link: &mut Link,
    mut keep: impl FnMut(Saved) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    loop {
        match link.next().await {
            Input::Start => link.handle(Input::Stop),
            input => link.handle(input),
        }
        while let Some(output) = link.poll_output() {
            match output {
                Output::Send(datagram) => link.send(&datagram).await,
                Output::Event(Event::Deregistered) => return Ok(()),
                Output::Save => keep(link.saved())?,
                Output::Request { .. } | Output::Event(_) => {}
            }
        }
    }
}
