//! The configuration of apt in our runs (apt.conf(5)): the administrator's, without package lists unless a run asks the
//! sources. Consent is not in it: no file can give or take consent.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use wharf_root::{Root, durable};

use super::programs;

/// The packages that a run of apt knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Universe {
    /// Those of the status file.
    Installed,
    /// Those of the configured sources as well.
    Sources,
}

/// Writes the file, and returns its path for apt. apt is asked for the administrator's hooks and for the architectures only if
/// one of their files has changed since then: the answer takes as long as several queries of dpkg's database.
pub(super) fn written(root: &Root, universe: Universe, lock_wait: Duration) -> io::Result<PathBuf> {
    let folder = root.run().join("apt");
    durable::private_folder(&folder.join("lists/partial"))?;
    durable::private_folder(&folder.join("archives/partial"))?;
    let (own, name) = match universe {
        Universe::Installed => (without_sources(&root.seen_inside(&folder)), "apt.conf"),
        Universe::Sources => (WITH_SOURCES.to_owned(), "apt-sources.conf"),
    };
    let ours = [own, common(lock_wait)].concat();
    let made_from = made_from(root, &ours)?;
    let path = folder.join(name);
    // An unreadable file is written again.
    let there = durable::read_of_root(&path).ok().flatten();
    let is_current = |made_from: &String| is_whole(&there.unwrap_or_default(), made_from);
    if !made_from.as_ref().is_some_and(is_current) {
        let asked = asked(root)?;
        let text = [ours, kept(&asked), architectures(&asked)].concat();
        let first = made_from.map(|made_from| first_line(&made_from, text.as_bytes()));
        let text = [first.unwrap_or_default(), text].concat();
        durable::write_volatile(&path, text.as_bytes())?;
    }
    Ok(root.seen_inside(&path))
}

/// The first line: the source of the file, and the digest of all that follows.
fn first_line(made_from: &str, rest: &[u8]) -> String {
    format!("// {made_from} {}\n", hexadecimal(&Sha256::digest(rest)))
}

/// Whether the file was made from this source, and has not been changed since.
fn is_whole(there: &[u8], made_from: &str) -> bool {
    let end = there.iter().position(|byte| *byte == b'\n');
    let halves = end.and_then(|end| there.split_at_checked(end + 1));
    halves.is_some_and(|(first, rest)| first == first_line(made_from, rest).as_bytes())
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// apt knows the status file alone.
fn without_sources(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "Dir::State::lists \"{folder}/lists/\";\n\
         Dir::Cache::archives \"{folder}/archives/\";\n\
         Dir::Cache::pkgcache \"\";\n\
         Dir::Cache::srcpkgcache \"\";\n\
         Dir::Etc::sourcelist \"/dev/null\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\n\
         APT::Sandbox::User \"root\";\n"
    )
}

/// apt knows the configured sources, with their lists. No file of the administrator lets an unsigned source through, but
/// `[trusted=yes]` in the line of the source. A downloaded package does not stay.
const WITH_SOURCES: &str = "APT::Get::AllowUnauthenticated \"false\";\n\
     Acquire::AllowInsecureRepositories \"false\";\n\
     Acquire::AllowDowngradeToInsecureRepositories \"false\";\n\
     Acquire::AllowWeakRepositories \"false\";\n\
     APT::Keep-Downloaded-Packages \"false\";\n\
     APT::Get::AutomaticRemove \"false\";\n";

/// `Force-Yes`, which old files still have, would bring packages without a signature. The log of the planner is a compressed
/// copy of all package data, and takes longer than the plan. `#clear` works only in a file that apt reads after the
/// administrator's, like the one of `-c`.
fn common(lock_wait: Duration) -> String {
    format!(
        "APT::Get::Force-Yes \"false\";\n\
         Dir::Log::Planner \"\";\n\
         APT::Install-Recommends \"false\";\n\
         DPkg::Use-Pty \"0\";\n\
         DPkg::Lock::Timeout \"{}\";\n\
         DPkg::Options {{ \"--force-confdef\"; \"--force-confold\"; }};\n\
         #clear DPkg::Pre-Install-Pkgs;\n",
        lock_wait.as_secs()
    )
}

/// The digest of our part, of all files of the administrator and of dpkg's list of architectures; none if these files include
/// other ones.
fn made_from(root: &Root, ours: &str) -> io::Result<Option<String>> {
    let mut hash = Sha256::new_with_prefix(ours);
    for path in configured(root)? {
        let Some(bytes) = durable::read(&path)? else {
            return Ok(None); // a link that leads nowhere from outside of the root
        };
        if String::from_utf8_lossy(&bytes).contains("#include") {
            return Ok(None);
        }
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    }
    Ok(Some(hexadecimal(&hash.finalize())))
}

