//! Looks into one package without any privilege; started by wharf-installer, never by hand.

use std::process::ExitCode;

fn main() -> ExitCode {
    match wharf_installers::inspect::child::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
