//! Every bound of the programs that run as root, in one table. An administrator sets further bounds in the policy.

use std::time::Duration;

/// Connections to the job socket, of all users together.
pub const CONNECTIONS: usize = 16;
/// Connections of one user.
pub const CONNECTIONS_OF_A_USER: usize = 8;
/// Connections of one user with those that have no place yet, or none any more.
pub const CONNECTIONS_HELD_OF_A_USER: usize = 32;
/// A connection that has to make room for another may take so long; else that other one is told "not now".
pub const MAKING_ROOM: Duration = Duration::from_secs(1);
/// A client that has connected and says nothing is let go after this.
pub const CLIENT_SILENCE: Duration = Duration::from_secs(30);
/// A client that does not take its answer is let go after this.
pub const CLIENT_STUCK: Duration = Duration::from_secs(5);
/// Where systemd keeps the socket, a service that nobody asked anything for so long ends.
pub const IDLE: Duration = Duration::from_secs(60);

/// A descriptor of a staged file that is still open for writing is waited for so long, then the answer is "not now".
pub const WRITERS: Duration = Duration::from_secs(1);
/// A file system may allocate so much beyond the end of a file by itself.
pub const ALLOCATED_AHEAD: u64 = 1024 * 1024;
/// wharf-inspect may take this long for one package.
pub const INSPECTION: Duration = Duration::from_secs(120);
/// So often one file may break wharf-inspect, or be more than the device can read, before that is its verdict.
pub const INSPECTIONS: u32 = 4;
/// Of the disk, this stays free for the package database: so many in a hundred, within so many bytes.
pub const RESERVE_PERCENT: u64 = 5;
/// See [`RESERVE_PERCENT`]. No package database grows by more than a GiB, however large the disk.
pub const RESERVE_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024 * 1024..=1024 * 1024 * 1024;

/// Jobs that are accepted and have not ended.
pub const OPEN_JOBS: usize = 32;
/// Jobs that have ended and are remembered.
pub const ENDED_JOBS: usize = 256;
/// How long at least an ended job is remembered when there are fewer: wharfd asks within that time.
pub const ENDED_JOBS_AGE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Attempts at one job within one boot.
pub const ATTEMPTS_A_BOOT: usize = 2;
/// Attempts at one job.
pub const ATTEMPTS: usize = 4;
/// Questions in one attempt whether an interrupted job may continue, while nobody can answer.
pub const JUDGEMENTS: u32 = 3;
/// How long between two of them.
pub const JUDGEMENT_PAUSE: Duration = Duration::from_secs(5);

/// What a maintainer script leaves running is waited for so long before the device is looked at.
pub const LEFT_BEHIND: Duration = Duration::from_secs(5);
/// Files of one package that say something about units.
pub const UNIT_FILES: usize = 4096;
/// A unit may take so long to start; systemd's own limit for one is usually a minute and a half.
pub const UNIT_START: Duration = Duration::from_secs(180);
/// A unit may take so long to stop, which systemd usually limits as well.
pub const UNIT_STOP: Duration = Duration::from_secs(180);
/// A daemon that a maintainer script forked may take so long to end when asked.
pub const DAEMON_STOP: Duration = Duration::from_secs(10);
/// A service that counts as started when its program was has to run on for so long.
pub const UNIT_STEADY: Duration = Duration::from_secs(3);
/// Of what a package manager and its scripts print, this much is kept.
pub const OUTPUT: u64 = 64 * 1024;
/// Of that, so many lines go to the journal.
pub const OUTPUT_LINES: usize = 256;
/// Bytes of the plan that a package manager announces before it changes the device. A longer plan is refused.
pub const ANNOUNCED: usize = 64 * 1024;
/// A policy file, a record of ours, a passwd file: longer ones are refused.
pub const FILE: u64 = 1024 * 1024;
