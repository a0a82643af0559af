//! `wharfctl cancel`: what waits, downloads, or has not begun to change the device ends here.

use crate::{
    agent::{Agent, Change},
    arguments::Named,
    failure::Failure,
    follow::Follower,
    show::tell,
};

pub(crate) async fn cancel(agent: &Agent, instance: &Named, json: bool) -> Result<(), Failure> {
    let mut follower = Follower::new(agent, json).await?;
    let snapshot = follower.look().await?;
    let instance = snapshot.instance(instance)?;
    let title = instance.title();
    let cancelled = follower.ask(instance, &Change::Cancel).await;
    cancelled.map_err(|failure| failure.of(&title))?;
    let running = instance.operation.as_deref();
    let running = running.and_then(|running| snapshot.operation(running));
    let kind = running.map_or("operation", |running| running.kind.as_str());
    tell(json, || format!("{title}: the {kind} is cancelled"));
    Ok(())
}
