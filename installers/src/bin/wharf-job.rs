//! Does one journalled job and records its end; started by wharf-installer, and not ended with it.

use std::{fmt, path::PathBuf, process::ExitCode};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use wharf_frames::OperationId;
use wharf_installers::{
    Root, job::Worker, open_backend, open_inspector, policy::Policy, usual_file_limit,
};

const USAGE: &str = "wharf-job run OPERATION [--root DIR]";

fn main() -> ExitCode {
    usual_file_limit();
    wharf_journal::begin("wharf-job");
    go_on_when_asked_to_end();
    let done = arguments().and_then(|(root, operation)| run(&root, operation));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wharf-job: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A shutdown or an impatient administrator asks; a package manager must not be left half-way. By a handler: that a
/// signal is ignored, package managers and what their scripts start would inherit.
fn go_on_when_asked_to_end() {
    extern "C" fn nothing(_: i32) {}
    let handler = SigHandler::Handler(nothing);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    #[allow(unsafe_code, reason = "the handler does nothing")]
    let _ = unsafe { sigaction(Signal::SIGTERM, &action) };
}

fn run(root: &Root, operation: OperationId) -> Result<(), String> {
    let policy = Policy::read(root).map_err(|error| error.to_string())?;
    let backend = open_backend(root, &policy).map_err(|failure| failure.to_string())?;
    let inspector = open_inspector(root).map_err(|error| error.to_string())?;
    let worker = Worker::new(root, &policy, backend.as_ref(), inspector)
        .map_err(|error| error.to_string())?;
    worker.run(operation).map_err(|failure| failure.to_string())
}

fn arguments() -> Result<(Root, OperationId), String> {
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
    match words.as_slice() {
        [run, operation] if run == "run" => {
            let operation = operation.parse().map_err(|error| wrong(&error))?;
            let root = root.canonicalize().map_err(|error| wrong(&error))?;
            Ok((Root::new(root), operation))
        }
        _ => Err(wrong(&"'run' and an operation are expected")),
    }
}
