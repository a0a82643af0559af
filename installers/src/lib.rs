//! All that wharfd does as root: staging, trust, policy, package managers. Two programs: `wharf-installer` answers the
//! job socket, and `wharf-job` does one job and does not end with it. Both start wharf-inspect, which has no privilege, to
//! look into packages: the parsers are in its crate, which this one does not link.
//!
//! The way of a package, and where it is in the code:
//!
//! - [`service`]: the job socket: who may connect. [`packets`]: frames on it. [`answer`]: each question.
//! - [`staging`]: root's folder, which hands out write-only descriptors; [`room`]: what its disk has for them; [`lease`]:
//!   whether anybody could still write.
//! - `seal`: what has to hold before a file is a package, by which `clock`; [`inspector`]: asks wharf-inspect about it;
//!   [`keyring`]: the certificates of those who may sign, as bytes; [`verdict`]: what was found.
//! - [`policy`]: what root allows; [`ledger`]: what was ever installed, so that nothing older comes back;
//!   `permission`: what both say to one question.
//! - [`queue`]: jobs in their order; [`journal`]: their records; [`job`]: one of them, done by wharf-job;
//!   [`session`]: its processes; [`progress`]: how far it is; `file_systems`: what its disks must have at the end.
//! - [`keys`]: the keyring, as an administrator sees and changes it; `allow`: new scopes in the policy.
//! - [`backend`]: what every package manager is to us; [`debian`]: apt and dpkg.
//! - `systemd`: the services of packages: held back until Activate.
//! - [`root`]: where files lie; [`durable`]: how small ones are written; [`users`]; [`process`]: programs of the root;
//!   [`limits`]: every bound; [`log`]: what the journal is told of jobs.
//!
//! # How to talk to it
//!
//! Connect to `/run/wharf-installer.sock` (SOCK_SEQPACKET) as wharfd or root. Each packet is one
//! [`wharf_frames::installer::Request`], each answer one [`wharf_frames::installer::Reply`]; `watch` answers at each
//! change of a job until it has ended, and `staged` brings a write-only descriptor. No question brings descriptors.
//! `Refused` stays so, `NotNow` may pass; a connection that is closed without an answer means "not now" as well.
//! A package goes: `stage`, write, fsync, close, `seal`, `install`, `watch`, and `discard` once wharfd has stored the
//! outcome. Each may be asked again after a crash of either side: a seal gives the recorded verdict, an operation's
//! job is done once, a judged name has to be discarded before it is staged anew.

mod allow;
pub mod answer;
pub mod backend;
pub mod clock;
pub mod debian;
mod durable;
mod file_systems;
mod inner;
pub mod inspector;
pub mod job;
pub mod journal;
pub mod keyring;
pub mod keys;
mod lease;
pub mod ledger;
pub mod limits;
mod log;
mod packets;
mod permission;
pub mod policy;
mod process;
mod progress;
pub mod queue;
pub mod room;
pub mod root;
mod seal;
pub mod service;
mod session;
#[cfg(feature = "simulated")]
pub mod simulated;
pub mod staging;
mod systemd;
pub mod users;
pub mod verdict;

use std::env;

use wharf_fault as fault;
use wharf_frames::{Cause, Failure, inspect::Format};

use crate::{
    backend::Installer,
    debian::Apt,
    inspector::Inspector,
    policy::{Backend, Policy},
};
pub use crate::{process::usual_file_limit, root::Root};

/// The package manager that policy names.
pub fn open_backend(root: &Root, policy: &Policy) -> Result<Box<dyn Installer>, Failure> {
    Ok(match policy.backend {
        Backend::Apt => Box::new(Apt::open(root, policy)?),
        #[cfg(feature = "simulated")]
        Backend::Simulated => Box::new(simulated::Simulated::open(root)?),
    })
}

/// wharf-inspect, which lies beside this program and runs as its own user of the root. It looks into packages of the
/// package manager that policy names.
pub fn open_inspector(root: &Root, policy: &Policy) -> Result<Inspector, Failure> {
    let unavailable = |why: String| Failure::new(Cause::Unavailable, why);
    let user =
        users::user(root, "wharf-inspect").map_err(|error| unavailable(error.to_string()))?;
    let program = env::current_exe()
        .map_err(|error| unavailable(format!("cannot tell where this program lies: {error}")))?;
    Ok(Inspector {
        program: program.with_file_name("wharf-inspect"),
        uid: user.uid,
        gid: user.gid,
        time_limit: limits::INSPECTION,
        format: match policy.backend {
            Backend::Apt => Format::Deb,
            #[cfg(feature = "simulated")]
            Backend::Simulated => Format::Simulated,
        },
    })
}
