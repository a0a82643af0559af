//! What this process gives up before it reads anything from outside. All of it as far as the kernel goes:
//! an older one is no reason not to download, since the service's own sandbox is the first wall.

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

/// What reading a CA bundle and resolving a name takes: OpenSSL's and the C library's files, and those of its
/// name service modules. Of /etc only these, since wharfd's own keys lie there as well.
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

/// Locks the process in. Before any other thread is there.
pub fn enter() {
    let _ = prctl::set_no_new_privs();
    // User Name and Password are in memory: no core dump, no debugger of the same user.
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // A file size limit (`LimitFSIZE=`) then fails the write, which is told as a full disk, and does not kill.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
    let _ = restrict();
}

/// No file is written or made, none but these is read, no port is bound, no process outside is reached.
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

/// Where OpenSSL is told to look for CAs instead.
fn openssl_paths() -> impl Iterator<Item = PathBuf> {
    let files = env::var_os("SSL_CERT_FILE").into_iter();
    let folders = env::var_os("SSL_CERT_DIR").into_iter();
    let split = |folders: OsString| env::split_paths(&folders).collect::<Vec<_>>();
    files.map(PathBuf::from).chain(folders.flat_map(split))
}
