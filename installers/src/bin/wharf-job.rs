//! Does one recorded job and records its end. wharf-installer starts it, and does not end it. `tidy` is for a script of
//! wharfd's package: it releases units that an older release held back wrongly.

use std::{fmt, path::PathBuf, process::ExitCode};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use wharf_frames::OperationId;
use wharf_installers::{Root, device::Device, job::Worker, policy::Policy};
use wharf_root::process::usual_file_limit;

const USAGE: &str = "wharf-job run OPERATION | tidy [--root DIR]";

/// The task of one run.
enum Task {
    Run(OperationId),
    Tidy,
}

fn main() -> ExitCode {
    usual_file_limit();
    wharf_journal::begin("wharf-job");
    go_on_when_asked_to_end();
    let done = arguments().and_then(|(root, task)| perform(&root, &task));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wharf-job: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ignores SIGTERM of a shutdown or an administrator: a package manager must not stop half-way. It uses a handler,
/// since package managers and their scripts would inherit SIG_IGN.
fn go_on_when_asked_to_end() {
    extern "C" fn nothing(_: i32) {}
    let handler = SigHandler::Handler(nothing);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    #[allow(unsafe_code, reason = "the handler does nothing")]
    let _ = unsafe { sigaction(Signal::SIGTERM, &action) };
}

fn perform(root: &Root, task: &Task) -> Result<(), String> {
    let policy = Policy::read(root).map_err(|error| error.to_string())?;
    let device = Device::open(root, &policy).map_err(|failure| failure.to_string())?;
    let worker = Worker::new(root, &policy, &device).map_err(|error| error.to_string())?;
    let done = match task {
        Task::Run(operation) => worker.run(*operation),
        Task::Tidy => worker.tidy_up(),
    };
    done.map_err(|failure| failure.to_string())
}

fn arguments() -> Result<(Root, Task), String> {
    use lexopt::prelude::{Long, Value, ValueExt};
    let mut parser = lexopt::Parser::from_env();
    let (mut root, mut words) = (PathBuf::from("/"), Vec::new());
    let wrong = |error: &dyn fmt::Display| format!("{error}\nusage: {USAGE}");
    while let Some(argument) = parser.next().map_err(|error| wrong(&error))? {
        match argument {
            Long("root") => {
                let value = parser.value().and_then(|value| value.parse::<PathBuf>());
                root = value.map_err(|error| wrong(&error))?;
            }
            Value(word) => words.push(word.to_string_lossy().into_owned()),
            other => return Err(wrong(&other.unexpected())),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let task = match words.as_slice() {
        ["run", operation] => Task::Run(operation.parse().map_err(|error| wrong(&error))?),
        ["tidy"] => Task::Tidy,
        _ => return Err(wrong(&"'run' and an operation, or 'tidy', are expected")),
    };
    let root = root.canonicalize().map_err(|error| wrong(&error))?;
    Ok((Root::new(root), task))
}
