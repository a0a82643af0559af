//! The service of root and its jobs. `wharf-installer` answers the job socket. `wharf-job` does one job, also after the end of
//! wharf-installer. Both start wharf-inspect, which has no privilege, to look into packages. This crate does not link the
//! parsers.
//!
//! A package's way through the modules:
//!
//! - [`service`]: the job socket, and who may connect. [`packets`]: its frames. [`answer`]: each question.
//! - [`staging`]: root's folder, which hands out write-only descriptors. [`room`]: the room on its disk. [`lease`]: whether
//!   a writer is left.
//! - `seal`: judges whether a file is a package, by `judge` and `clock`. [`inspector`]: asks wharf-inspect. [`keyring`]: the
//!   certificates of signers, as bytes. [`verdict`]: the stored judgement.
//! - [`bundle`]: several packages in one file, from the verdict to the steps of a job.
//! - [`policy`]: the rules of the administrator. [`ledger`]: the installed versions, so that nothing older comes back.
//!   `permission`: asks both. [`not_done`]: a refusal, or "not now".
//! - [`queue`]: jobs in their order. [`records`]: their records. [`job`]: one job, in wharf-job, with `step` and `recovery`.
//!   [`progress`]: its progress. [`back`]: the kept files of packages. `keep`: kept configuration files. `job/back`: the way
//!   back of a job that failed.
//! - [`keys`]: the keyring, for an administrator. `allow`: new scopes in the policy. [`inspected`]: the contents of a bundle.
//! - [`device`]: package manager, services and wharf-inspect together. Package managers are in the crate [`wharf_managers`],
//!   services in [`wharf_services`]. Both build on [`wharf_root`]: files and programs of a root, and every bound.
//! - [`log`]: lines of jobs in the journal.
//!
//! # How to talk to it
//!
//! Connect to `/run/wharf-installer.sock` (SOCK_SEQPACKET) as wharfd or root. Each packet is one
//! [`wharf_frames::installer::InstallerRequest`], each answer one [`wharf_frames::installer::InstallerReply`]. `watch` answers at each
//! change of a job until its end, and `staged` brings a write-only descriptor. A question must not bring descriptors.
//! `Refused` is final, `NotNow` is temporary; a connection that is closed without an answer means "not now" as well.
//! The order for a package is `stage`, write, fsync, close, `seal`, `install`, `watch`, and `discard` after wharfd has
//! stored the outcome. Each question may be repeated after a crash of either side: a seal returns the recorded verdict,
//! a job is done once for each operation, and a judged name must be discarded before it is staged again.

mod allow;
pub mod answer;
pub mod back;
pub mod bundle;
pub mod clock;
pub mod device;
mod inner;
pub mod inspected;
pub mod inspector;
pub mod job;
mod judge;
mod keep;
pub mod keyring;
pub mod keys;
mod lease;
pub mod ledger;
mod log;
pub mod not_done;
mod packets;
mod permission;
pub mod policy;
mod progress;
pub mod queue;
pub mod records;
pub mod room;
mod seal;
pub mod service;
pub mod staging;
pub mod verdict;

pub use wharf_root::Root;
