//! The verbs that request a change and wait for its end: Uninstall, Activate, Deactivate, Back, Delete.

use wharf_bus::InstanceCall;
use wharf_frames::Action;

use crate::{
    agent::AgentClient,
    arguments::Named,
    error::CommandError,
    follow::Follower,
    model::ShownInstance,
    output::{say, tell},
    watch::gone,
};

pub(crate) async fn uninstall(
    agent: &AgentClient,
    instance: &Named,
    purge: bool,
    json: bool,
) -> Result<(), CommandError> {
    let change = match purge {
        true => InstanceCall::Perform(Action::Purge),
        false => InstanceCall::Perform(Action::Uninstall),
    };
    let Done {
        before,
        by_operation,
        ..
    } = done(agent, instance, change, json).await?;
    let title = before.title();
    tell(json, || match (by_operation, &before.in_place) {
        (true, _) if purge => format!("{title} is uninstalled, and its configuration is deleted"),
        (true, _) => format!("{title} is uninstalled"),
        (false, Some(software)) => format!("{title} is dropped; {software} stays in place"),
        (false, None) => format!("{title} is dropped"),
    });
    Ok(())
}

/// Activate, Deactivate.
pub(crate) async fn switch(
    agent: &AgentClient,
    instance: &Named,
    action: Action,
    json: bool,
) -> Result<(), CommandError> {
    let done = done(agent, instance, InstanceCall::Perform(action), json).await?;
    tell(json, || switched(&done, action == Action::Activate));
    Ok(())
}

/// The message for the software in place, which may differ from the package of the instance.
fn switched(done: &Done, wanted: bool) -> String {
    let now = done.now.as_ref().unwrap_or(&done.before);
    let software = now.in_place.as_ref();
    let title = software.map_or_else(|| now.title(), ToString::to_string);
    match software.is_some_and(|software| software.no_services) {
        true => format!("{title} has no services"),
        false if wanted => format!("{title} is active"),
        false => format!("{title} is inactive"),
    }
}

pub(crate) async fn back(
    agent: &AgentClient,
    instance: &Named,
    json: bool,
) -> Result<(), CommandError> {
    let done = done(agent, instance, InstanceCall::Perform(Action::Back), json).await?;
    let (from, now) = (&done.before, done.now.as_ref().unwrap_or(&done.before));
    tell(json, || {
        let title = now.title();
        match now.active {
            true => format!(
                "{title} is back in the place of {}, and active",
                from.title()
            ),
            false => format!(
                "{title} is back in the place of {}, and inactive",
                from.title()
            ),
        }
    });
    Ok(())
}

pub(crate) async fn delete(
    agent: &AgentClient,
    instance: &Named,
    json: bool,
) -> Result<(), CommandError> {
    let Done { before, .. } = done(agent, instance, InstanceCall::Delete, json).await?;
    let id = before.id;
    say(&match json {
        true => gone(id),
        false => format!("instance {id} is deleted\n"),
    });
    Ok(())
}

/// A change that ended as requested.
struct Done {
    before: ShownInstance,
    /// The instance; none if it was deleted.
    now: Option<ShownInstance>,
    /// Whether an operation made the change, and not the request itself.
    by_operation: bool,
}

/// Requests the change, and waits for the end of its operation.
async fn done(
    agent: &AgentClient,
    instance: &Named,
    change: InstanceCall,
    json: bool,
) -> Result<Done, CommandError> {
    let mut follower = Follower::new(agent, json).await?;
    let before = follower.snapshot().await?.instance(instance)?.clone();
    let accepted = follower.ask(&before, &change).await;
    let operation = accepted.map_err(|error| error.of(&before.title()))?;
    let by_operation = operation.is_some();
    let now = match operation {
        Some(operation) => {
            let end = follower.end_of(&operation).await?;
            end.succeeded()?;
            end.snapshot
        }
        None => {
            let now = follower.wait_for_wharfd().await?;
            follower.show(now.by_id(before.id));
            now
        }
    };
    Ok(Done {
        now: now.by_id(before.id).cloned(),
        before,
        by_operation,
    })
}
