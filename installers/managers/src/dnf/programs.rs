//! The programs of rpm and dnf: how they are started, and how their processes are recognised.

use std::{
    ffi::OsStr,
    io,
    process::{Command, Output},
};

use wharf_frames::{Cause, Failure};
use wharf_root::{
    Root, process,
    session::{Role, RunningProcess},
};

/// `dnf4.py` gives itself this name when it begins to change the device.
const WORKING: &str = "dnf-transaction";

/// A program of this root. dnf 5 loads no plugin that adds a command: that takes 4 ms, and no such command is used. Plugins of
/// libdnf5, which an administrator configures, lie elsewhere.
pub(super) fn program(root: &Root, name: &str) -> Command {
    let mut command = process::program(root, name);
    command.env("DNF5_PLUGINS_DIR", "/nonexistent");
    command
}

/// Runs a program that changes nothing, and returns its output.
pub(super) fn ask<S: AsRef<OsStr>>(
    root: &Root,
    name: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Result<Output, Failure> {
    process::ask(root, name, arguments).map_err(|error| not_started(name, &error))
}

/// The version of a program, from the first line of `--version`: `4.14.0`, `dnf5 version 5.4.6.0`, `RPM version 4.18.0`.
pub(super) fn version(root: &Root, name: &str) -> Result<String, Failure> {
    let output = ask(root, name, ["--version"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    Ok(words.next_back().unwrap_or_default().to_owned())
}

/// A program could not be started.
pub(super) fn not_started(program: &str, error: &io::Error) -> Failure {
    Failure::new(
        Cause::PackageManager,
        format!("cannot run {program}: {error}"),
    )
}

/// A program gave no answer that can be read.
pub(super) fn unavailable(what: &str, output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr);
    let detail = format!("`{what}` gave no answer: {}", said.trim());
    Failure::new(Cause::Unavailable, detail)
}

/// The role of a process. dnf 5 has no name for its work: it changes nothing before consent.
pub(super) fn role(process: &RunningProcess) -> Option<Role> {
    role_of(&process.name(), &process.command_line())
}

/// rpm runs a script from a file, `/var/tmp/rpm-tmp.XXXXXX`, in the process group of the tool.
fn role_of(name: &str, command_line: &[u8]) -> Option<Role> {
    let arguments = || command_line.split(|byte| *byte == 0);
    let is_file_of_script = |argument: &[u8]| {
        let name = argument.rsplit(|byte| *byte == b'/').next();
        argument.starts_with(b"/") && name.is_some_and(|name| name.starts_with(b"rpm-tmp."))
    };
    let has = |words: &[&[u8]]| arguments().any(|argument| words.contains(&argument));
    match name {
        _ if arguments().any(is_file_of_script) => Some(Role::Script),
        WORKING => Some(Role::Working),
        "rpm" if has(&[b"-U", b"-e"]) && !has(&[b"--test"]) => Some(Role::Working),
        "rpm" | "dnf" | "dnf5" => Some(Role::Idle),
        _ if arguments().any(|argument| argument.ends_with(b"/dnf/dnf4.py")) => Some(Role::Idle),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_recognised_by_its_name_and_its_arguments() {
        for (name, arguments, role) in [
            (
                "sh",
                "/bin/sh\0/var/tmp/rpm-tmp.a1B2c3\x001\0",
                Some(Role::Script),
            ),
            (
                "perl",
                "/usr/bin/perl\0/mnt/tmp/rpm-tmp.x\x002\0",
                Some(Role::Script),
            ),
            (
                "rpm",
                "rpm\0-U\0--replacepkgs\0/a.rpm\0",
                Some(Role::Working),
            ),
            ("rpm", "rpm\0-q\0--\0acme\0", Some(Role::Idle)),
            ("dnf5", "dnf5\0replay\0/x\0", Some(Role::Idle)),
            ("rpm", "rpm\0-U\0--test\0/a.rpm\0", Some(Role::Idle)),
            (
                "python3",
                "python3\0-I\0/run/wharf-installer/dnf/dnf4.py\0install\0/a.rpm\0",
                Some(Role::Idle),
            ),
            (
                "dnf-transaction",
                "python3\0-I\0/run/wharf-installer/dnf/dnf4.py\0install\0/a.rpm\0",
                Some(Role::Working),
            ),
            ("systemctl", "systemctl\0start\0acme.service\0", None),
            ("vi", "vi\0rpm-tmp.notes\0", None),
            ("gone", "", None),
        ] {
            assert_eq!(role_of(name, arguments.as_bytes()), role, "{arguments:?}");
        }
    }
}
