//! `wharfctl watch` and its output: a line for each change, and on a terminal a bar for the running operation.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _, stdout},
};

use crate::{
    agent::AgentClient,
    error::CommandError,
    model::ShownInstance,
    style::{self, Style, size},
    text,
};

/// Runs until it is interrupted.
pub(crate) async fn watch(agent: &AgentClient, json: bool) -> Result<(), CommandError> {
    let mut changes = agent.changes().await?;
    let mut screen = Screen::new(json);
    screen.show(&agent.snapshot().await?.instances)?;
    loop {
        changes.next().await?;
        match agent.snapshot().await {
            Ok(snapshot) => screen.show(&snapshot.instances)?,
            Err(CommandError::NoAgent) => screen.show_away()?,
            Err(failure) => return Err(failure),
        }
    }
}

/// The output: a line for each change, and on a terminal progress bars below the lines.
pub(crate) struct Screen {
    json: bool,
    terminal: bool,
    bars: usize,
    /// Whether the last output says that wharfd is away.
    away: bool,
    /// The last line of each instance.
    told: BTreeMap<u16, String>,
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            terminal: !json && stdout().is_terminal() && !style::is_dumb(),
            bars: 0,
            away: false,
            told: BTreeMap::new(),
        }
    }

    pub(crate) fn show(&mut self, instances: &[ShownInstance]) -> Result<(), CommandError> {
        let mut text = self.erased();
        self.away = false;
        let is_gone = |id: &u16| !instances.iter().any(|instance| instance.id == *id);
        let known = self.told.keys().copied();
        for id in known.filter(is_gone).collect::<Vec<u16>>() {
            self.told.remove(&id);
            text += &match self.json {
                true => gone(id),
                false => format!("{id:>3}  deleted\n"),
            };
        }
        for instance in instances {
            let line = self.line(instance)?;
            if self.told.get(&instance.id) != Some(&line) {
                text += &line;
                self.told.insert(instance.id, line);
            }
        }
        if self.terminal {
            let (lines, columns) = size();
            let busy = instances.iter().filter(|known| !known.is_settled());
            for instance in busy.take(lines.saturating_sub(1)) {
                text += &format!("{}\n", text::bar(instance, columns.saturating_sub(1)));
                self.bars += 1;
            }
        }
        put(&text)
    }

    /// Prints that wharfd is away: it restarts, has ended or does not answer.
    pub(crate) fn show_away(&mut self) -> Result<(), CommandError> {
        if self.json || std::mem::replace(&mut self.away, true) {
            return Ok(());
        }
        put(&(self.erased() + "     wharfd is away; waiting until it is back\n"))
    }

    /// Prints the changes of an operation beside its package. As JSON, they are in the operation.
    pub(crate) fn show_beside(&mut self, id: u16, beside: &str) -> Result<(), CommandError> {
        match self.json {
            true => Ok(()),
            false => put(&format!("{id:>3}  {beside}\n")),
        }
    }

    fn line(&self, instance: &ShownInstance) -> Result<String, CommandError> {
        Ok(match self.json {
            true => serde_json::to_string(instance).map_err(std::io::Error::from)? + "\n",
            false => format!(
                "{:>3}  {}\n",
                instance.id,
                text::at_in(instance, Style::of_stdout())
            ),
        })
    }

    pub(crate) fn clear(&mut self) -> Result<(), CommandError> {
        put(&self.erased())
    }

    /// Goes up to the first bar, and erases from there on.
    fn erased(&mut self) -> String {
        match std::mem::take(&mut self.bars) {
            0 => String::new(),
            bars => format!("\x1b[{bars}A\x1b[J"),
        }
    }
}

/// A deleted instance, as JSON.
pub(crate) fn gone(id: u16) -> String {
    format!("{{\"id\":{id},\"deleted\":true}}\n")
}

fn put(text: &str) -> Result<(), CommandError> {
    stdout().write_all(text.as_bytes())?;
    Ok(stdout().flush()?)
}
