//! The verbs that ask for something and wait for its end: Uninstall, Activate, Deactivate, Delete.

use crate::{
    agent::{Agent, Change},
    arguments::Named,
    failure::Failure,
    model::{INITIAL, Instance},
    text,
    watch::Follower,
};

pub(crate) async fn uninstall(agent: &Agent, instance: &Named) -> Result<(), Failure> {
    let change = Change::Uninstall { for_update: false };
    let (title, end) = done(agent, instance, change).await?;
    succeeded(end.update_state == INITIAL && !end.has_failed(), &end)?;
    match &end.in_place {
        Some(software) => println!(
            "{title} is dropped; {} {} stays in place",
            software.name, software.version
        ),
        None => println!("{title} is uninstalled"),
    }
    Ok(())
}

pub(crate) async fn activate(agent: &Agent, instance: &Named) -> Result<(), Failure> {
    let (title, end) = done(agent, instance, Change::Activate).await?;
    succeeded(end.active, &end)?;
    println!("{title} is active");
    Ok(())
}

pub(crate) async fn deactivate(agent: &Agent, instance: &Named) -> Result<(), Failure> {
    let (title, end) = done(agent, instance, Change::Deactivate).await?;
    succeeded(!end.active, &end)?;
    println!("{title} is inactive");
    Ok(())
}

pub(crate) async fn delete(agent: &Agent, instance: &Named) -> Result<(), Failure> {
    let id = agent.snapshot().await?.instance(instance)?.id;
    agent.change(id, Change::Delete).await?;
    println!("instance {id} is deleted");
    Ok(())
}

/// Asks for it, and waits until nothing is being done any more. Gives what it was called before, and how it is now.
async fn done(
    agent: &Agent,
    instance: &Named,
    change: Change,
) -> Result<(String, Instance), Failure> {
    let snapshot = agent.snapshot().await?;
    let before = snapshot.instance(instance)?;
    let mut follower = Follower::new(agent, before.id).await?;
    agent.change(before.id, change).await?;
    let (_, end) = follower.until(Instance::is_settled).await?;
    Ok((before.title(), end))
}

pub(crate) fn succeeded(is_so: bool, end: &Instance) -> Result<(), Failure> {
    match is_so {
        true => Ok(()),
        false => Err(Failure::Refused(text::at(end))),
    }
}
