//! One run of rpm or dnf, up to its end. It holds rpm's lock from before the plan, and changes the device only with consent.

use std::{
    cell::RefCell,
    ffi::OsString,
    io::{self, ErrorKind},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use wharf_fault as fault;
use wharf_frames::{Cause, Failure, installer::JobPhase};
use wharf_root::{
    Root, durable,
    process::{self, Growth, Printed},
    session::{self, Role, RunningProcess},
};

use super::{
    lock::spawn_locked,
    programs::{self, not_started},
};
use crate::{
    Progress, Supervisor, Times,
    conversation::{Conversation, give},
    not_wanted,
};

/// The decision on an announced plan.
pub(super) type Agree<'a> = &'a dyn Fn(&str) -> Result<(), Failure>;

/// The place where a program asks for consent.
pub(super) enum Asks<'a> {
    /// Nowhere: it needs none.
    Never,
    /// It announces its plan on descriptor 9, and reads the answer there.
    OnSocket(Agree<'a>),
    /// Its output ends with this question, and it reads the answer from its standard input.
    InOutput(&'static str, Agree<'a>),
}

/// A program, with the conditions of its run.
pub(super) struct Run<'a> {
    /// The name of the program, for messages.
    pub(super) name: &'static str,
    /// The program with its arguments.
    pub(super) words: Vec<OsString>,
    pub(super) asks: Asks<'a>,
    /// Reads the percentage from the text on descriptor 8, and from the output.
    pub(super) percent: fn(&str, &str) -> Option<u8>,
    /// Whether a program with consent has begun to change the device, by its output. Until then it may be ended.
    pub(super) works: fn(&str) -> bool,
}

/// A run that is over.
pub(super) struct Ran {
    /// The decision on consent; none if the program never asked.
    pub(super) decided: Option<Result<(), Failure>>,
    /// Its exit code; none if a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) printed: String,
}

/// A download that is over.
pub(super) struct Downloaded {
    pub(super) is_whole: bool,
    pub(super) printed: String,
}

/// The place and the bounds of runs.
pub(super) struct Runner<'a> {
    pub(super) root: &'a Root,
    /// The file that rpm locks.
    pub(super) lock: &'a Path,
    pub(super) times: Times,
}

