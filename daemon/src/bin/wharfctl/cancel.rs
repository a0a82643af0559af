//! `wharfctl cancel`: what waits, downloads, or has not begun to change the device ends here.

use crate::{
    agent::{Agent, Change},
    arguments::Named,
    failure::Failure,
    show::tell,
};

pub(crate) async fn cancel(agent: &Agent, instance: &Named, json: bool) -> Result<(), Failure> {
    let snapshot = agent.snapshot().await?;
    let instance = snapshot.instance(instance)?;
    let title = instance.title();
    let cancelled = agent.change(instance.id, Change::Cancel).await;
    cancelled.map_err(|failure| failure.of(&title))?;
    let running = snapshot.last_operation(instance.id);
    let kind = running.map_or("operation", |running| running.kind.as_str());
    tell(json, || format!("{title}: the {kind} is cancelled"));
    Ok(())
}
