//! Reads the messages of rpm, dnf 4 and dnf 5 after a failure. Their exit codes prove nothing: dnf 4 exits with 0 after a
//! failed script, dnf 5 with 1 after a failed plugin.

use wharf_frames::{Cause, Failure};

/// Words in messages, each with its cause. The first match counts.
#[rustfmt::skip]
const WORDS: &[(&str, Cause)] = &[
    ("create transaction lock", Cause::Locked),
    ("already locked by", Cause::Locked),
    ("is locked by '", Cause::Held),
    ("is excluded in", Cause::Held),
    ("matches only packages excluded by versionlock", Cause::Held),
    ("matches only excluded packages", Cause::Held),
    ("protected packages", Cause::Plan),
    ("would be installed beside", Cause::Plan),
    ("pulled into the transaction", Cause::Plan),
    ("nothing provides", Cause::Dependency),
    ("is needed by (installed)", Cause::Plan),
    ("is needed by", Cause::Dependency),
    ("but none of the providers can be installed", Cause::Plan),
    ("conflicts with", Cause::Plan),
    ("obsoletes", Cause::Plan),
    ("more space needed on", Cause::DiskFull),
    ("more space on the", Cause::DiskFull),
    ("No space left on device", Cause::DiskFull),
    ("does not verify", Cause::Policy),
    ("scriptlet failed", Cause::Script),
    ("compatible architecture", Cause::WrongArchitecture),
    ("different architecture", Cause::WrongArchitecture),
    ("Loading system state", Cause::PackageManager),
    ("unpacking of archive failed", Cause::PackageManager),
    ("not an rpm package", Cause::Malformed),
    ("Failed to access RPM", Cause::Malformed),
    ("Can not load RPM file", Cause::Malformed),
    (NOT_DOWNLOADED[0], Cause::Dependency),
    (NOT_DOWNLOADED[1], Cause::Dependency),
    ("Failed to download", Cause::Dependency),
];

/// The words of dnf4.py and of dnf 5 about a package that a repository offers, and that cannot be downloaded.
const NOT_DOWNLOADED: [&str; 2] = ["cannot download the dependencies", "Cannot download "];

/// Beginnings of lines without a reason.
const NOISE: [&str; 11] = [
    "conflicting requests",
    "problem with installed package",
    "Failed to resolve the transaction",
    "You can try to add to command line",
    "--skip-",
    "--ignore-extras",
    "Transaction test error",
    "Transaction failed",
    "Rpm transaction failed",
    "Failed dependencies",
    "rc ",
];

/// The failure of a command (`what`), with its cause and the lines that give the reason.
pub(super) fn failure(what: &str, printed: &str) -> Failure {
    let found = WORDS.iter().find(|(words, _)| printed.contains(words));
    let cause = found.map_or(Cause::PackageManager, |(_, cause)| *cause);
    let said = match cause {
        Cause::Script => first_script(printed),
        _ => found.map(|(words, _)| lines_with(printed, words)),
    };
    let said = said
        .or_else(|| last_line(printed))
        .unwrap_or_else(|| "no reason was told".to_owned());
    Failure::new(cause, format!("{what}: {said}"))
}

/// Whether a repository offers the missing packages, by the lists that the device has.
pub(super) fn is_offered(printed: &str) -> bool {
    let is_of_packages = |line: &str| {
        let has_one = NOT_DOWNLOADED.iter().any(|words| line.contains(words));
        has_one && !line.contains("repomd.xml")
    };
    printed.lines().any(is_of_packages)
}

/// The first line about a repository whose lists cannot be fetched. dnf 5 has a plugin with one that is often empty.
pub(super) fn unreachable(printed: &str) -> Option<&str> {
    let is_one = |line: &&str| {
        let is_error = line.contains("Failed to download metadata") || line.contains("Curl error");
        is_error && line.contains("repo") && !line.contains("/dnf/plugins/")
    };
    let line = printed.lines().find(is_one)?;
    Some(plain(line.trim_start_matches(['>', ' '])))
}

/// The lines from the first one with these words, up to an empty line.
fn lines_with(printed: &str, words: &str) -> String {
    let lines: Vec<&str> = printed.lines().collect();
    let at = lines.iter().position(|line| line.contains(words));
    let rest = lines.get(at.unwrap_or(0)..).unwrap_or_default();
    let told = rest.iter().map(|line| plain(line));
    let told = told.take_while(|line| !line.is_empty());
    let told: Vec<&str> = told.filter(|line| !is_noise(line)).take(3).collect();
    told.join("; ")
}

