//! The files of installed packages, and their owners.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use wharf_frames::{Cause, Failure, PackageName};
use wharf_root::{Owners, Root, merged};

use super::{
    dpkg::{is_absent, not_started},
    programs,
};

/// The packages that own these paths below the root, by dpkg's whole database. A path in `usr/lib` is also looked up in
/// `/lib`, where a package may still have it. A removed package owns nothing: its configuration is a leftover.
pub(super) fn owners(root: &Root, paths: &BTreeSet<String>) -> Result<Owners, Failure> {
    let spelled = paths.iter().flat_map(|path| {
        let unmerged = path.strip_prefix("usr/lib/").map(|it| format!("/lib/{it}"));
        [Some(format!("/{path}")), unmerged].into_iter().flatten()
    });
    let patterns = spelled.map(|path| without_patterns(&path));
    let owners = owned(&ask_dpkg(root, &["-S"], patterns)?);
    let packages: BTreeSet<&String> = owners.values().flatten().collect();
    if packages.is_empty() {
        return Ok(BTreeMap::new());
    }
    let states = ask_dpkg(root, &["-W", STATES], packages.into_iter().cloned())?;
    Ok(present(owners, &states))
}

const STATES: &str = "-f=${binary:Package}\\t${db:Status-Status}\\n";

/// The output of dpkg-query for these arguments.
fn ask_dpkg(
    root: &Root,
    options: &[&str],
    arguments: impl Iterator<Item = String>,
) -> Result<String, Failure> {
    let options = options.iter().chain(&["--"]).map(|it| (*it).to_owned());
    let arguments: Vec<String> = options.chain(arguments).collect();
    let output = programs::ask(root, "dpkg-query", &arguments)
        .map_err(|error| not_started("dpkg-query", &error))?;
    // 1: one of them is unknown.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let detail = format!(
            "`dpkg-query {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        return Err(Failure::new(Cause::Unavailable, detail));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The owners without removed packages, and without architectures.
fn present(owners: Owners, states: &str) -> Owners {
    let states = states.lines().filter_map(|line| line.split_once('\t'));
    let absent: BTreeSet<&str> = states
        .filter(|(_, state)| is_absent(state))
        .map(|(package, _)| package)
        .collect();
    let present = owners.into_iter().map(|(path, packages)| {
        let there = packages
            .iter()
            .filter(|package| !absent.contains(package.as_str()));
        let names = there.filter_map(|package| package.split(':').next());
        (path, names.map(str::to_owned).collect::<BTreeSet<_>>())
    });
    present
        .filter(|(_, packages)| !packages.is_empty())
        .collect()
}

/// Escapes the characters of a pattern.
fn without_patterns(path: &str) -> String {
    let mut plain = String::new();
    for character in path.chars() {
        if "*?[]\\".contains(character) {
            plain.push('\\');
        }
        plain.push(character);
    }
    plain
}

/// `acme, other:amd64: /lib/systemd/system/acme.service`
fn owned(lines: &str) -> Owners {
    let mut owners = Owners::new();
    for line in lines.lines() {
        let Some((packages, path)) = line.split_once(": /") else {
            continue;
        };
        if packages.contains("diversion by") || packages.starts_with("local diversion") {
            continue;
        }
        let owners = owners.entry(merged(path)).or_default();
        owners.extend(packages.split(", ").map(str::to_owned));
    }
    owners
}

/// Visits the paths that dpkg lists for an installed package. Reads dpkg's own file, since dpkg-query reads the whole
/// database. The name of that file has the architecture if the package can be installed for several (`Multi-Arch: same`).
pub(super) fn listed(
    root: &Root,
    name: &PackageName,
    architecture: &str,
    visit: &mut dyn FnMut(&Path),
) -> Result<(), Failure> {
    for name in [name.to_string(), format!("{name}:{architecture}")] {
        let list = root.path(format!("var/lib/dpkg/info/{name}.list"));
        visit_lines(root, &list, visit).map_err(|error| {
            let detail = format!("cannot read {}: {error}", list.display());
            Failure::new(Cause::Unavailable, detail)
        })?;
    }
    Ok(())
}

fn visit_lines(root: &Root, list: &Path, visit: &mut dyn FnMut(&Path)) -> io::Result<()> {
    let lines = match File::open(list) {
        Ok(file) => BufReader::new(file).split(b'\n'),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for line in lines {
        let line = line?;
        let below = line.strip_prefix(b"/").unwrap_or(&line);
        // The root itself. Beside it is the system of another root.
        if below != b"." {
            visit(&root.path(OsStr::from_bytes(below)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owners_of_a_path_are_those_that_dpkg_names_but_for_removed_packages() {
        let lines = "acme: /lib/systemd/system/a.service\n\
                     other:amd64, other:i386, third, old: /usr/lib/systemd/system/a.service\n\
                     diversion by x from: /etc/b\ndiversion by x to: /etc/b.real\n\
                     local diversion from: /etc/c\n\
                     old: /etc/init.d/a\nold, gone:i386, fifth:i386: /etc/init.d/b\n\
                     acme: /etc/systemd/system/a: /b.service\n";
        let states = "acme\tinstalled\nother:amd64\tinstalled\nother:i386\tconfig-files\n\
                      third\thalf-installed\nold\tconfig-files\ngone:i386\tnot-installed\n";
        let owners = present(owned(lines), states);
        let expected = [
            ("etc/init.d/b", vec!["fifth"]), // of unknown state
            ("etc/systemd/system/a: /b.service", vec!["acme"]),
            (
                "usr/lib/systemd/system/a.service",
                vec!["acme", "other", "third"],
            ),
        ];
        let found: Vec<(&str, Vec<&str>)> = owners
            .iter()
            .map(|(path, owners)| (path.as_str(), owners.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn dpkg_takes_no_character_of_a_path_for_a_pattern() {
        assert_eq!(without_patterns("/a\\x2db*[c]?"), "/a\\\\x2db\\*\\[c\\]\\?");
    }
}
