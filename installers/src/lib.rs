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
//!   [`progress`]: how far it is.
//! - [`keys`]: the keyring, as an administrator sees and changes it; `allow`: new scopes in the policy.
//! - [`device`]: package manager, services and wharf-inspect together. Package managers are in the crate [`wharf_managers`],
//!   services in [`wharf_services`]. Both build on [`wharf_root`]: files and programs of a root, and every bound.
//! - [`log`]: what the journal is told of jobs.
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
pub mod clock;
pub mod device;
mod inner;
pub mod inspector;
pub mod job;
pub mod journal;
pub mod keyring;
pub mod keys;
mod lease;
pub mod ledger;
mod log;
mod packets;
mod permission;
pub mod policy;
mod progress;
pub mod queue;
pub mod room;
mod seal;
pub mod service;
pub mod staging;
pub mod verdict;

pub use wharf_root::Root;