/// A line without the marks that the tools put before it.
fn plain(line: &str) -> &str {
    let line = line.trim_start();
    let marks = ["Problem: ", "- ", "error: ", "wharfd: "];
    let mut plain = line;
    for mark in marks {
        plain = plain.strip_prefix(mark).unwrap_or(plain);
    }
    plain.trim()
}

fn is_noise(line: &str) -> bool {
    NOISE.iter().any(|words| line.starts_with(words))
}

fn last_line(printed: &str) -> Option<String> {
    let mut lines = printed.lines().rev().map(plain);
    lines
        .find(|line| !line.is_empty() && !is_noise(line))
        .map(str::to_owned)
}

/// A script that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FailedScript {
    /// `%post failed, exit status 3`
    pub(super) failed: String,
    /// Its last line.
    pub(super) said: Option<String>,
}

/// The first failed script of this package. Triggers of other packages do not count.
pub(super) fn failed_script(printed: &str, name: &str) -> Option<FailedScript> {
    scripts(printed).find_map(|(package, script)| (package == name).then_some(script))
}

fn first_script(printed: &str) -> Option<String> {
    let (package, script) = scripts(printed).next()?;
    Some(script.of(package))
}

impl FailedScript {
    /// A sentence about it.
    pub(super) fn of(&self, package: &str) -> String {
        let failed = &self.failed;
        match &self.said {
            Some(said) => format!("{failed} in {package}; it said: {said}"),
            None => format!("{failed} in {package}"),
        }
    }
}

/// The failed scripts with their packages: `warning: %post(acme-1.0-1.noarch) scriptlet failed, exit status 3`.
fn scripts(printed: &str) -> impl Iterator<Item = (&str, FailedScript)> {
    let lines: Vec<&str> = printed.lines().collect();
    let found = (0..lines.len()).filter_map(move |at| {
        let (before, why) = lines.get(at)?.split_once(") scriptlet failed, ")?;
        let (script, package) = before.rsplit_once('%')?.1.split_once('(')?;
        let package = package.rsplitn(3, '-').nth(2)?;
        // rpm's own word for %pre.
        let script = if script == "prein" { "pre" } else { script };
        let said = lines.get(..at)?.iter().rev().find(|line| {
            !line
                .trim_start_matches("> ")
                .trim_start_matches('>')
                .trim()
                .is_empty()
        });
        let said = said.map(|line| line.trim_start_matches('>').trim());
        Some((
            package,
            FailedScript {
                failed: format!("%{script} failed, {}", why.trim()),
                said: said.filter(|line| !is_the_tools(line)).map(str::to_owned),
            },
        ))
    });
    found.collect::<Vec<_>>().into_iter()
}

