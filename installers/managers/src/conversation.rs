//! The question of a package manager before it changes the device. Under its locks it announces its plan on a socket, and
//! continues only with consent. This module does not know which plans are allowed.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::Command,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};

use wharf_frames::{Cause, Failure};
use wharf_root::{
    limits,
    session::{self, Recognise},
};

use crate::not_wanted;

/// The descriptors of a program for its progress and for its question. The second one is the highest that a shell can name.
const GIVEN: [RawFd; 2] = [8, 9];

/// Gives a program its `progress` on descriptor 8 and its `question` on descriptor 9.
#[allow(
    unsafe_code,
    reason = "between fork and exec only dup2(2) is called, which is safe there"
)]
pub(crate) fn give(
    command: &mut Command,
    progress: impl AsFd,
    question: impl AsFd,
) -> io::Result<()> {
    let [_, highest] = GIVEN;
    let above = |file: BorrowedFd<'_>| above(file, highest);
    let given = [above(progress.as_fd())?, above(question.as_fd())?];
    // The start of a process reports its errors on a descriptor that must have none of these numbers.
    let lowest = File::open("/dev/null")?;
    let mut filled = vec![OwnedFd::from(lowest)];
    while let Some(last) = filled.last().filter(|last| last.as_raw_fd() < highest) {
        filled.push(last.try_clone()?);
    }
    let take = move || -> io::Result<()> {
        let _ = &filled;
        for (file, number) in given.iter().zip(GIVEN) {
            Errno::result(unsafe { libc::dup2(file.as_raw_fd(), number) })?;
        }
        Ok(())
    };
    unsafe { command.pre_exec(take) };
    Ok(())
}

/// A copy of this descriptor with a higher number than that.
#[allow(unsafe_code, reason = "the new descriptor is owned by nobody else")]
pub(crate) fn above(file: BorrowedFd<'_>, number: RawFd) -> io::Result<OwnedFd> {
    let copy = fcntl(file, FcntlArg::F_DUPFD_CLOEXEC(number + 1))?;
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// One conversation. The package manager sends lines and an empty one, and waits for a line. No line comes if consent is
/// refused or this process has ended.
pub(crate) struct Conversation {
    socket: UnixStream,
    announced: Vec<u8>,
    answer: Option<Result<(), Failure>>,
}

impl Conversation {
    /// A new conversation, and the socket of the package manager.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (socket, other) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let conversation = Self {
            socket,
            announced: Vec::new(),
            answer: None,
        };
        Ok((conversation, other.into()))
    }

    /// Whether the decision is made.
    pub(crate) fn is_settled(&self) -> bool {
        self.answer.is_some()
    }

    /// Whether consent was given.
    pub(crate) fn is_given(&self) -> bool {
        matches!(self.answer, Some(Ok(())))
    }

    /// Refuses, unless the decision is made.
    pub(crate) fn refuse(&mut self, why: Failure) {
        if self.answer.is_none() {
            self.settle(Err(why));
        }
    }

    /// Ends a program that has no consent and is not wanted any more. Returns whether it is to be asked again.
    pub(crate) fn end_if_unwanted(
        &mut self,
        program: u32,
        is_wanted: &dyn Fn() -> bool,
        recognise: Recognise<'_>,
    ) -> bool {
        if self.answer.is_none() && !is_wanted() && session::end_waiting(program, recognise) {
            self.refuse(not_wanted());
        }
        self.answer.is_none()
    }

    fn settle(&mut self, answer: Result<(), Failure>) {
        if answer.is_ok() {
            let _ = self.socket.write_all(b"y\n"); // without the line, the package manager does not continue
        }
        let _ = self.socket.shutdown(Shutdown::Write);
        self.answer = Some(answer);
    }

    /// Takes the next announced lines. Decides and answers once the plan is complete.
    pub(crate) fn listen(&mut self, decide: impl Fn(&str) -> Result<(), Failure>) {
        let taken = self.take();
        let is_all = self.announced == b"\n" || self.announced.ends_with(b"\n\n");
        let answer = match taken {
            _ if self.answer.is_some() => return,
            Err(error) => Err(not_understood(&error.to_string())),
            Ok(()) if self.announced.len() > limits::ANNOUNCED => {
                Err(not_understood("it is too much"))
            }
            Ok(()) if is_all => decide(String::from_utf8_lossy(&self.announced).trim_end()),
            Ok(()) => return,
        };
        self.settle(answer);
    }

    /// Decides and answers, unless the decision is made: the package manager asked by other means than the socket.
    pub(crate) fn decide(&mut self, decide: impl FnOnce() -> Result<(), Failure>) {
        if self.answer.is_none() {
            self.settle(decide());
        }
    }

    /// The decision; none if the package manager did not ask.
    pub(crate) fn decided(&mut self) -> Option<Result<(), Failure>> {
        self.answer.take()
    }

    /// Keeps a bounded part of the plan, and reads the rest, so that the sender is not blocked.
    fn take(&mut self) -> io::Result<()> {
        let mut part = [0; 4096];
        loop {
            match self.socket.read(&mut part) {
                Ok(0) => return Ok(()),
                Ok(length) if self.announced.len() <= limits::ANNOUNCED => {
                    let part = part.get(..length).unwrap_or_default();
                    self.announced.extend_from_slice(part);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Conversation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn not_understood(why: &str) -> Failure {
    let detail = format!("cannot read the changes that the package manager announced: {why}");
    Failure::new(Cause::PackageManager, detail)
}
