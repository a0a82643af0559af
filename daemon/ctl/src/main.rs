//! wharfctl: what an administrator asks wharfd, on this gateway, over D-Bus. Decides nothing about software.
//!
//! - `arguments`: the command line; `failure`: why it ends with which code.
//! - `agent`: the way to wharfd; `model`: what it shows, which is also what `--json` prints.
//! - `show`, `text`: the verbs that read; `watch`, `trace`: those that go on reading.
//! - `look`: the width and the colours of printed text.
//! - `logs`: the journal's lines, which journalctl prints.
//! - `program`: the other programs of wharfd, which wharfctl asks.
//! - `keys`: asks wharf-installer who may sign. `units`: asks it for the units of a package.
//! - `completions`: the scripts for shells, and the names that they complete.
//! - `doctor`: what has to be so for wharfd to work.
//! - `cancel`: ends the running operation.
//! - `change`, `install`: the verbs that request something and wait for its end. `follow`: how they wait.

mod agent;
mod arguments;
mod cancel;
mod change;
mod completions;
mod doctor;
mod failure;
mod follow;
mod install;
mod keys;
mod logs;
mod look;
mod model;
mod program;
mod show;
mod text;
mod trace;
mod units;
mod watch;

use std::{
    io::{Write as _, stderr},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};

use agent::Agent;
use arguments::{Arguments, Verb};
use failure::Failure;

/// sysexits.h, as wharfd's own.
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    if let Verb::Completions { shell } = arguments.verb {
        return completions(shell);
    }
    let done = match arguments.verb {
        Verb::Units { name } => {
            units::units(&arguments.root, &name, arguments.json).map(|()| ExitCode::SUCCESS)
        }
        Verb::Keys(verb) => keys::keys(&arguments.root, verb, arguments.json),
        Verb::Logs { subject } => {
            logs::logs(&arguments.root, &subject, arguments.json).map(|never| match never {})
        }
        _ => run(arguments).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(failure) if failure.is_unread() => ExitCode::SUCCESS, // `wharfctl history | head`
        Err(failure) => {
            let _ = writeln!(stderr(), "wharfctl: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// `--help` and `--version` come here, too.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print(); // nobody listens
    match error.use_stderr() {
        true => ExitCode::from(EX_USAGE),
        false => ExitCode::SUCCESS,
    }
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    let script = completions::script(shell, &mut Arguments::command());
    match std::io::stdout().write_all(script.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(Failure::runtime)?;
    runtime.block_on(async {
        if let Verb::Doctor = arguments.verb {
            return doctor::doctor(&arguments.root, arguments.json).await;
        }
        let agent = Agent::connect(&arguments.root).await?;
        obey(&agent, arguments).await
    })
}

async fn obey(agent: &Agent, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { root, verb, json } = arguments;
    match verb {
        Verb::Status => show::status(agent, json).await,
        Verb::List => show::list(agent, json).await,
        Verb::Show { instance } => show::show(agent, &instance, json).await,
        Verb::History { instance } => show::history(agent, instance.as_ref(), json).await,
        Verb::Names { packages } => completions::names(agent, packages, json).await,
        Verb::Watch => watch::watch(agent, json).await,
        Verb::Trace => trace::trace(agent, json).await,
        Verb::Install(arguments) => {
            to_its_end(install::install(agent, &root, arguments, json)).await
        }
        Verb::Uninstall { instance, purge } => {
            to_its_end(change::uninstall(agent, &instance, purge, json)).await
        }
        Verb::Activate { instance } => to_its_end(change::activate(agent, &instance, json)).await,
        Verb::Deactivate { instance } => {
            to_its_end(change::deactivate(agent, &instance, json)).await
        }
        Verb::Cancel { instance } => to_its_end(cancel::cancel(agent, &instance, json)).await,
        Verb::Delete { instance } => to_its_end(change::delete(agent, &instance, json)).await,
        // These verbs need no agent.
        Verb::Doctor
        | Verb::Logs { .. }
        | Verb::Units { .. }
        | Verb::Keys(_)
        | Verb::Completions { .. } => Ok(()),
    }
}

/// Who interrupts a change is told that it goes on without him.
async fn to_its_end(change: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        done = change => done,
        interrupted = tokio::signal::ctrl_c() => Err(match interrupted {
            Ok(()) => Failure::Interrupted,
            Err(error) => Failure::runtime(error),
        }),
    }
}
