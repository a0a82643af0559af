//! Answers the job socket: arguments, policy, wiring; nothing else.

use std::{env, error::Error, fmt, path::PathBuf, process::ExitCode, sync::Arc, thread};

use nix::fcntl::{Flock, FlockArg};
use wharf_installers::{
    Root, answer::Desk, inspect::Inspector, ledger::Ledger, limits, open_backend, policy::Policy,
    queue::Queue, service::Service, staging::Staging, users::user, usual_file_limit,
};

const USAGE: &str = "wharf-installer [--root DIR] [--check-config]";

struct Arguments {
    root: Root,
    check_config: bool,
}

/// sysexits.h: EX_CONFIG.
const BAD_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    usual_file_limit();
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => return complain(&error, 64),
    };
    let policy = match Policy::read(&arguments.root) {
        Ok(policy) => policy,
        Err(error) => return complain(&error, BAD_CONFIGURATION),
    };
    if arguments.check_config {
        return ExitCode::SUCCESS;
    }
    match serve(&arguments.root, &policy) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, 1),
    }
}

fn arguments() -> Result<Arguments, String> {
    use lexopt::prelude::{Long, ValueExt};
    let mut parser = lexopt::Parser::from_env();
    let (mut root, mut check_config) = (PathBuf::from("/"), false);
    let wrong = |error: &dyn fmt::Display| format!("{error}\nusage: {USAGE}");
    while let Some(argument) = parser.next().map_err(|error| wrong(&error))? {
        match argument {
            Long("root") => {
                let value = parser.value().and_then(|value| value.parse::<PathBuf>());
                root = value.map_err(|error| wrong(&error))?;
            }
            Long("check-config") => check_config = true,
            other => return Err(wrong(&other.unexpected())),
        }
    }
    let root = root
        .canonicalize()
        .map_err(|error| format!("--root {}: {error}", root.display()))?;
    Ok(Arguments {
        root: Root::new(root),
        check_config,
    })
}

fn serve(root: &Root, policy: &Policy) -> Result<(), Box<dyn Error>> {
    if policy.allow_unsigned {
        eprintln!(
            "wharf-installer: allow-unsigned is set: packages without a signature are installed"
        );
    }
    let wharfd = user(root, "wharfd")?;
    let inspect = user(root, "wharf-inspect")?;
    if inspect.uid == wharfd.uid || inspect.gid == wharfd.gid {
        return Err("the users wharfd and wharf-inspect share a UID or a GID: what looks into packages must be nobody \
             who may ask for jobs; give each its own (systemd-sysusers does)"
            .into());
    }
    let program = |name: &str| env::current_exe().map(|path| path.with_file_name(name));
    let queue = Queue::new(root, program("wharf-job")?)?;
    let _only_one = only_one(root)?;
    let desk = Arc::new(Desk {
        staging: Staging::new(root, policy.quota)?,
        backend: open_backend(root, policy)?,
        inspector: Inspector {
            program: program("wharf-inspect")?,
            uid: inspect.uid,
            gid: inspect.gid,
            time_limit: limits::INSPECTION,
        },
        ledger: Ledger::of(root),
        root: root.clone(),
        queue,
    });
    let service = Service::bind(root, wharfd, Arc::clone(&desk))?;
    thread::Builder::new()
        .name("jobs".to_owned())
        .spawn(move || desk.queue.run())?;
    Ok(service.run()?)
}

fn only_one(root: &Root) -> Result<Flock<std::fs::File>, Box<dyn Error>> {
    let path = root.service_lock();
    let file = std::fs::File::create(&path)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
        format!(
            "{}: another wharf-installer runs here ({error})",
            path.display()
        )
        .into()
    })
}

fn complain(error: &dyn fmt::Display, code: u8) -> ExitCode {
    eprintln!("wharf-installer: {error}");
    ExitCode::from(code)
}
