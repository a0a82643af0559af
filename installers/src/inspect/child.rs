//! wharf-inspect: one package on descriptor 0, the socket to root's side on descriptor 1, one question, one answer.

use std::{
    fs::File,
    io::{self, Read},
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
use sequoia_openpgp::types::HashAlgorithm;
use wharf_frames::{
    Cause, Failure, MAX_FRAME, decode,
    inspect::{Answer, Form, Request, Signed, Verified},
};

use super::{
    ar,
    confine::confine,
    deb,
    keyring::MAX_FILES,
    part::{Part, ReadAt, read_range},
    signature::{self, Certificates},
};

/// Runs the program; an error means that there is nobody to answer to.
pub fn run() -> io::Result<()> {
    let answer = inspect().unwrap_or_else(Answer::Failed);
    let packet = answer.to_packet().map_err(io::Error::other)?;
    send(io::stdout().as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

fn inspect() -> Result<Answer, Failure> {
    let package = Package::open().map_err(|error| unreadable(&error))?;
    confine().map_err(|error| {
        let detail = format!("wharf-inspect cannot shut itself in: {error}");
        Failure::new(Cause::Unavailable, detail)
    })?;
    let (certificates, question) = hear()?;
    let answer = match question {
        Request::Describe => deb::describe(&package, package.length).map(Answer::Described),
        Request::Verify {
            at,
            signature,
            allow_unsigned,
        } => {
            let trust = Trust {
                certificates,
                at,
                allow_unsigned,
            };
            let beside = signature.as_ref().map(|bytes| bytes.as_slice());
            trust.verify(&package, beside).map(Answer::Verified)
        }
        Request::Standing { at, certificate } => {
            signature::standing(&certificates, certificate.as_str(), at).map(|()| Answer::Stands)
        }
        Request::Look { at, number } => {
            signature::look(&certificates, number as usize, at).map(Answer::Certificate)
        }
        Request::Certificate { .. } => Err(broken("a certificate is no question")),
    };
    // Whatever was made of bytes that did not come is no judgement.
    match package.unread.get() {
        Some(error) => Ok(Answer::Unread(error.desc().into())),
        None => answer,
    }
}

/// The certificates, and what is asked about them.
fn hear() -> Result<(Certificates, Request), Failure> {
    let mut certificates = Certificates::default();
    let mut buffer = vec![0; MAX_FRAME];
    for _ in 0..=MAX_FILES {
        let length = recv(io::stdout().as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)
            .map_err(|error| broken(&error.to_string()))?;
        let frame = buffer
            .get(..length)
            .ok_or_else(|| broken("a frame is too long"))?;
        match decode(frame).map_err(|error| broken(&error.to_string()))? {
            Request::Certificate { name, bytes } => certificates.add(name.as_str(), &bytes)?,
            question => return Ok((certificates, question)),
        }
    }
    Err(broken("there are too many certificates"))
}

struct Package {
    length: u64,
    /// The first error of the device on which it lies.
    unread: OnceLock<Errno>,
}

impl Package {
    fn open() -> io::Result<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Self {
            // Of the standard library: on armhf libc's own fstat(2) fails for a file of 2 GiB, or of 2038.
            length: file.metadata()?.len(),
            unread: OnceLock::new(),
        })
    }
}

impl ReadAt for Package {
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

struct Trust {
    certificates: Certificates,
    at: u64,
    allow_unsigned: bool,
}

impl Trust {
    /// The framing first: what is no package at all is told as that, whoever signed it.
    fn verify(&self, package: &Package, beside: Option<&[u8]>) -> Result<Verified, Failure> {
        let layout = ar::layout(package, package.length)?;
        let signed = match (beside, &layout.origin) {
            (Some(signature), _) => {
                let whole = Part::new(package, 0..package.length);
                Some(self.judge(signature, whole, Form::Beside)?)
            }
            (None, Some(origin)) => {
                let signature = read_range(package, origin.clone()).map_err(|e| unreadable(&e))?;
                Some(self.judge(&signature, layout.signed(package), Form::DebOrigin)?)
            }
            (None, None) if self.allow_unsigned => None,
            (None, None) => {
                let detail = "there is no signature beside the package, and none in it";
                return Err(Failure::new(Cause::Unsigned, detail));
            }
        };
        Ok(Verified {
            digest: sha256(Part::new(package, 0..package.length)).map_err(|e| unreadable(&e))?,
            length: package.length,
            signed,
        })
    }

    fn judge(
        &self,
        signature: &[u8],
        content: impl Read + Send + Sync,
        form: Form,
    ) -> Result<Signed, Failure> {
        let good = signature::judge(&self.certificates, signature, content, self.at)?;
        Ok(Signed {
            certificate: good.certificate.to_hex().into(),
            signed_at: good.signed_at,
            form,
        })
    }
}

fn sha256(mut bytes: impl Read) -> io::Result<[u8; 32]> {
    let mut hash = HashAlgorithm::SHA256
        .context()
        .map_err(io::Error::other)?
        .for_digest();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = bytes.read(&mut buffer)?;
        match buffer.get(..length) {
            Some([]) | None => break,
            Some(bytes) => hash.update(bytes),
        }
    }
    let mut digest = [0; 32];
    hash.digest(&mut digest).map_err(io::Error::other)?;
    Ok(digest)
}

fn unreadable(error: &io::Error) -> Failure {
    let detail = format!("the package cannot be read: {error}");
    Failure::new(Cause::Unavailable, detail)
}

fn broken(why: &str) -> Failure {
    let detail = format!("wharf-inspect was asked what it does not understand: {why}");
    Failure::new(Cause::Unavailable, detail)
}
