//! Asks wharf-inspect about a package: starts it, sends it descriptors and frames, and reads only bounded frames. Only
//! that child parses certificates, signatures and packages; it links other crates than this one.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::PathBuf,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags},
    sys::{
        signal::Signal,
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair,
            sockopt::{ReceiveTimeout, SendTimeout},
        },
        time::{TimeVal, TimeValLike},
    },
};
use wharf_bundle::Manifest;
use wharf_frames::{
    Cause, Failure, FrameError, Text, encode,
    fetch::MAX_SIGNATURE,
    inspect::{
        Certificate, Described, FINDING_LENGTH, Finding, Format, Question, SignedDigest, Verified,
    },
    packed::{FileDigest, Frames, PackedFile, PackedFiles, WantedFiles},
};
use wharf_root::process::wait_for_event;

use crate::{
    bundle::{
        member_stream::MemberStream,
        members::{MemberFile, MemberFiles},
    },
    keyring::Keyring,
    not_done::NotDone,
};

/// The largest number of certificates that are listed: each is a run of wharf-inspect.
const MAX_SHOWN: u32 = 64;

/// The program wharf-inspect, and how to start it.
#[derive(Debug, Clone)]
pub struct Inspector {
    /// The program.
    pub program: PathBuf,
    /// The user it runs as: one that owns nothing and runs nothing else.
    pub uid: u32,
    /// The group it runs as.
    pub gid: u32,
    /// The time limit of a run.
    pub time_limit: Duration,
    /// The format of the packages.
    pub format: Format,
}

/// The terms by which a signature is judged.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The signature beside the package; it is judged before any signature inside.
    pub signature: Option<&'a [u8]>,
    /// The certificates of those who may sign.
    pub keyring: &'a Keyring,
    /// The time at which they are judged, in Unix seconds. The installer's own, never before its clock floor.
    pub at: u64,
    /// A package that has no signature at all is answered with `signed: None`, instead of [`Cause::Unsigned`].
    pub allow_unsigned: bool,
}

/// The last question of [`Inspector::still_holds`] that was answered with yes: the certificates, the signature and the second.
/// The same question has the same answer. A job asks it twice within milliseconds.
#[derive(Debug, Default)]
pub struct Held(Mutex<Option<Vec<Question>>>);

/// The reason why there is no good judgement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// The package, its signature or the question is refused.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// Something of this device cannot be used now. It says nothing about the package.
    #[error(transparent)]
    NotNow(Failure),
    /// wharf-inspect was ended from outside, took too long, or could not read the file, probably because of a
    /// fault of the device. The same question may be answered later.
    #[error("wharf-inspect could not read the package: {0}")]
    Broke(String),
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Refused(failure) | InspectError::NotNow(failure) => failure,
            InspectError::Broke(_) => Self::new(Cause::Unavailable, error.to_string()),
        }
    }
}

impl From<NotDone> for InspectError {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Refused(failure) => Self::Refused(failure),
            NotDone::NotNow(failure) => Self::NotNow(failure),
        }
    }
}

impl From<InspectError> for NotDone {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Refused(failure) => Self::Refused(failure),
            InspectError::NotNow(failure) => Self::NotNow(failure),
            InspectError::Broke(_) => Self::not_now(error.to_string()),
        }
    }
}

impl Inspector {
    /// Verifies the signer and the content of a package. `None` for a message, which [`Inspector::unwrap`] takes apart.
    /// The descriptor only has to be readable.
    pub fn verify(
        &self,
        package: BorrowedFd<'_>,
        terms: &Terms<'_>,
    ) -> Result<Option<Verified>, InspectError> {
        let signature = terms.signature.unwrap_or_default();
        if signature.len() > MAX_SIGNATURE {
            let detail = format!(
                "the signature beside the package is longer than {MAX_SIGNATURE} bytes, so it is not one"
            );
            return Err(Failure::new(Cause::BadSignature, detail).into());
        }
        let mut questions = terms.keyring.questions();
        questions.push(Question::Verify {
            at: terms.at,
            signature: terms.signature.map(|bytes| bytes.to_vec().into()),
            allow_unsigned: terms.allow_unsigned,
            format: self.format,
        });
        match self.run(package, &questions)? {
            Finding::Verified(verified) if verified.signed.is_none() && !terms.allow_unsigned => {
                Err(Failure::new(Cause::Unsigned, "the package is not signed").into())
            }
            Finding::Verified(verified) => Ok(Some(verified)),
            Finding::Message => Ok(None),
            other => Err(no_such_answer(other)),
        }
    }

