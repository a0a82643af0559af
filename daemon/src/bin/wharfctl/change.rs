//! The verbs that ask for something and wait for its end: Uninstall, Activate, Deactivate, Delete.

use crate::{
    agent::{Agent, Change},
    arguments::Named,
    failure::Failure,
    model::{DELIVERED, INITIAL, Instance, Operation},
    show::{say, tell},
    text,
    watch::{Follower, gone},
};

pub(crate) async fn uninstall(agent: &Agent, instance: &Named, json: bool) -> Result<(), Failure> {
    let change = Change::Uninstall { for_update: false };
    let Done { before, end, .. } = done(agent, instance, change, json).await?;
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
    let Done { end, failed, .. } = done(agent, instance, Change::Activate, json).await?;
    switched(&end, true, failed, json)
}

pub(crate) async fn deactivate(agent: &Agent, instance: &Named, json: bool) -> Result<(), Failure> {
    let Done { end, failed, .. } = done(agent, instance, Change::Deactivate, json).await?;
    switched(&end, false, failed, json)
}

/// What is in place is switched, whatever the package of the instance is.
fn switched(end: &Instance, wanted: bool, failed: bool, json: bool) -> Result<(), Failure> {
    let software = end.in_place.as_ref();
    let software = software.filter(|software| software.runs == wanted && !failed);
    let software = software.ok_or_else(|| Failure::Refused(text::at(end)))?;
    tell(json, || match (software.no_services, wanted) {
        (true, _) => format!("{software} has no services"),
        (false, true) => format!("{software} is active"),
        (false, false) => format!("{software} is inactive"),
    });
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

/// What became of a change.
struct Done {
    before: Instance,
    end: Instance,
    /// The operation that it began says so; what the instance is need not.
    failed: bool,
}

/// Asks for it, and waits until nothing is being done any more.
async fn done(
    agent: &Agent,
    instance: &Named,
    change: Change,
    json: bool,
) -> Result<Done, Failure> {
    let snapshot = agent.snapshot().await?;
    let before = snapshot.instance(instance)?.clone();
    let known = snapshot.last_operation(before.id).map(|last| last.sequence);
    let mut follower = Follower::new(agent, before.id, json).await?;
    let accepted = agent.change(before.id, change).await;
    accepted.map_err(|failure| failure.of(&before.title()))?;
    let (snapshot, end) = follower.until(Instance::is_settled).await?;
    let last = snapshot.last_operation(before.id);
    let begun = last.filter(|last| Some(last.sequence) > known);
    Ok(Done {
        failed: begun.is_some_and(Operation::has_failed),
        before,
        end,
    })
}

pub(crate) fn succeeded(is_so: bool, end: &Instance) -> Result<(), Failure> {
    match is_so {
        true => Ok(()),
        false => Err(Failure::Refused(text::at(end))),
    }
}
