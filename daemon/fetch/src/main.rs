//! The program: enters its sandbox, takes the socket on descriptor 0 and makes one attempt.

use std::process::ExitCode;

use wharf_fetch::{attempt, authorities, sandbox, socket::RequestSocket};

fn main() -> ExitCode {
    wharf_journal::begin("wharf-fetch");
    authorities::choose();
    sandbox::enter();
    // One thread, and one more while the C library resolves a name.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start: {error}")),
    };
    let ended = runtime.block_on(async {
        let socket = RequestSocket::on_descriptor_0()?;
        attempt::perform(&socket).await
    });
    // A pending name lookup must not delay the exit.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string()),
    }
}

fn complain(what: &str) -> ExitCode {
    eprintln!("wharf-fetch: {what}");
    ExitCode::FAILURE
}
