//! Looks into one package without any privilege; started by wharf-installer and wharf-job, never by hand.

use std::process::ExitCode;

fn main() -> ExitCode {
    match wharf_inspect::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
