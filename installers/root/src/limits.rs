//! Every bound of the programs that run as root, in one table. An administrator sets further bounds in the policy.

use std::time::Duration;

/// Connections to the job socket, of all users.
pub const CONNECTIONS: usize = 16;
/// Connections of one user.
pub const CONNECTIONS_OF_A_USER: usize = 8;
/// Connections of one user, with those that wait for a place and those that are being closed.
pub const CONNECTIONS_HELD_OF_A_USER: usize = 32;
/// Time for a connection to make room for another. After that the other one gets "not now".
pub const MAKING_ROOM: Duration = Duration::from_secs(1);
/// Timeout of a connected client that asks nothing.
pub const CLIENT_SILENCE: Duration = Duration::from_secs(30);
/// Timeout of a client that does not read its answer.
pub const CLIENT_STUCK: Duration = Duration::from_secs(5);
/// Idle time after which the service ends, if systemd keeps the socket.
pub const IDLE: Duration = Duration::from_secs(60);

/// Time to wait for the last writer of a staged file. After that the answer is "not now".
pub const WRITERS: Duration = Duration::from_secs(1);
/// Bytes that a file system may allocate beyond the end of a file.
pub const ALLOCATED_AHEAD: u64 = 1024 * 1024;
/// Time limit of wharf-inspect for one package.
pub const INSPECTION: Duration = Duration::from_secs(120);
/// Number of failed inspections of one file before it is refused.
pub const INSPECTIONS: u32 = 4;
/// Part of the disk that stays free for the package database, in percent.
pub const RESERVE_PERCENT: u64 = 5;
/// Bounds of that part. No package database grows by more than a GiB, on a disk of any size.
pub const RESERVE_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024 * 1024..=1024 * 1024 * 1024;

/// Open jobs.
pub const OPEN_JOBS: usize = 32;
/// Ended jobs that are kept.
pub const ENDED_JOBS: usize = 256;
/// Time for which an ended job is kept at least, if there are fewer. wharfd asks within that time.
pub const ENDED_JOBS_AGE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Attempts at a job in one boot.
pub const ATTEMPTS_A_BOOT: usize = 2;
/// Attempts at a job.
pub const ATTEMPTS: usize = 4;
/// Retries in one attempt, if it is unknown whether an interrupted job may continue.
pub const JUDGEMENTS: u32 = 3;
/// The pause between two of them.
pub const JUDGEMENT_PAUSE: Duration = Duration::from_secs(5);

/// Digests that are remembered for each package, of files that were sent back.
pub const SENT_BACK: usize = 16;
/// The number of times that a file may be sent back. After that it is refused.
pub const TIMES_SENT_BACK: u32 = 2;
/// Paths of the configuration of one package that are kept, with the absent ones beside its files.
pub const CONFIGURATION_PATHS: usize = 8192;
/// Bytes of these files.
pub const CONFIGURATION_BYTES: u64 = 64 * 1024 * 1024;

/// Time to wait for processes that a maintainer script left, before the result is checked.
pub const LEFT_BEHIND: Duration = Duration::from_secs(5);
/// Unit files of one package.
pub const UNIT_FILES: usize = 4096;
/// Time for a unit to start. The default of systemd is 90 seconds.
pub const UNIT_START: Duration = Duration::from_secs(180);
/// Time for a unit to stop. systemd usually has a shorter limit.
pub const UNIT_STOP: Duration = Duration::from_secs(180);
/// Time for a daemon of a maintainer script to end after SIGTERM.
pub const DAEMON_STOP: Duration = Duration::from_secs(10);
/// Time for which a service must keep running if systemd does not see it become ready.
pub const UNIT_STEADY: Duration = Duration::from_secs(3);
/// The pause between two looks at services that have to stay up.
pub const UNIT_POLL: Duration = Duration::from_secs(1);
/// Time to fetch the lists of a package manager's sources.
pub const REFRESH: Duration = Duration::from_secs(600);
/// Bytes that are kept of the output of a package manager and its scripts.
pub const OUTPUT: u64 = 64 * 1024;
/// Lines of it for the journal.
pub const OUTPUT_LINES: usize = 256;
/// Bytes of the plan that a package manager announces before it changes the device. A longer plan is refused.
pub const ANNOUNCED: usize = 64 * 1024;
/// Bytes of a policy file, a record or a passwd file. A longer file is refused.
pub const FILE: u64 = 1024 * 1024;