    /// Takes a message apart: passes the package on piece by piece, and returns the signatures over it. It verifies
    /// nothing.
    pub fn unwrap(
        &self,
        message: BorrowedFd<'_>,
        each: impl FnMut(&[u8]) -> Result<(), InspectError>,
    ) -> Result<Vec<u8>, InspectError> {
        match self.run_with_pipe(message, &Question::Unwrap, self.time_limit, each)? {
            (Finding::Unwrapped(unwrapped), length) if unwrapped.length == length => {
                Ok(unwrapped.signatures.into())
            }
            (Finding::Unwrapped(_), _) => Err(garbage("it wrote another package than it says")),
            (other, _) => Err(no_such_answer(other)),
        }
    }

    /// Reads the wanted files of a package. Only for a package that [`Inspector::verify`] accepted.
    pub fn files(
        &self,
        package: BorrowedFd<'_>,
        wanted: &[WantedFiles],
    ) -> Result<Vec<PackedFile>, InspectError> {
        let length = length_of(package)?;
        let question = Question::Files {
            format: self.format,
            wanted: wanted.to_vec(),
        };
        // The child unpacks the whole package before it writes much. A device has to unpack one MiB a second.
        let time_limit = self.time_limit + Duration::from_secs(length >> 20);
        let mut taken = PackedFiles::default();
        let each = |bytes: &[u8]| {
            let taken = taken.append(bytes);
            taken.map_err(|error| garbage(&error.to_string()))
        };
        let (finding, _) = self.run_with_pipe(package, &question, time_limit, each)?;
        let Finding::Files(number) = finding else {
            return Err(no_such_answer(finding));
        };
        let files = taken
            .finish()
            .map_err(|error| garbage(&error.to_string()))?;
        match files.len() == number as usize {
            true => Ok(files),
            false => Err(garbage("it wrote other files than it says")),
        }
    }

    /// Hands on the digest of each file of a package. Only for a package that [`Inspector::verify`] accepted. A failure of
    /// `each` says nothing about the package.
    pub fn digests(
        &self,
        package: BorrowedFd<'_>,
        each: &mut dyn FnMut(FileDigest) -> Result<(), Failure>,
    ) -> Result<(), InspectError> {
        let length = length_of(package)?;
        let question = Question::Digests {
            format: self.format,
        };
        let time_limit = self.time_limit + Duration::from_secs(length >> 20);
        let (mut frames, mut taken, mut failure) = (Frames::default(), 0, None);
        let pass_on = |bytes: &[u8]| {
            let passed_on = frames.append(bytes, |digest: FileDigest| {
                taken += 1;
                each(digest).map_err(|error| {
                    failure = Some(error);
                    FrameError::Malformed("rejected".to_owned())
                })
            });
            passed_on.map_err(|error| match failure.take() {
                Some(failure) => InspectError::NotNow(failure),
                None => garbage(&error.to_string()),
            })
        };
        let (finding, _) = self.run_with_pipe(package, &question, time_limit, pass_on)?;
        let Finding::Files(number) = finding else {
            return Err(no_such_answer(finding));
        };
        frames
            .finish()
            .map_err(|error| garbage(&error.to_string()))?;
        match number == taken {
            true => Ok(()),
            false => Err(garbage("it wrote other digests than it says")),
        }
    }

