//! The programs of apt and dpkg: starts them, and recognises their processes.

use std::{
    ffi::OsStr,
    io,
    process::{Command, Output},
};

use wharf_root::{
    Root, process,
    session::{Role, RunningProcess},
};

/// The programs that may be at work in a job, also those that scripts and hooks call to write in a database of dpkg or
/// debconf. The kernel cuts a name to 15 bytes.
const NAMES: [&str; 9] = [
    "apt",
    "apt-get",
    "dpkg",
    "dpkg-deb",
    "dpkg-divert",
    "dpkg-preconfigu",
    "dpkg-split",
    "dpkg-statoverri",
    "dpkg-trigger",
];

/// A maintainer script has one of these paths. dpkg runs it by that path, or debconf does, with the path among its
/// arguments. wharf-job runs a kept postrm.
const SCRIPTS: [&[u8]; 3] = [
    b"/var/lib/dpkg/info/",
    b"/var/lib/dpkg/tmp.ci/",
    b"/var/lib/wharf-installer/postrms/",
];

/// The folder of the programs with which apt downloads.
const METHODS: &[u8] = b"/usr/lib/apt/methods/";

/// The options with which dpkg changes packages. apt starts it with other options as well, for questions.
const WORK: [&[u8]; 7] = [
    b"--unpack",
    b"--configure",
    b"--install",
    b"-i",
    b"--remove",
    b"--purge",
    b"--triggers-only",
];

/// A program of this root, set to ask no questions: no user can answer.
pub(super) fn program(root: &Root, name: &str) -> Command {
    let mut command = process::program(root, name);
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("NEEDRESTART_SUSPEND", "1")
        .env("APT_LISTCHANGES_FRONTEND", "none")
        .env("APT_LISTBUGS_FRONTEND", "none");
    command
}

/// Runs a program that changes nothing, and returns its output.
pub(super) fn ask<S: AsRef<OsStr>>(
    root: &Root,
    name: &str,
    arguments: impl IntoIterator<Item = S>,
) -> io::Result<Output> {
    program(root, name).args(arguments).output()
}

/// The role of a process.
pub(super) fn role(process: &RunningProcess) -> Option<Role> {
    role_of(&process.name(), &process.command_line())
}

/// As [`role`], for an apt without consent that is not wanted any more. apt waits, or its methods download, unless a hook of
/// the administrator runs: nobody knows what that changes.
pub(super) fn role_before_consent(process: &RunningProcess) -> Option<Role> {
    role_before_consent_of(&process.name(), &process.command_line())
}

fn role_before_consent_of(name: &str, command_line: &[u8]) -> Option<Role> {
    let is_known = command_line.is_empty() || command_line.starts_with(METHODS);
    let unknown = (!is_known).then_some(Role::Working);
    role_of(name, command_line).or(unknown)
}

fn role_of(name: &str, command_line: &[u8]) -> Option<Role> {
    let arguments = || command_line.split(|byte| *byte == 0);
    let is_script =
        arguments().any(|argument| SCRIPTS.iter().any(|folder| argument.starts_with(folder)));
    if is_script {
        return Some(Role::Script);
    }
    if name == "dpkg" && arguments().any(|argument| WORK.contains(&argument)) {
        return Some(Role::Working);
    }
    NAMES.contains(&name).then_some(Role::Idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_of_the_administrator_counts_as_work_before_consent() {
        for (name, arguments, role) in [
            ("http", "/usr/lib/apt/methods/http\0", None),
            ("gone", "", None),
            (
                "apt-get",
                "apt-get\0-y\0install\0/a.deb\0",
                Some(Role::Idle),
            ),
            ("sh", "sh\0-c\0etckeeper pre-install\0", Some(Role::Working)),
            ("git", "git\0commit\0", Some(Role::Working)),
        ] {
            let found = role_before_consent_of(name, arguments.as_bytes());
            assert_eq!(found, role, "{arguments:?}");
        }
    }

    #[test]
    fn a_process_is_recognised_by_its_name_and_its_arguments() {
        for (name, arguments, role) in [
            ("apt-get", "apt-get\0-y\0remove\0acme\0", Some(Role::Idle)),
            ("dpkg", "dpkg\0--print-architecture\0", Some(Role::Idle)),
            ("dpkg-deb", "dpkg-deb\0--control\0", Some(Role::Idle)),
            (
                "dpkg-statoverri",
                "dpkg-statoverride\0--remove\0/acme\0",
                Some(Role::Idle),
            ),
            (
                "dpkg-preconfigu",
                "/usr/bin/perl\0-w\0/usr/sbin/dpkg-preconfigure\0--apt\0",
                Some(Role::Idle),
            ),
            ("dpkg-query", "dpkg-query\0--show\0", None),
            (
                "dpkg",
                "/usr/bin/dpkg\0--status-fd\09\0--unpack\0/a.deb\0",
                Some(Role::Working),
            ),
            (
                "acme.postinst",
                "/bin/sh\0/var/lib/dpkg/info/acme.postinst\0configure\0",
                Some(Role::Script),
            ),
            (
                "acme.preinst",
                "/bin/sh\0/var/lib/dpkg/tmp.ci/preinst\0install\0",
                Some(Role::Script),
            ),
            (
                "frontend",
                "/usr/bin/perl\0-w\0/usr/share/debconf/frontend\0/var/lib/dpkg/info/acme.config\0",
                Some(Role::Script),
            ),
            (
                "acme.postrm",
                "/bin/sh\0/var/lib/wharf-installer/postrms/acme.postrm\0purge\0",
                Some(Role::Script),
            ),
            ("systemctl", "systemctl\0start\0acme.service\0", None),
            ("sh", "sh\0-c\0echo --unpack\0", None),
            ("gone", "", None),
        ] {
            assert_eq!(role_of(name, arguments.as_bytes()), role, "{arguments:?}");
        }
    }
}
