//! wharfctl: the command line for an administrator of this gateway. It asks wharfd over D-Bus, and decides nothing
//! about software.
//!
//! - `arguments`: the command line; `error`: errors and exit codes.
//! - `agent`: the D-Bus client; `model`: the values that it reads, which `--json` prints.
//! - `show`, `text`: the verbs that read; `watch`, `trace`: those that read until interrupted.
//! - `style`: the width and the colours of printed text. `output`: standard output.
//! - `logs`: the journal, which journalctl prints.
//! - `program`: the other programs of wharfd, which wharfctl asks.
//! - `kept`: asks wharf-installer for the ways back. `keys`: asks it for the keyring. `units`: asks it for the units of a package.
//! - `bundle`: builds a bundle, and asks wharf-installer about one.
//! - `completions`: the scripts for shells, and the names that they complete.
//! - `doctor`: checks all that wharfd needs.
//! - `cancel`: ends the running operation.
//! - `change`, `install`: the verbs that request a change and wait for its end. `follow`: the wait.

mod agent;
mod arguments;
mod bundle;
mod cancel;
mod change;
mod completions;
mod doctor;
mod error;
mod follow;
mod install;
mod kept;
mod keys;
mod logs;
mod model;
mod output;
mod program;
mod show;
mod style;
mod text;
mod trace;
mod units;
mod watch;

use std::{
    io::{Write as _, stderr},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};
use wharf_frames::Action;

use agent::AgentClient;
use arguments::{Arguments, Verb};
use error::CommandError;

/// sysexits.h, as in wharfd.
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
        Verb::Forgive { name } => {
            kept::forgive(&arguments.root, &name, arguments.json).map(|()| ExitCode::SUCCESS)
        }
        Verb::Keys(verb) => keys::keys(&arguments.root, verb, arguments.json),
        Verb::Bundle(verb) => bundle::bundle(&arguments.root, verb, arguments.json),
        Verb::Logs { subject } => {
            logs::logs(&arguments.root, &subject, arguments.json).map(|never| match never {})
        }
        _ => run(arguments).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) if error.is_unread() => ExitCode::SUCCESS, // `wharfctl history | head`
        Err(error) => {
            let _ = writeln!(stderr(), "wharfctl: {error}");
            ExitCode::from(error.code())
        }
    }
}

/// Also prints the text of `--help` and `--version`.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print(); // the reader may have closed the pipe
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

fn run(arguments: Arguments) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(CommandError::runtime)?;
    runtime.block_on(async {
        if let Verb::Doctor = arguments.verb {
            return doctor::doctor(&arguments.root, arguments.json).await;
        }
        let agent = AgentClient::connect(&arguments.root).await?;
        obey(&agent, arguments).await
    })
}

async fn obey(agent: &AgentClient, arguments: Arguments) -> Result<(), CommandError> {
    let Arguments { root, verb, json } = arguments;
    match verb {
        Verb::Status => show::status(agent, json).await,
        Verb::List => show::list(agent, json).await,
        Verb::Show { instance } => show::show(agent, &root, &instance, json).await,
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
        Verb::Activate { instance } => {
            to_its_end(change::switch(agent, &instance, Action::Activate, json)).await
        }
        Verb::Deactivate { instance } => {
            to_its_end(change::switch(agent, &instance, Action::Deactivate, json)).await
        }
        Verb::Back { instance } => to_its_end(change::back(agent, &instance, json)).await,
        Verb::Cancel { instance } => to_its_end(cancel::cancel(agent, &instance, json)).await,
        Verb::Delete { instance } => to_its_end(change::delete(agent, &instance, json)).await,
        // These verbs need no agent.
        Verb::Doctor
        | Verb::Logs { .. }
        | Verb::Units { .. }
        | Verb::Forgive { .. }
        | Verb::Keys(_)
        | Verb::Bundle(_)
        | Verb::Completions { .. } => Ok(()),
    }
}

/// An interrupt ends only the wait. The error says that the change continues.
async fn to_its_end(
    change: impl Future<Output = Result<(), CommandError>>,
) -> Result<(), CommandError> {
    tokio::select! {
        done = change => done,
        interrupted = tokio::signal::ctrl_c() => Err(match interrupted {
            Ok(()) => CommandError::Interrupted,
            Err(error) => CommandError::runtime(error),
        }),
    }
}