    /// Reads the manifest of a bundle. Only for a bundle that [`Inspector::verify`] accepted.
    pub fn manifest(&self, bundle: BorrowedFd<'_>) -> Result<Manifest, InspectError> {
        let (mut frames, mut taken) = (Frames::default(), Vec::new());
        let each = |bytes: &[u8]| {
            let taken = frames.append(bytes, |manifest| {
                taken.push(manifest);
                Ok(())
            });
            taken.map_err(|error| garbage(&error.to_string()))
        };
        let (finding, _) =
            self.run_with_pipe(bundle, &Question::Manifest, self.time_limit, each)?;
        let Finding::Files(1) = finding else {
            return Err(no_such_answer(finding));
        };
        frames
            .finish()
            .map_err(|error| garbage(&error.to_string()))?;
        match (taken.pop(), taken.is_empty()) {
            (Some(manifest), true) => Ok(manifest),
            _ => Err(garbage("it wrote another number of manifests than one")),
        }
    }

    /// Writes the packages of a bundle to their files. Only for a bundle that [`Inspector::verify`] accepted.
    pub(crate) fn members(
        &self,
        bundle: BorrowedFd<'_>,
        members: &mut MemberFiles,
    ) -> Result<Vec<MemberFile>, InspectError> {
        let length = length_of(bundle)?;
        let time_limit = self.time_limit + Duration::from_secs(length >> 20);
        let mut stream = MemberStream::into(members);
        let each = |bytes: &[u8]| Ok(stream.append(bytes)?);
        let (finding, _) = self.run_with_pipe(bundle, &Question::Members, time_limit, each)?;
        let Finding::Files(number) = finding else {
            return Err(no_such_answer(finding));
        };
        match stream.finish() {
            Some(members) if members.len() == number as usize => Ok(members),
            _ => Err(garbage("it wrote other packages than it says")),
        }
    }

    /// Describes a package by its own metadata. Only for a package that [`Inspector::verify`] accepted.
    pub fn describe(&self, package: BorrowedFd<'_>) -> Result<Described, InspectError> {
        let format = self.format;
        match self.run(package, &[Question::Describe { format }])? {
            Finding::Described(described) => Ok(described),
            other => Err(no_such_answer(other)),
        }
    }

    /// Whether a signature of a file that was judged before is still valid at this time, in Unix seconds. The file is
    /// not read again.
    pub fn still_holds(
        &self,
        certificate: &Text,
        signed: &SignedDigest,
        keyring: &Keyring,
        at: u64,
        held: &Held,
    ) -> Result<(), InspectError> {
        let mut questions = keyring.questions();
        questions.push(Question::StillHolds {
            at,
            certificate: certificate.clone(),
            signed: signed.clone(),
        });
        let last = || held.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last().as_ref() == Some(&questions) {
            return Ok(());
        }
        match self.run(nothing()?.as_fd(), &questions)? {
            Finding::StillHolds => {
                *last() = Some(questions);
                Ok(())
            }
            other => Err(no_such_answer(other)),
        }
    }

    /// Every certificate of a keyring, with the data of all its files, as valid at this time in Unix seconds. More
    /// certificates than can be shown are an error: one that is not shown could still sign.
    pub fn certificates(
        &self,
        keyring: &Keyring,
        at: u64,
    ) -> Result<Vec<Certificate>, InspectError> {
        let nothing = nothing()?;
        let mut found = Vec::new();
        for number in 0..=MAX_SHOWN {
            let mut questions = keyring.questions();
            questions.push(Question::Certificate { at, number });
            match self.run(nothing.as_fd(), &questions)? {
                Finding::Certificate(Some(_)) if number == MAX_SHOWN => return Err(too_many()),
                Finding::Certificate(Some(certificate)) => found.push(certificate),
                Finding::Certificate(None) => break,
                other => return Err(no_such_answer(other)),
            }
        }
        Ok(found)
    }

    fn run(
        &self,
        package: BorrowedFd<'_>,
        questions: &[Question],
    ) -> Result<Finding, InspectError> {
        let (mut child, socket) = self.started(package, Stdio::null())?;
        let deadline = Instant::now() + self.time_limit;
        let answer = ask(&socket, questions, deadline).and_then(|()| hear(&socket, deadline));
        let status = child.end();
        answer?.ok_or_else(|| how_it_ended(status))
    }

