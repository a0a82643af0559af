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
        Some(Named::Package(name)) => return history_of(agent, name, json).await,
    };
    let lines = agent.history(instance).await?;
    print(json, &lines, || text::history(&lines))
}

/// That of the instance that has the package; where none has, what names it.
async fn history_of(agent: &Agent, package: &str, json: bool) -> Result<(), Failure> {
    let snapshot = agent.snapshot().await?;
    let named = Named::Package(package.to_owned());
    let lines = match snapshot.instance(&named) {
        Ok(instance) => agent.history(Some(instance.id)).await?,
        Err(failure) => {
            let mut lines = agent.history(None).await?;
            lines.retain(|line| line.name.as_deref() == Some(package));
            if lines.is_empty() {
                return Err(failure);
            }
            lines
        }
    };
    print(json, &lines, || text::history(&lines))
}

/// Says what was done, for a person: JSON has said it.
pub(crate) fn tell(json: bool, text: impl FnOnce() -> String) {
    if !json {
        say(&(text() + "\n"));
    }
}

/// Prints what becomes of a change, which goes on, whoever reads that.
pub(crate) fn say(text: &str) {
    let mut output = stdout();
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
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