impl Runner<'_> {
    /// Runs a program under rpm's lock, within the limit of a job.
    pub(super) fn run(&self, run: &Run<'_>, supervisor: Supervisor<'_>) -> Result<Ran, Failure> {
        let limit = self.times.limit;
        let failed = |error: io::Error| not_started(run.name, &error);
        let folder = self.folder().map_err(failed)?;
        let (conversation, asked) = Conversation::new().map_err(failed)?;
        let conversation = RefCell::new(conversation);
        let printed = Printed::new(folder.join("output")).map_err(failed)?;
        let status = Printed::new(folder.join("status")).map_err(failed)?;
        let files = [&printed, &status];
        let growth = Growth::of(&files)
            .and_then(|growth| growth.and(&*conversation.borrow()))
            .map_err(failed)?;
        let mut command = self.command(&run.words, &printed).map_err(failed)?;
        let joined = run.asks.join(&mut command, &status, asked);
        joined.map_err(failed)?;
        let (wait, is_wanted) = (self.times.lock_wait, supervisor.is_wanted);
        let mut child = spawn_locked(&mut command, self.root, self.lock, wait, is_wanted)?;
        drop(command); // it has the socket of the program
        fault::point("dnf.started");
        let said = |file: &Printed| file.tail().unwrap_or_default();
        let needs_none = matches!(run.asks, Asks::Never);
        let may_work = || needs_none || conversation.borrow().is_given();
        let changed = || {
            run.asks.listen(&mut conversation.borrow_mut(), &printed);
            let percent = may_work().then(|| (run.percent)(&said(&status), &said(&printed)));
            (supervisor.report)(Progress {
                phase: percent.map_or(JobPhase::Queued, |_| JobPhase::Applying),
                percent: percent.flatten(),
            });
        };
        let look = |pid| {
            let mut conversation = conversation.borrow_mut();
            !needs_none && conversation.end_if_unwanted(pid, is_wanted, &only_scripts)
        };
        let overdue = |pid| {
            if may_work() && (run.works)(&said(&printed)) {
                session::end_scripts(pid, &programs::role);
            } else if session::end_waiting(pid, &only_scripts) {
                conversation
                    .borrow_mut()
                    .refuse(not_in_time(run.name, limit));
            } else {
                session::end_scripts(pid, &programs::role);
            }
        };
        let code = process::wait_and_look(&mut child, &growth, limit, look, changed, overdue)
            .map_err(failed)?;
        session::wait_for_the_rest(limit, &programs::role).map_err(failed)?;
        Ok(Ran {
            decided: conversation.borrow_mut().decided(),
            code,
            // The program has run, so unreadable output is no failure.
            printed: said(&printed),
        })
    }

    /// Runs a program that changes no package, without rpm's lock, within the limit of a job. `watch` is asked after each output
    /// and once a second, and ends it early. A run that is not wanted any more is ended, too.
    pub(super) fn download(
        &self,
        words: &[OsString],
        is_wanted: &dyn Fn() -> bool,
        watch: &dyn Fn(&str) -> Result<(), Failure>,
    ) -> Result<Downloaded, Failure> {
        let name = words.first().map(|name| name.to_string_lossy());
        let name = name.unwrap_or_default();
        let failed = |error: io::Error| not_started(&name, &error);
        let printed =
            Printed::new(self.folder().map_err(failed)?.join("output")).map_err(failed)?;
        let files = [&printed];
        let growth = Growth::of(&files).map_err(failed)?;
        let command = self.command(words, &printed);
        let mut child = command
            .and_then(|mut command| command.spawn())
            .map_err(failed)?;
        let pid = child.id();
        let refused = RefCell::new(None);
        let end = |why: Failure| {
            session::end_waiting(pid, &only_scripts);
            refused.borrow_mut().get_or_insert(why);
        };
        let watched = || {
            let why = watch(&printed.tail().unwrap_or_default()).err();
            let is_ended = why.is_some();
            why.into_iter().for_each(&end);
            is_ended
        };
        let limit = self.times.limit;
        let look = |_| {
            let is_needless = !is_wanted();
            if is_needless {
                end(not_wanted());
            }
            !is_needless && !watched()
        };
        let changed = || {
            watched();
        };
        let overdue = |_| end(too_slow(&name, limit));
        let code = process::wait_and_look(&mut child, &growth, limit, look, changed, overdue)
            .map_err(failed)?;
        match refused.take() {
            Some(why) => Err(why),
            None => Ok(Downloaded {
                is_whole: code == Some(0),
                printed: printed.tail().map_err(failed)?,
            }),
        }
    }

    /// This program, whose output and errors go into one file.
    fn command(&self, words: &[OsString], printed: &Printed) -> io::Result<Command> {
        let (name, arguments) = words.split_first().ok_or(ErrorKind::InvalidInput)?;
        let mut command = programs::program(self.root, &name.to_string_lossy());
        command
            .args(arguments)
            .stdout(printed.writer()?)
            .stderr(printed.writer()?);
        Ok(command)
    }

    /// The folder for files of runs (0700).
    pub(super) fn folder(&self) -> io::Result<PathBuf> {
        folder(self.root)
    }
}

impl Asks<'_> {
    /// Gives a program the socket on which it asks.
    fn join(&self, command: &mut Command, status: &Printed, asked: OwnedFd) -> io::Result<()> {
        match self {
            Self::Never => {}
            Self::OnSocket(_) => give(command, status.writer()?, asked)?,
            Self::InOutput(..) => {
                command.stdin(asked);
            }
        }
        Ok(())
    }

    /// Takes the next part of the plan. Decides and answers once the program asks.
    fn listen(&self, conversation: &mut Conversation, output: &Printed) {
        match *self {
            Self::Never => {}
            Self::OnSocket(agree) => conversation.listen(agree),
            Self::InOutput(question, agree) => {
                let printed = output.tail().unwrap_or_default();
                if printed.ends_with(question) {
                    conversation.decide(|| agree(&printed));
                }
            }
        }
    }
}

/// As [`Runner::folder`].
pub(super) fn folder(root: &Root) -> io::Result<PathBuf> {
    let folder = root.run().join("dnf");
    durable::private_folder(&folder)?;
    durable::sweep(&folder, "");
    Ok(folder)
}

/// Recognises scripts alone: a tool that does not change the device yet may be ended.
fn only_scripts(process: &RunningProcess) -> Option<Role> {
    programs::role(process).filter(|role| *role == Role::Script)
}

fn too_slow(program: &str, limit: Duration) -> Failure {
    let detail = format!(
        "{program} did not download the dependencies within {} s (`job-time-limit`) and was ended; nothing was changed",
        limit.as_secs()
    );
    Failure::new(Cause::Dependency, detail)
}

pub(super) fn not_in_time(program: &str, limit: Duration) -> Failure {
    let detail = format!(
        "{program} was not ready to change the device within {} s and was ended; nothing was changed: look for another dnf \
         that does not end, and at the plugins of dnf",
        limit.as_secs()
    );
    Failure::new(Cause::PackageManager, detail)
}

/// For a run without progress.
pub(super) fn no_percent(_: &str, _: &str) -> Option<u8> {
    None
}