    /// Asks, passes on the bytes from the pipe, and returns the answer with their number.
    fn run_with_pipe(
        &self,
        package: BorrowedFd<'_>,
        question: &Question,
        time_limit: Duration,
        each: impl FnMut(&[u8]) -> Result<(), InspectError>,
    ) -> Result<(Finding, u64), InspectError> {
        let (mut child, socket) = self.started(package, Stdio::piped())?;
        let deadline = Instant::now() + time_limit;
        ask(&socket, std::slice::from_ref(question), deadline)?;
        let pipe = child.0.stderr.take();
        let pipe = pipe.ok_or_else(|| unavailable("wharf-inspect has no pipe".to_owned()))?;
        let length = pump(pipe, deadline, each)?;
        let answer = hear(&socket, Instant::now() + self.time_limit);
        let status = child.end();
        let finding = answer?.ok_or_else(|| how_it_ended(status))?;
        Ok((finding, length))
    }

    fn started(
        &self,
        package: BorrowedFd<'_>,
        out: Stdio,
    ) -> Result<(Running, OwnedFd), InspectError> {
        let started = self.start(package, out);
        started.map_err(|error| {
            let program = self.program.display();
            unavailable(format!("{program} was not started: {error}"))
        })
    }

    fn start(&self, package: BorrowedFd<'_>, out: Stdio) -> io::Result<(Running, OwnedFd)> {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        let child = Command::new(&self.program)
            .env_clear()
            .current_dir("/")
            .stdin(package.try_clone_to_owned()?)
            .stdout(theirs)
            .stderr(out)
            .gid(self.gid)
            .uid(self.uid)
            .spawn()?;
        Ok((Running(child), ours))
    }
}

/// The length of a package.
fn length_of(package: BorrowedFd<'_>) -> Result<u64, InspectError> {
    let file = package.try_clone_to_owned().map(File::from);
    let length = file.and_then(|file| file.metadata());
    let length = length.map(|metadata| metadata.len());
    length.map_err(|error| unavailable(format!("the package cannot be read: {error}")))
}

/// An empty file, for a question that needs no package.
fn nothing() -> Result<File, InspectError> {
    File::open("/dev/null").map_err(|error| unavailable(format!("cannot open /dev/null: {error}")))
}

/// A child that is killed when the value is dropped.
struct Running(Child);

