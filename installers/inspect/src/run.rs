//! One question and one answer. The package is on descriptor 0, the socket to root's side on descriptor 1. A package from
//! inside a message, and files of a package, are written to the pipe on descriptor 2.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd},
    sync::OnceLock,
};

use nix::{
    errno::Errno,
    sys::{
        socket::{MsgFlags, recv, send},
        uio::pread,
    },
};
use wharf_frames::{
    Cause, Failure, MAX_FRAME, decode,
    inspect::{Finding, MAX_KEY_FILES, Question},
};

use crate::{
    bundle, digests, files, format,
    openpgp::{certificates::Certificates, message, signature},
    part::{ReadAt, read_range, unreadable},
    sandbox,
    verify::Trust,
};

/// Runs the program. An error means that the answer could not be sent.
pub fn run() -> io::Result<()> {
    let finding = inspect().unwrap_or_else(Finding::Failed);
    let packet = finding.to_packet().map_err(io::Error::other)?;
    send(io::stdout().as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

/// If memory is short, the kernel kills this program first, and its file is judged again later.
const OOM_SCORE: &str = "900";

fn inspect() -> Result<Finding, Failure> {
    let package = Input::open().map_err(|error| unreadable(&error))?;
    // Without /proc it keeps the score of its parent.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    signature::read_time_zone();
    sandbox::enter().map_err(|error| {
        let detail = format!("wharf-inspect cannot enter its sandbox: {error}");
        Failure::new(Cause::Unavailable, detail)
    })?;
    let (certificates, question) = hear()?;
    let finding = answer(question, &package, certificates);
    // If a read failed, the finding does not count.
    match package.unread.get() {
        Some(error) => Ok(Finding::Unread(error.desc().into())),
        None => finding,
    }
}

/// The answer to a question about the package. It counts only if every read succeeded.
fn answer(
    question: Question,
    package: &Input,
    certificates: Certificates,
) -> Result<Finding, Failure> {
    match question {
        Question::Describe { format } => format::of(format)?
            .describe(package, package.length)
            .map(Finding::Described),
        Question::Verify {
            at,
            signature,
            allow_unsigned,
            format,
        } => {
            let format = format::of(format)?;
            let trust = Trust {
                certificates,
                at,
                allow_unsigned,
            };
            let beside = signature.as_ref().map(|bytes| bytes.as_slice());
            package
                .is_message()
                .and_then(|is_message| match is_message {
                    true => Ok(Finding::Message),
                    false => trust
                        .verify(package, package.length, format, beside)
                        .map(Finding::Verified),
                })
        }
        Question::Unwrap => {
            message::unwrap(package, package.length, io::stderr()).map(Finding::Unwrapped)
        }
        Question::Files { format, wanted } => {
            let (format, length) = (format::of(format)?, package.length);
            files::write(package, length, format, &wanted, &mut io::stderr()).map(Finding::Files)
        }
        Question::Digests { format } => {
            let (format, length) = (format::of(format)?, package.length);
            digests::write(package, length, format, &mut io::stderr()).map(Finding::Files)
        }
        Question::Manifest => {
            bundle::write_manifest(package, package.length, &mut io::stderr()).map(Finding::Files)
        }
        Question::Members => {
            bundle::write_members(package, package.length, &mut io::stderr()).map(Finding::Files)
        }
        Question::StillHolds {
            at,
            certificate,
            signed,
        } => signature::still_holds(&certificates, certificate.as_str(), &signed, at)
            .map(|()| Finding::StillHolds),
        Question::Certificate { at, number } => {
            signature::certificate(&certificates, number as usize, at).map(Finding::Certificate)
        }
        Question::KeyFile { .. } => Err(broken("a certificate is not a question")),
    }
}

/// The certificates and the question about them.
fn hear() -> Result<(Certificates, Question), Failure> {
    let mut certificates = Certificates::default();
    let mut buffer = vec![0; MAX_FRAME];
    for _ in 0..=MAX_KEY_FILES {
        let length = recv(io::stdout().as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)
            .map_err(|error| broken(&error.to_string()))?;
        let frame = buffer
            .get(..length)
            .ok_or_else(|| broken("a frame is too long"))?;
        match decode(frame).map_err(|error| broken(&error.to_string()))? {
            Question::KeyFile { name, bytes } => certificates.add(name.as_str(), &bytes)?,
            question => return Ok((certificates, question)),
        }
    }
    Err(broken("there are too many certificates"))
}

/// The file on descriptor 0.
struct Input {
    length: u64,
    /// The first read error.
    unread: OnceLock<Errno>,
}

impl Input {
    fn open() -> io::Result<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Self {
            // Of the standard library: on armhf libc's own fstat(2) fails for a file of 2 GiB, or of 2038.
            length: file.metadata()?.len(),
            unread: OnceLock::new(),
        })
    }

    fn is_message(&self) -> Result<bool, Failure> {
        let head = read_range(self, 0..self.length.min(message::HEAD));
        message::is_one(&head.map_err(|error| unreadable(&error))?)
    }
}

impl ReadAt for Input {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let position = position.try_into().map_err(io::Error::other)?;
        pread(io::stdin(), buffer, position).map_err(|error| {
            if error != Errno::EINTR {
                let _ = self.unread.set(error);
            }
            error.into()
        })
    }
}

fn broken(why: &str) -> Failure {
    let detail = format!("wharf-inspect does not understand the question: {why}");
    Failure::new(Cause::Unavailable, detail)
}