/// Whether rpm or dnf printed the line, and not the script.
fn is_the_tools(line: &str) -> bool {
    const TOOLS: [&str; 12] = [
        "[",
        "Scriptlet output:",
        "Running %",
        "Running transaction",
        "Error in ",
        "Non-critical error in ",
        "warning: ",
        "error: ",
        "rpm: ",
        "Verify package files",
        "Prepare transaction",
        "wharfd: ",
    ];
    TOOLS.iter().any(|words| line.starts_with(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_each_tool_become_causes() {
        for (printed, cause, said) in [
            (
                "\n Problem: conflicting requests\n  - nothing provides nowhere >= 2 needed by needs-1-1.noarch\n",
                Cause::Dependency,
                "dnf: nothing provides nowhere >= 2 needed by needs-1-1.noarch",
            ),
            (
                "Failed to resolve the transaction:\nProblem: conflicting requests\n  - nothing provides nowhere >= 2 needed by needs-1-1.noarch from @stored_transaction(@commandline)\nYou can try to add to command line:\n  --skip-broken to skip uninstallable packages\n",
                Cause::Dependency,
                "dnf: nothing provides nowhere >= 2 needed by needs-1-1.noarch from @stored_transaction(@commandline)",
            ),
            (
                "error: Failed dependencies:\n\tnowhere is needed by needs-1-1.noarch\n",
                Cause::Dependency,
                "dnf: nowhere is needed by needs-1-1.noarch",
            ),
            (
                "error: Failed dependencies:\n\tacme = 1-1 is needed by (installed) user-1-1.noarch\nrc 1\n",
                Cause::Plan,
                "dnf: acme = 1-1 is needed by (installed) user-1-1.noarch",
            ),
            (
                "error: Failed dependencies:\n\tuser conflicts with rival-1-1.noarch\nrc 1\n",
                Cause::Plan,
                "dnf: user conflicts with rival-1-1.noarch",
            ),
            (
                "\n Problem: package rival-1-1.noarch conflicts with acme provided by acme-1-1.noarch\n  - conflicting requests\n  - problem with installed package acme-1-1.noarch\n",
                Cause::Plan,
                "dnf: package rival-1-1.noarch conflicts with acme provided by acme-1-1.noarch",
            ),
            (
                "\n Problem: cannot install both acme-3-1.noarch and acme-1-1.noarch\n  - package user-1-1.noarch requires acme = 1-1, but none of the providers can be installed\n  - conflicting requests\n",
                Cause::Plan,
                "dnf: package user-1-1.noarch requires acme = 1-1, but none of the providers can be installed",
            ),
            (
                "Failed to resolve the transaction:\nExtra package 'acme-1-1.noarch' (with action 'Replaced') which is not present in the stored transaction was pulled into the transaction.\n\nYou can try to add to command line:\n",
                Cause::Plan,
                "dnf: Extra package 'acme-1-1.noarch' (with action 'Replaced') which is not present in the stored transaction was pulled into the transaction.",
            ),
            (
                "Transaction test error:\n  file /usr/share/acme/version from install of clash-1-1.noarch conflicts with file from package acme-1-1.noarch\n\n",
                Cause::Plan,
                "dnf: file /usr/share/acme/version from install of clash-1-1.noarch conflicts with file from package acme-1-1.noarch",
            ),
            (
                "\n Problem: The operation would result in removing the following protected packages: prot\n",
                Cause::Plan,
                "dnf: The operation would result in removing the following protected packages: prot",
            ),
            (
                "wharfd: acme is locked by 'acme-0:1-1.*' in versionlock.list\n",
                Cause::Held,
                "dnf: acme is locked by 'acme-0:1-1.*' in versionlock.list",
            ),
            (
                "Cannot perform Install action because 'acme-2-1.noarch' matches only packages excluded by versionlock.\n",
                Cause::Held,
                "dnf: Cannot perform Install action because 'acme-2-1.noarch' matches only packages excluded by versionlock.",
            ),
            (
                "error: can't create transaction lock on /var/lib/rpm/.rpm.lock (Resource temporarily unavailable)\n",
                Cause::Locked,
                "dnf: can't create transaction lock on /var/lib/rpm/.rpm.lock (Resource temporarily unavailable)",
            ),
            (
                "Transaction test error:\n  installing package big-1-1.noarch needs 141MB more space on the /mnt filesystem\n",
                Cause::DiskFull,
                "dnf: installing package big-1-1.noarch needs 141MB more space on the /mnt filesystem",
            ),
            (
                "no\nerror: %prein(acme-1-1.noarch) scriptlet failed, exit status 4\nError in PREIN scriptlet in rpm package acme\n",
                Cause::Script,
                "dnf: %pre failed, exit status 4 in acme; it said: no",
            ),
            (
                "Transaction test error:\n  package acme-1-1.noarch does not verify: no signature\n",
                Cause::Policy,
                "dnf: package acme-1-1.noarch does not verify: no signature",
            ),
            (
                "Something new\n\n",
                Cause::PackageManager,
                "dnf: Something new",
            ),
            ("", Cause::PackageManager, "dnf: no reason was told"),
        ] {
            let failure = failure("dnf", printed);
            assert_eq!(failure.cause, cause, "{printed}");
            assert_eq!(failure.detail.as_str(), said, "{printed}");
        }
    }

    #[test]
    fn a_script_that_failed_is_told_with_its_last_words() {
        let dnf4 =
            "hello\nno anchor\nwarning: %post(acme-1.0-1.noarch) scriptlet failed, exit status 3\n";
        let dnf5 = "[3/3] Installing acme-0:1-1.noarch       100% |   1.6 KiB/s | 392.0   B |  00m00s\n\
                    >>> Running %post scriptlet: acme-0:1-1.noarch\n\
                    >>> Non-critical error in %post scriptlet: acme-0:1-1.noarch\n>>> Scriptlet output:\n>>> hello\n\
                    >>> no anchor\n>>> \n>>> [RPM] %post(acme-1-1.noarch) scriptlet failed, exit status 3\n";
        for printed in [dnf4, dnf5] {
            let script = failed_script(printed, "acme").unwrap();
            assert_eq!(script.failed, "%post failed, exit status 3");
            assert_eq!(script.said.as_deref(), Some("no anchor"));
            assert_eq!(failed_script(printed, "acme-1.0"), None);
        }
        let silent = ">>> Running %pre scriptlet: acme-0:1-1.noarch\n>>> Error in %pre scriptlet: acme-0:1-1.noarch\n\
                      >>> [RPM] %prein(acme-1-1.noarch) scriptlet failed, signal 9\n";
        let script = failed_script(silent, "acme").unwrap();
        assert_eq!(
            (script.failed.as_str(), script.said),
            ("%pre failed, signal 9", None)
        );
    }
}
