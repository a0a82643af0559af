//! The verbs that ask for something and wait for its end: Uninstall, Activate, Deactivate, Delete.

use crate::{
    agent::{Agent, Change},
    arguments::Named,
    failure::Failure,
    model::{DELIVERED, INITIAL, Instance},
    show::{say, tell},
    text,
    watch::{Follower, gone},
};

pub(crate) async fn uninstall(agent: &Agent, instance: &Named, json: bool) -> Result<(), Failure> {
    let change = Change::Uninstall { for_update: false };
    let (before, end) = done(agent, instance, change, json).await?;
    succeeded(end.update_state == INITIAL && !end.has_failed(), &end)?;
    let title = before.title();
    tell(json, || match (before.update_state, &end.in_place) {
        (DELIVERED, Some(software)) => format!("{title} is dropped; {software} stays in place"),
        (DELIVERED, None) => format!("{title} is dropped"),
        _ => format!("{title} is uninstalled"),
    });
    Ok(())
}

pub(crate) async fn activate(agent: &Agent, instance: &Named, json: bool) -> Result<(), Failure> {
    let (_, end) = done(agent, instance, Change::Activate, json).await?;
    succeeded(end.active, &end)?;
    tell(json, || format!("{} is active", end.title()));
    Ok(())
}

pub(crate) async fn deactivate(agent: &Agent, instance: &Named, json: bool) -> Result<(), Failure> {
    let (_, end) = done(agent, instance, Change::Deactivate, json).await?;
    succeeded(!end.active, &end)?;
    tell(json, || format!("{} is inactive", end.title()));
    Ok(())
}

pub(crate) async fn delete(agent: &Agent, instance: &Named, json: bool) -> Result<(), Failure> {
    let id = agent.snapshot().await?.instance(instance)?.id;
    agent.change(id, Change::Delete).await?;
    say(&match json {
        true => gone(id),
        false => format!("instance {id} is deleted\n"),
    });
    Ok(())
}

/// Asks for it, and waits until nothing is being done any more. Gives the instance as it was, and as it is.
async fn done(
    agent: &Agent,
    instance: &Named,
    change: Change,
    json: bool,
) -> Result<(Instance, Instance), Failure> {
    let before = agent.snapshot().await?.instance(instance)?.clone();
    let mut follower = Follower::new(agent, before.id, json).await?;
    let accepted = agent.change(before.id, change).await;
    accepted.map_err(|failure| failure.of(&before.title()))?;
    let (_, end) = follower.until(Instance::is_settled).await?;
    Ok((before, end))
}

pub(crate) fn succeeded(is_so: bool, end: &Instance) -> Result<(), Failure> {
    match is_so {
        true => Ok(()),
        false => Err(Failure::Refused(text::failed(end))),
    }
}