impl Running {
    fn end(&mut self) -> io::Result<ExitStatus> {
        // A child that has answered or crashed is a zombie already: a kill does not change its status.
        self.0.kill()?;
        self.0.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn ask(socket: &OwnedFd, questions: &[Question], deadline: Instant) -> Result<(), InspectError> {
    for question in questions {
        let frame = encode(question).map_err(|error| unavailable(error.to_string()))?;
        setsockopt(socket, SendTimeout, &remaining(deadline)).map_err(socket_failed)?;
        match send(socket.as_raw_fd(), &frame, MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => {}
            Err(Errno::EPIPE | Errno::ECONNRESET) => break, // it ended early: perhaps it said why
            Err(Errno::EAGAIN) => return Err(too_slow()),
            Err(error) => return Err(socket_failed(error)),
        }
    }
    Ok(())
}

/// Passes on the bytes from the pipe until its end, and returns their number. The disk has to write one MiB a second.
fn pump(
    mut pipe: ChildStderr,
    deadline: Instant,
    mut each: impl FnMut(&[u8]) -> Result<(), InspectError>,
) -> Result<u64, InspectError> {
    let (mut buffer, mut length) = (vec![0; 64 * 1024], 0);
    loop {
        let deadline = deadline + Duration::from_secs(length >> 20);
        let mut events = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        let waited = wait_for_event(&mut events, deadline);
        waited.map_err(|error| unavailable(error.to_string()))?;
        if events.iter().all(|event| event.any() != Some(true)) {
            match Instant::now() < deadline {
                true => continue,
                false => return Err(too_slow()),
            }
        }
        let read = pipe.read(&mut buffer);
        let read = read.map_err(|error| unavailable(error.to_string()))?;
        match buffer.get(..read) {
            Some([]) | None => return Ok(length),
            Some(bytes) => each(bytes)?,
        }
        length += read as u64;
    }
}

/// Waits for the answer; none if the child exited without one.
fn hear(socket: &OwnedFd, deadline: Instant) -> Result<Option<Finding>, InspectError> {
    let mut packet = [0; FINDING_LENGTH];
    loop {
        setsockopt(socket, ReceiveTimeout, &remaining(deadline)).map_err(socket_failed)?;
        return match recv(socket.as_raw_fd(), &mut packet, MsgFlags::MSG_TRUNC) {
            Ok(0) => Ok(None),
            Ok(FINDING_LENGTH) => Finding::from_packet(&packet)
                .map(Some)
                .map_err(|error| garbage(&error.to_string())),
            Ok(length) => Err(garbage(&format!("it answered {length} bytes"))),
            // A peer that closes with frames unread sets this error once; its answer is still queued behind it.
            Err(Errno::EINTR | Errno::ECONNRESET) => continue,
            Err(Errno::EAGAIN) => Err(too_slow()),
            Err(error) => Err(socket_failed(error)),
        };
    }
}

/// The kernel would take zero for no timeout.
fn remaining(deadline: Instant) -> TimeVal {
    let left = deadline.saturating_duration_since(Instant::now());
    TimeVal::microseconds(i64::try_from(left.as_micros()).unwrap_or(i64::MAX).max(1))
}

fn how_it_ended(status: io::Result<ExitStatus>) -> InspectError {
    let signal = status.as_ref().ok().and_then(ExitStatusExt::signal);
    match (status, signal) {
        (Ok(_), Some(signal)) if signal == Signal::SIGXCPU as i32 => {
            InspectError::Broke("it used up its processor time".to_owned())
        }
        (Ok(_), Some(signal)) if is_from_outside(signal) => InspectError::Broke(format!(
            "it was killed by signal {signal}, perhaps since memory is short"
        )),
        (Ok(_), Some(signal)) => garbage(&format!("it was killed by signal {signal}")),
        (Ok(status), None) => garbage(&format!("it ended without an answer ({status})")),
        (Err(error), _) => InspectError::Broke(error.to_string()),
    }
}

/// A signal that no program raises because of its input.
fn is_from_outside(signal: i32) -> bool {
    use Signal::{SIGHUP, SIGINT, SIGKILL, SIGTERM};
    [SIGKILL, SIGTERM, SIGINT, SIGHUP]
        .iter()
        .any(|&outside| outside as i32 == signal)
}

/// An answer that does not fit the question.
fn no_such_answer(answer: Finding) -> InspectError {
    match answer {
        // wharf-inspect says it by the cause.
        Finding::Failed(failure) if failure.cause == Cause::Unavailable => {
            InspectError::NotNow(failure)
        }
        Finding::Failed(failure) => failure.into(),
        Finding::Unread(why) => InspectError::Broke(why.to_string()),
        _ => garbage("its answer does not fit the question"),
    }
}

fn too_many() -> InspectError {
    unavailable(format!(
        "the keyring has more than {MAX_SHOWN} certificates: keep only those that sign for this device"
    ))
}

fn unavailable(detail: String) -> InspectError {
    InspectError::NotNow(Failure::new(Cause::Unavailable, detail))
}

fn socket_failed(error: Errno) -> InspectError {
    unavailable(format!("the socket to wharf-inspect failed: {error}"))
}

/// Blames the package, since the cause is unknown.
fn garbage(why: &str) -> InspectError {
    let detail = format!("wharf-inspect could not read the package: {why}");
    Failure::new(Cause::Malformed, detail).into()
}

fn too_slow() -> InspectError {
    InspectError::Broke("it took too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_wharf_inspect_is_a_refusal_unless_the_device_is_to_blame() {
        let failed = |cause| Finding::Failed(Failure::new(cause, "why"));
        for (finding, expected) in [
            (
                failed(Cause::Unavailable),
                InspectError::NotNow(Failure::new(Cause::Unavailable, "why")),
            ),
            (
                failed(Cause::BadSignature),
                InspectError::Refused(Failure::new(Cause::BadSignature, "why")),
            ),
            (
                Finding::Unread("why".into()),
                InspectError::Broke("why".to_owned()),
            ),
        ] {
            assert_eq!(no_such_answer(finding), expected);
        }
        assert!(matches!(
            no_such_answer(Finding::Message),
            InspectError::Refused(failure) if failure.cause == Cause::Malformed
        ));
    }
}
