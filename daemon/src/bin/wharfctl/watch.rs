//! `wharfctl watch`, and following one instance: a line for each change; on a terminal a bar for what is being done.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _, stdout},
};

use crate::{
    agent::{Agent, Changes},
    arguments::Named,
    failure::Failure,
    model::{Instance, Snapshot},
    text,
};

/// Until it is interrupted.
pub(crate) async fn watch(agent: &Agent, json: bool) -> Result<(), Failure> {
    let mut changes = agent.changes().await?;
    let mut screen = Screen::new(json);
    screen.show(&agent.snapshot().await?.instances)?;
    loop {
        changes.next().await?;
        if let Some(snapshot) = present(agent).await? {
            screen.show(&snapshot.instances)?;
        }
    }
}

/// Follows one instance. wharfd may be restarted meanwhile, by the very package that is being installed.
pub(crate) struct Follower<'a> {
    agent: &'a Agent,
    id: u16,
    changes: Changes,
    screen: Screen,
}

impl<'a> Follower<'a> {
    /// From now on nothing is missed.
    pub(crate) async fn new(agent: &'a Agent, id: u16) -> Result<Self, Failure> {
        Ok(Self {
            agent,
            id,
            changes: agent.changes().await?,
            screen: Screen::new(false),
        })
    }

    /// Shows what becomes of the instance, until `is_over` or it is deleted.
    pub(crate) async fn until(
        &mut self,
        is_over: impl Fn(&Instance) -> bool,
    ) -> Result<(Snapshot, Instance), Failure> {
        loop {
            if let Some(snapshot) = present(self.agent).await? {
                let instance = snapshot.instance(&Named::Number(self.id))?.clone();
                self.screen.show(std::slice::from_ref(&instance))?;
                if is_over(&instance) {
                    self.screen.clear()?;
                    return Ok((snapshot, instance));
                }
            }
            self.changes.next().await?;
        }
    }
}

/// What is shown; none while wharfd is away.
async fn present(agent: &Agent) -> Result<Option<Snapshot>, Failure> {
    match agent.snapshot().await {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(Failure::NoAgent) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What was printed: lines that stay, and below them on a terminal the bars.
struct Screen {
    json: bool,
    terminal: bool,
    bars: usize,
    /// The lines that stay, by instance.
    told: BTreeMap<u16, String>,
}

impl Screen {
    fn new(json: bool) -> Self {
        Self {
            json,
            terminal: !json && stdout().is_terminal(),
            bars: 0,
            told: BTreeMap::new(),
        }
    }

    fn show(&mut self, instances: &[Instance]) -> Result<(), Failure> {
        let mut text = self.erased();
        let gone = |id: &u16| !instances.iter().any(|instance| instance.id == *id);
        for id in self.told.keys().copied().filter(gone).collect::<Vec<u16>>() {
            self.told.remove(&id);
            text += &match self.json {
                true => format!("{{\"id\":{id},\"deleted\":true}}\n"),
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
            for instance in instances.iter().filter(|known| !known.is_settled()) {
                text += &format!("{}\n", text::bar(instance));
                self.bars += 1;
            }
        }
        stdout().write_all(text.as_bytes())?;
        Ok(stdout().flush()?)
    }

    fn line(&self, instance: &Instance) -> Result<String, Failure> {
        Ok(match self.json {
            true => serde_json::to_string(instance).map_err(std::io::Error::from)? + "\n",
            false => format!("{:>3}  {}\n", instance.id, text::at(instance)),
        })
    }

    fn clear(&mut self) -> Result<(), Failure> {
        let text = self.erased();
        Ok(stdout().write_all(text.as_bytes())?)
    }

    /// Goes up to the first bar, and erases from there on.
    fn erased(&mut self) -> String {
        match std::mem::take(&mut self.bars) {
            0 => String::new(),
            bars => format!("\x1b[{bars}A\x1b[J"),
        }
    }
}
