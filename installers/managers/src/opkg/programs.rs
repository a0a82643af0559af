//! The processes of opkg, and its architectures.

use std::path::Path;

use wharf_frames::{Cause, Failure};
use wharf_root::{Root, process, session::Role};

use super::{configuration::by_priority, run::not_started};

/// The names of scripts.
const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];

/// `opkg 0.6.3`. It prints `opkg version 0.6.3 (libsolv 0.7.23)`.
pub(super) fn version(root: &Root) -> Result<String, Failure> {
    let output = process::ask(root, "opkg", ["--version"]).map_err(|error| not_started(&error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace();
    let is_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
    Ok(format!(
        "opkg {}",
        words.find(is_number).unwrap_or_default()
    ))
}

/// Each architecture that opkg installs by its own defaults, the best one last. It prints `arch x86_64 10`, in any order.
pub(super) fn architectures(root: &Root) -> Result<Vec<String>, Failure> {
    let output = process::ask(root, "opkg", ["print-architecture"]);
    let output = output.map_err(|error| not_started(&error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found =
        text.lines().filter_map(
            |line| match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["arch", name, priority] => Some((priority.parse().ok()?, name.to_owned())),
                _ => None,
            },
        );
    let found = by_priority(found.collect());
    match found.is_empty() {
        false => Ok(found),
        true => Err(Failure::new(
            Cause::Unavailable,
            format!(
                "`opkg print-architecture` below {} gave no answer: {}",
                root.folder().display(),
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        )),
    }
}

/// The role of a process with this name and command line. `info` is the folder of scripts.
pub(super) fn role_of(name: &str, command_line: &[u8], info: &Path) -> Option<Role> {
    let arguments: Vec<String> = command_line
        .split(|byte| *byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect();
    let is_script = |argument: &String| {
        let path = Path::new(argument.split(' ').next().unwrap_or_default());
        let file = path
            .file_name()
            .and_then(|it| it.to_str())
            .unwrap_or_default();
        let is_new = SCRIPTS.contains(&file)
            && path
                .components()
                .any(|it| it.as_os_str().to_string_lossy().starts_with("opkg-"));
        let (_, script) = file.rsplit_once('.').unwrap_or_default();
        is_new || SCRIPTS.contains(&script) && path.starts_with(info)
    };
    if arguments.iter().any(is_script) {
        return Some(Role::Script);
    }
    let is_plan = |argument: &String| argument == "--noaction" || argument == "--download-only";
    let is_plan = arguments.iter().any(is_plan);
    let works = ["install", "remove", "upgrade", "configure"];
    let works = arguments
        .iter()
        .any(|argument| works.contains(&argument.as_str()));
    match name {
        "opkg" | "opkg-cl" if works && !is_plan => Some(Role::Working),
        "opkg" | "opkg-cl" => Some(Role::Idle),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_recognised_by_its_name_and_its_arguments() {
        let info = Path::new("/var/lib/opkg/info");
        for (name, arguments, role) in [
            (
                "opkg",
                "opkg\0-f\0/run/a.conf\0install\0/a\0",
                Some(Role::Working),
            ),
            (
                "opkg",
                "opkg\0-f\0/run/a.conf\0--noaction\0install\0/a\0",
                Some(Role::Idle),
            ),
            (
                "opkg",
                "opkg\0-f\0/run/a.conf\0--download-only\0install\0/a\0",
                Some(Role::Idle),
            ),
            ("opkg", "opkg\0print-architecture\0", Some(Role::Idle)),
            (
                "preinst",
                "/bin/sh\0/tmp/opkg-15qNVi/acme-lH8R8r/preinst\0install\0",
                Some(Role::Script),
            ),
            (
                "sh",
                "/bin/sh\0-c\0//var/lib/opkg/info/acme.postinst configure\0",
                Some(Role::Script),
            ),
            (
                "acme.prerm",
                "/bin/sh\0/var/lib/opkg/info/acme.prerm\0remove\0",
                Some(Role::Script),
            ),
            ("sh", "/bin/sh\0/opt/opkg/info/acme.prerm\0remove\0", None),
            ("sh", "sh\0-c\0IFS= read -r options\0install\0", None),
            ("preinst", "/usr/bin/preinst\0", None),
            ("gone", "", None),
        ] {
            assert_eq!(
                role_of(name, arguments.as_bytes(), info),
                role,
                "{arguments:?}"
            );
        }
    }
}
