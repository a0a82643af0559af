//! The verbs that read.

use std::{
    io::{Write as _, stderr},
    path::Path,
};

use serde::Serialize;

use crate::{
    agent::{AgentClient, reads_all},
    arguments::Named,
    error::CommandError,
    kept::{self, KeptVersion},
    model::{PastOperation, ShownHistory},
    output::print,
    style::Style,
    text,
};

pub(crate) async fn status(agent: &AgentClient, json: bool) -> Result<(), CommandError> {
    let snapshot = agent.snapshot().await?;
    print(json, &snapshot, || {
        text::status(&snapshot, Style::of_stdout())
    })
}

pub(crate) async fn list(agent: &AgentClient, json: bool) -> Result<(), CommandError> {
    let instances = agent.snapshot().await?.instances;
    print(json, &instances, || {
        text::list(&instances, Style::of_stdout())
    })
}

pub(crate) async fn show(
    agent: &AgentClient,
    root: &Path,
    named: &Named,
    json: bool,
) -> Result<(), CommandError> {
    let snapshot = agent.snapshot().await?;
    let instance = snapshot.instance(named)?;
    let mut operations = agent.operations().await?;
    operations.retain(|kept| kept.is_of(instance, named));
    #[derive(Serialize)]
    struct Shown<'a> {
        #[serde(flatten)]
        instance: &'a crate::model::ShownInstance,
        kept: Option<&'a [KeptVersion]>,
        operations: &'a [PastOperation],
    }
    let kept = match &instance.in_place {
        Some(software) => kept::of(root, &software.name).await,
        None => None,
    };
    let shown = Shown {
        instance,
        kept: kept.as_deref(),
        operations: &operations,
    };
    print(json, &shown, || {
        let kept = kept.as_deref().unwrap_or_default();
        text::show(instance, kept, &operations, Style::of_stdout())
    })?;
    hint(json);
    Ok(())
}

pub(crate) async fn history(
    agent: &AgentClient,
    instance: Option<&Named>,
    json: bool,
) -> Result<(), CommandError> {
    let lines = match instance {
        None => agent.history(None).await?,
        Some(Named::Number(id)) => agent.history(Some(*id)).await?, // a deleted instance has a history too
        Some(named @ Named::Package(package)) => history_of(agent, named, package).await?,
    };
    print(json, &lines, || text::history(&lines, Style::of_stdout()))?;
    hint(json);
    Ok(())
}

/// Tells a user other than root that the reasons are shortened.
fn hint(json: bool) {
    if !json && !reads_all() {
        let _ = writeln!(
            stderr(),
            "wharfctl: reasons are shortened: only root may read the output of programs and full Package URIs: try sudo"
        );
    }
}

/// The history of the instance that has the package. If none has it, all lines that name the package.
async fn history_of(
    agent: &AgentClient,
    named: &Named,
    package: &str,
) -> Result<Vec<ShownHistory>, CommandError> {
    let snapshot = agent.snapshot().await?;
    let failure = match snapshot.instance(named) {
        Ok(instance) => return agent.history(Some(instance.id)).await,
        Err(failure) => failure,
    };
    let mut lines = agent.history(None).await?;
    lines.retain(|line| line.name.as_deref() == Some(package));
    match lines.is_empty() {
        true => Err(failure),
        false => Ok(lines),
    }
}
