//! `wharfctl cancel` ends an operation that waits, downloads, or has not begun to change the device. The message
//! depends on how the operation ended.

use wharf_bus::{InstanceCall, operation_path};

use crate::{
    agent::AgentClient, arguments::Named, error::CommandError, follow::Follower, output::tell,
};

pub(crate) async fn cancel(
    agent: &AgentClient,
    instance: &Named,
    json: bool,
) -> Result<(), CommandError> {
    let mut follower = Follower::new(agent, json).await?;
    let snapshot = follower.snapshot().await?;
    let instance = snapshot.instance(instance)?;
    let title = instance.title();
    let refused = |why: &str| CommandError::Refused(format!("{title}: {why}"));
    let Some(operation) = instance.operation.clone() else {
        return Err(refused("there is nothing to cancel"));
    };
    let change = InstanceCall::Cancel(operation_path(&operation));
    let cancelled = follower.ask(instance, &change).await;
    cancelled.map_err(|error| error.of(&title))?;
    let ended = follower.end_of(&operation).await?.operation;
    let kind = &ended.kind;
    match ended.end() {
        Some(true) => Err(refused(&format!("the {kind} had ended already"))),
        _ => {
            tell(json, || format!("{title}: the {kind} is cancelled"));
            Ok(())
        }
    }
}
