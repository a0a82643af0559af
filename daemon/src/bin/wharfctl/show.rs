//! The verbs that read.

use std::io::{Write as _, stdout};

use serde::Serialize;

use crate::{agent::Agent, arguments::Named, failure::Failure, model::Operation, text};

pub(crate) async fn status(agent: &Agent, json: bool) -> Result<(), Failure> {
    let snapshot = agent.snapshot().await?;
    print(json, &snapshot, || text::status(&snapshot))
}

pub(crate) async fn list(agent: &Agent, json: bool) -> Result<(), Failure> {
    let instances = agent.snapshot().await?.instances;
    print(json, &instances, || text::list(&instances))
}

pub(crate) async fn show(agent: &Agent, instance: &Named, json: bool) -> Result<(), Failure> {
    let snapshot = agent.snapshot().await?;
    let instance = snapshot.instance(instance)?;
    let operations = snapshot.operations.iter();
    let operations: Vec<&Operation> = operations
        .filter(|operation| operation.instance == instance.id)
        .collect();
    #[derive(Serialize)]
    struct Shown<'a> {
        #[serde(flatten)]
        instance: &'a crate::model::Instance,
        operations: &'a [&'a Operation],
    }
    let shown = Shown {
        instance,
        operations: &operations,
    };
    print(json, &shown, || text::show(instance, &operations))
}

pub(crate) async fn history(
    agent: &Agent,
    instance: Option<&Named>,
    json: bool,
) -> Result<(), Failure> {
    let instance = match instance {
        None => None,
        Some(Named::Number(id)) => Some(*id), // it may be deleted, and its history is there
        Some(named) => Some(agent.snapshot().await?.instance(named)?.id),
    };
    let lines = agent.history(instance).await?;
    print(json, &lines, || text::history(&lines))
}

/// Prints a value as one line of JSON, or as text.
pub(crate) fn print<T: Serialize>(
    json: bool,
    value: &T,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let text = match json {
        true => serde_json::to_string(value).map_err(std::io::Error::from)? + "\n",
        false => text(),
    };
    Ok(stdout().write_all(text.as_bytes())?)
}
