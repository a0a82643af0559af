//! The program wharfd: arguments, configuration, wiring; nothing else.

use std::{
    env,
    error::Error,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use tokio::runtime::{LocalOptions, LocalRuntime};
use wharf_frames::PackageName;
use wharfd::{
    agent::{Agent, AgentEnd, AgentError, Surroundings},
    arguments::{self, CommandLine, Mode, RunArguments},
    as_wharfd::as_wharfd,
    config::{ConfigError, Settings},
    doctor,
    server::deregister,
    service_manager,
};

/// The exit code for an invalid configuration (sysexits.h). systemd does not restart wharfd after it.
const EX_CONFIG: u8 = 78;
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    match arguments::parse(env::args_os().skip(1)) {
        Ok(CommandLine::Run(arguments)) => start(arguments),
        Ok(CommandLine::Help) => say(arguments::USAGE),
        Ok(CommandLine::Version) => say(concat!("wharfd ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(error) => fail(EX_USAGE, &error),
    }
}

fn start(arguments: RunArguments) -> ExitCode {
    let done = match arguments.mode {
        Mode::Agent => run_agent(&arguments.root),
        Mode::CheckConfig => check(&arguments.root),
        Mode::Deregister => end_registration(&arguments.root),
        Mode::Doctor => examine(&arguments.root),
    };
    if let (Mode::Agent, Err(error)) = (arguments.mode, &done) {
        service_manager::give_up(&error.to_string());
    }
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<ConfigError>() => fail(EX_CONFIG, error.as_ref()),
        Err(error) => fail(1, error.as_ref()),
    }
}

/// Checks with the rights of wharfd: root can read files that the service cannot.
fn check(root: &Path) -> Result<(), Box<dyn Error>> {
    as_wharfd(root, || Settings::check(root))?;
    say("the configuration is sound\n");
    Ok(())
}

/// Prints all findings as JSON.
fn examine(root: &Path) -> Result<(), Box<dyn Error>> {
    let runtime = runtime()?;
    let findings = runtime.block_on(doctor::findings(root));
    runtime.shutdown_background();
    say(&(serde_json::to_string(&findings)? + "\n"));
    Ok(())
}

fn end_registration(root: &Path) -> Result<(), Box<dyn Error>> {
    let settings = Settings::read(root)?;
    wharf_journal::begin("wharfd");
    let runtime = runtime()?;
    let ended = runtime.block_on(deregister(settings, root));
    runtime.shutdown_background();
    match ended? {
        true => say("deregistered\n"),
        false => say("nothing is registered\n"),
    };
    Ok(())
}

fn run_agent(root: &Path) -> Result<(), Box<dyn Error>> {
    wharf_journal::begin("wharfd");
    leave_children_to_the_kernel();
    // The memory holds credentials of origins, so no core dump may be written.
    nix::sys::prctl::set_dumpable(false)?;
    while run_once(root)? == AgentEnd::Reload {}
    Ok(())
}

/// Runs with one configuration until the end or a reload. No state in memory outlives it.
fn run_once(root: &Path) -> Result<AgentEnd, Box<dyn Error>> {
    let settings = Settings::read(root)?;
    let surroundings = Surroundings {
        root: root.to_owned(),
        program: env::current_exe()?,
        own_package: PackageName::new(env!("CARGO_PKG_NAME"))?,
    };
    let runtime = runtime()?;
    // The agent runs as a task, so that other tasks wake it without a system call.
    let ended = runtime.block_on(runtime.spawn_local(async {
        let agent = Agent::start(settings, surroundings)?;
        Ok::<_, AgentError>(agent.run().await)
    }));
    runtime.shutdown_background(); // a pending name lookup must not delay the end
    Ok(ended??)
}

fn runtime() -> io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_stack_size(128 * 1024)
        .build_local(LocalOptions::default())
}

/// Lets the kernel reap children. wharf-fetch reports its end over its socket, so its exit code is not needed.
fn leave_children_to_the_kernel() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    #[allow(unsafe_code, reason = "ignoring a signal runs no handler")]
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
}

fn say(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes()); // the reader may have closed the pipe
    ExitCode::SUCCESS
}

fn fail(code: u8, error: &dyn Error) -> ExitCode {
    eprintln!("wharfd: {error}");
    ExitCode::from(code)
}