fn configured(root: &Root) -> io::Result<Vec<PathBuf>> {
    let single = ["etc/apt/apt.conf", "var/lib/dpkg/arch"].map(|path| root.path(path));
    let mut paths: Vec<PathBuf> = single.into_iter().filter(|path| path.exists()).collect();
    match fs::read_dir(root.path("etc/apt/apt.conf.d")) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry?;
                if !entry.file_type()?.is_dir() {
                    paths.push(entry.path());
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    paths.sort();
    Ok(paths)
}

fn asked(root: &Root) -> io::Result<String> {
    let words = ["dump", "DPkg::Pre-Install-Pkgs", "APT::Architectures"];
    let output = programs::ask(root, "apt-config", words)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The administrator's hooks, without the one that asks debconf's questions in advance: no user can answer.
fn kept(dump: &str) -> String {
    let values = dump
        .lines()
        .filter_map(|line| line.strip_prefix("DPkg::Pre-Install-Pkgs:: "));
    let kept = values.filter(|value| !value.contains("dpkg-preconfigure"));
    kept.map(|hook| format!("DPkg::Pre-Install-Pkgs {{ {} }};\n", hook.trim_end()))
        .collect()
}

/// The architectures, as apt had them of dpkg or of the administrator: without them, each run asks dpkg twice.
fn architectures(dump: &str) -> String {
    let values = dump
        .lines()
        .filter_map(|line| line.strip_prefix("APT::Architectures:: "));
    let all: Vec<&str> = values.collect();
    match all.is_empty() {
        true => String::new(),
        false => format!(
            "#clear APT::Architectures;\nAPT::Architectures {{ {} }};\n",
            all.join(" ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_administrators_hooks_and_the_architectures_are_kept() {
        let dump = "DPkg::Pre-Install-Pkgs \"\";\n\
                    DPkg::Pre-Install-Pkgs:: \"/usr/sbin/dpkg-preconfigure --apt || true\";\n\
                    DPkg::Pre-Install-Pkgs:: \"/bin/hook || true\";\n\
                    APT::Architectures \"\";\n\
                    APT::Architectures:: \"amd64\";\nAPT::Architectures:: \"armhf\";\n";
        assert_eq!(
            kept(dump),
            "DPkg::Pre-Install-Pkgs { \"/bin/hook || true\"; };\n"
        );
        assert_eq!(
            architectures(dump),
            "#clear APT::Architectures;\nAPT::Architectures { \"amd64\"; \"armhf\"; };\n"
        );
        assert_eq!(architectures(""), "");
    }

    #[test]
    fn a_file_is_current_only_by_every_byte() {
        let rest = b"APT::X \"1\";\n";
        let whole = [first_line("abc", rest).as_bytes(), rest].concat();
        assert!(is_whole(&whole, "abc"));
        assert!(!is_whole(&whole, "abd"));
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert!(!is_whole(&other, "abc"), "byte {at}");
            assert!(!is_whole(&whole[..at], "abc"), "{at} bytes");
        }
        let longer = [&whole, &b"#clear DPkg::Pre-Install-Pkgs;\n"[..]].concat();
        assert!(!is_whole(&longer, "abc"));
    }

    #[test]
    fn what_it_is_made_from_changes_with_each_file_that_apt_reads() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let write = |path: &str, text: &str| {
            let path = root.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let mut seen = vec![
            made_from(&root, "a").unwrap(),
            made_from(&root, "b").unwrap(),
        ];
        for (path, text) in [
            ("etc/apt/apt.conf", "A \"1\";"),
            ("etc/apt/apt.conf.d/10a", "A \"1\";"),
            ("etc/apt/apt.conf.d/20b", "A \"1\";"),
            ("etc/apt/apt.conf.d/10a", "A \"2\";"),
            ("var/lib/dpkg/arch", "amd64\narmhf\n"),
        ] {
            write(path, text);
            let now = made_from(&root, "a").unwrap();
            assert!(now.is_some() && !seen.contains(&now), "{path} {text}");
            seen.push(now);
        }
        write("etc/apt/apt.conf.d/30c", "#include \"/elsewhere\";");
        assert_eq!(made_from(&root, "a").unwrap(), None);
    }
}
