//! The privileges that the process drops before it reads untrusted data. An older kernel may support only a part of
//! it; the sandbox of the service is the first layer.

use std::{env, ffi::OsString, path::PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
    signal::{SigSet, Signal},
};

/// The files that OpenSSL, the C library and its name service modules need. Other files of /etc stay unreadable,
/// since wharfd's keys are there.
const READABLE: [&str; 18] = [
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/lib",
    "/lib64",
    "/etc/ssl",
    "/etc/pki",
    "/etc/crypto-policies",
    "/etc/ca-certificates",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
];

/// Enters the sandbox. Call it while the process has one thread.
pub fn enter() {
    let _ = prctl::set_no_new_privs();
    // The memory holds User Name and Password: forbid core dumps and debuggers of the same user.
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // A file size limit (`LimitFSIZE=`) then fails the write as a full disk, instead of killing the process.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
    let _ = restrict();
}

/// Forbids to write files, to read other files than `READABLE`, to bind TCP ports, and to reach other processes by
/// signals or abstract sockets.
fn restrict() -> Result<(), RulesetError> {
    let abi = ABI::V6;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(readable(), read))?
        .restrict_self()?;
    Ok(())
}

fn readable() -> impl Iterator<Item = PathBuf> {
    let fixed = READABLE.into_iter().map(PathBuf::from);
    fixed.chain(openssl_paths())
}

/// The CA paths that the environment sets for OpenSSL.
fn openssl_paths() -> impl Iterator<Item = PathBuf> {
    let files = env::var_os("SSL_CERT_FILE").into_iter();
    let folders = env::var_os("SSL_CERT_DIR").into_iter();
    let split = |folders: OsString| env::split_paths(&folders).collect::<Vec<_>>();
    files.map(PathBuf::from).chain(folders.flat_map(split))
}
