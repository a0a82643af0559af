//! Answers the job socket: arguments, policy, wiring; nothing else.

mod audit;
mod bundle;
mod check;
mod keys;
mod units;

use std::{
    env,
    error::Error,
    fmt,
    io::{Write as _, stdout},
    os::fd::{FromRawFd, OwnedFd},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread,
};

use nix::fcntl::{Flock, FlockArg};
use sd_notify::NotifyState;
use wharf_frames::PackageName;
use wharf_installers::{
    Root, answer::Responder, device::Device, ledger::Ledger, policy::Policy, queue::Queue,
    service::Service, staging::Staging,
};
use wharf_journal::message;
use wharf_root::{pattern::Pattern, process::usual_file_limit, users::user};

const USAGE: &str = "\
Usage: wharf-installer [--root DIR] [[--json] --check-config]
       wharf-installer [--root DIR] [--json] keys list | remove FINGERPRINT | check FILE
       wharf-installer [--root DIR] [--json] [--allow PATTERN]... keys add FILE
       wharf-installer [--root DIR] [--json] bundle inspect FILE | verify FILE
       wharf-installer [--root DIR] units PACKAGE
       wharf-installer [--root DIR] audit
       wharf-installer [--root DIR] kept [PACKAGE]
       wharf-installer [--root DIR] forgive PACKAGE

Answers the job socket: all that wharfd has done as root. Shows and changes who may sign (wharfctl keys). Reads a bundle
(wharfctl bundle). Shows the units of a package (wharfctl units), the state of the package manager (wharfctl doctor), or
the kept files that are the way back, as JSON. Lets files of a package be installed again that were sent back twice
(wharfctl forgive).

  --root DIR      every path, and the package manager, is below DIR (default: /)
  --check-config  read root's policy, say what is wrong with it, and end
  --allow PATTERN let the certificates sign packages of this name, and write that into the policy
  --json          print JSON
  --help, --version
";

enum Command {
    Run(Arguments),
    /// Only prints.
    Say(&'static str),
}

struct Arguments {
    root: Root,
    check_config: bool,
    /// A query of an administrator. With one, the program does not serve its socket.
    asked: Option<Asked>,
    json: bool,
}

enum Asked {
    Keys(keys::KeysCommand),
    Bundle(bundle::BundleCommand),
    Units(PackageName),
    Audit,
    /// Of this package, or of all.
    Kept(Option<PackageName>),
    Forgive(PackageName),
}

/// sysexits.h: EX_CONFIG.
const BAD_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    usual_file_limit();
    let arguments = match arguments() {
        Ok(Command::Run(arguments)) => arguments,
        Ok(Command::Say(text)) => return say(text),
        Err(error) => return complain(&error, 64),
    };
    if let Some(asked) = &arguments.asked {
        return obey(&arguments, asked);
    }
    let policy = match Policy::read(&arguments.root) {
        Ok(policy) => policy,
        Err(error) => return complain(&error, BAD_CONFIGURATION),
    };
    if arguments.check_config {
        return match check::checked(&arguments.root, &policy, arguments.json) {
            Ok(text) => say(&text),
            Err(error) => complain(&error, 1),
        };
    }
    wharf_journal::begin("wharf-installer");
    match serve(&arguments.root, &policy) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, 1),
    }
}

fn obey(arguments: &Arguments, asked: &Asked) -> ExitCode {
    let answer = match asked {
        Asked::Keys(verb) => {
            keys::with_keys(&arguments.root, |it| keys::obey(it, verb, arguments.json))
        }
        Asked::Bundle(verb) => {
            keys::with_keys(&arguments.root, |it| bundle::obey(it, verb, arguments.json))
        }
        Asked::Units(package) => units::units(&arguments.root, package).map(|text| (text, true)),
        Asked::Audit => audit::audit(&arguments.root).map(|text| (text, true)),
        Asked::Kept(package) => {
            audit::kept(&arguments.root, package.as_ref()).map(|text| (text, true))
        }
        Asked::Forgive(package) => forgive(&arguments.root, package).map(|text| (text, true)),
    };
    match answer {
        Ok((text, true)) => say(&text),
        Ok((text, false)) => {
            say(&text);
            ExitCode::FAILURE
        }
        Err(error) => complain(&error, 1),
    }
}

/// Forgets the files of a package that were sent back.
fn forgive(root: &Root, package: &PackageName) -> Result<String, Box<dyn Error>> {
    let forgotten = Ledger::of(root).forgive(package)?;
    Ok(match forgotten {
        0 => format!("no file of {package} was sent back\n"),
        1 => format!("a file of {package} that was sent back may be installed again\n"),
        number => {
            format!("{number} files of {package} that were sent back may be installed again\n")
        }
    })
}

fn arguments() -> Result<Command, String> {
    use lexopt::prelude::{Long, Value, ValueExt};
    let mut parser = lexopt::Parser::from_env();
    let (mut root, mut check_config, mut json) = (PathBuf::from("/"), false, false);
    let (mut words, mut allow) = (Vec::new(), Vec::new());
    let wrong = |error: &dyn fmt::Display| format!("{error}\n{USAGE}");
    while let Some(argument) = parser.next().map_err(|error| wrong(&error))? {
        match argument {
            Long("root") => {
                let value = parser.value().and_then(|value| value.parse::<PathBuf>());
                root = value.map_err(|error| wrong(&error))?;
            }
            Long("check-config") => check_config = true,
            Long("json") => json = true,
            Long("allow") => {
                let word = parser.value().and_then(|value| value.string());
                allow.push(pattern(&word.map_err(|error| wrong(&error))?)?);
            }
            Value(word) => words.push(word.to_string_lossy().into_owned()),
            Long("help") => return Ok(Command::Say(USAGE)),
            Long("version") => {
                return Ok(Command::Say(concat!(
                    "wharf-installer ",
                    env!("CARGO_PKG_VERSION"),
                    "\n"
                )));
            }
            other => return Err(wrong(&other.unexpected())),
        }
    }
    let root = root
        .canonicalize()
        .map_err(|error| format!("--root {}: {error}", root.display()))?;
    let asked = match &words[..] {
        [keys, words @ ..] if keys == "keys" => {
            let verb = keys::KeysCommand::new(words, allow);
            Some(Asked::Keys(verb.ok_or_else(|| {
                wrong(&"keys: expected a command and its argument")
            })?))
        }
        _ if !allow.is_empty() => return Err(wrong(&"--allow is for keys add")),
        [] => None,
        [kept] if kept == "kept" => Some(Asked::Kept(None)),
        [verb, package] if ["units", "kept", "forgive"].contains(&verb.as_str()) => {
            Some(about(verb, package)?)
        }
        [bundle, words @ ..] if bundle == "bundle" => {
            let verb = bundle::BundleCommand::new(words);
            Some(Asked::Bundle(verb.map_err(|why| wrong(&why))?))
        }
        [audit] if audit == "audit" => Some(Asked::Audit),
        [word, ..] => return Err(wrong(&format_args!("unexpected '{word}'"))),
    };
    Ok(Command::Run(Arguments {
        root: Root::new(root),
        check_config,
        asked,
        json,
    }))
}

/// The query of a verb about one package.
fn about(verb: &str, package: &str) -> Result<Asked, String> {
    let named = PackageName::new(package);
    let named = named.map_err(|error| format!("{verb} {package:?}: {error}"))?;
    Ok(match verb {
        "units" => Asked::Units(named),
        "kept" => Asked::Kept(Some(named)),
        _ => Asked::Forgive(named),
    })
}

fn pattern(word: &str) -> Result<Pattern, String> {
    Pattern::new(word).ok_or_else(|| format!("--allow {word:?}: {}", Pattern::EXPECTED))
}

fn serve(root: &Root, policy: &Policy) -> Result<(), Box<dyn Error>> {
    if policy.allow_unsigned {
        tracing::warn!(
            MESSAGE_ID = message::UNSIGNED_ALLOWED,
            "allow-unsigned is set: packages without a signature are installed"
        );
    }
    let wharfd = user(root, "wharfd")?;
    let device = Device::open(root, policy)?;
    let inspector = &device.inspector;
    if inspector.uid == wharfd.uid || inspector.gid == wharfd.gid {
        return Err("the users wharfd and wharf-inspect share a UID or a GID: what looks into packages must be nobody \
             who may ask for jobs; give each its own (systemd-sysusers does)"
            .into());
    }
    let queue = Queue::new(root, env::current_exe()?.with_file_name("wharf-job"))?;
    let _only_one = only_one(root)?;
    let responder = Arc::new(Responder {
        staging: Staging::new(root, policy.quota)?,
        device,
        ledger: Ledger::of(root),
        root: root.clone(),
        queue,
    });
    let service = match passed_socket()? {
        Some(socket) => Service::at(socket, wharfd, Arc::clone(&responder)),
        None => Service::bind(root, wharfd, Arc::clone(&responder))?,
    };
    thread::Builder::new()
        .name("jobs".to_owned())
        .spawn(move || responder.queue.run())?;
    sd_notify::notify(&[NotifyState::Ready])?;
    Ok(service.run()?)
}

/// The job socket, if systemd passed it (sd_listen_fds(3)).
fn passed_socket() -> Result<Option<OwnedFd>, Box<dyn Error>> {
    let mut passed = sd_notify::listen_fds()?;
    match (passed.next(), passed.next()) {
        (None, _) => Ok(None),
        #[allow(
            unsafe_code,
            reason = "systemd passed it to this process, and nobody else here has it"
        )]
        (Some(socket), None) => Ok(Some(unsafe { OwnedFd::from_raw_fd(socket) })),
        (Some(_), Some(_)) => Err("wharf-installer.socket must listen at one socket".into()),
    }
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

fn say(text: &str) -> ExitCode {
    match stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format_args!("cannot print: {error}"), 1),
    }
}

fn complain(error: &dyn fmt::Display, code: u8) -> ExitCode {
    eprintln!("wharf-installer: {error}");
    ExitCode::from(code)
}
