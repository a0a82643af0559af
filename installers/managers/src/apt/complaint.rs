//! The errors of apt and dpkg. apt exits with 100 after every failure, so only the output tells the cause. It is read after the
//! database has shown that something is wrong.

use wharf_frames::{Cause, Failure};

/// Words in the output, with their causes. The first match counts.
#[rustfmt::skip]
const WORDS: &[(&str, Cause)] = &[
    ("dpkg was interrupted", Cause::Interrupted),
    ("Could not get lock", Cause::Locked),
    ("Unable to acquire the dpkg frontend lock", Cause::Locked),
    ("dpkg frontend lock was locked by another process", Cause::Locked),
    ("Held packages were changed", Cause::Held),
    ("Packages were downgraded", Cause::Downgrade),
    ("Essential packages were removed", Cause::Plan),
    ("Removing essential system-critical packages", Cause::Plan),
    ("remove is disabled", Cause::Plan),
    ("No space left on device", Cause::DiskFull),
    ("not enough free space", Cause::DiskFull),
    ("don't have enough free space", Cause::DiskFull),
    ("script subprocess", Cause::Script),
    ("subprocess was killed", Cause::Script),
    ("unauthenticated packages", Cause::Plan),
    ("unmet dependencies", Cause::Dependency),
    ("Unable to fetch some archives", Cause::Dependency),
    ("Failed to fetch", Cause::Dependency),
    ("dependency problems", Cause::Dependency),
    ("pre-dependency problem", Cause::Dependency),
    ("held broken packages", Cause::Dependency),
    ("is not a Debian format archive", Cause::Malformed),
    ("unexpected end of file", Cause::Malformed),
    ("Sub-process /usr/bin/dpkg", Cause::PackageManager),
];

/// The way out of the work that another program left half-way.
pub(super) const FINISH: &str = " (run `dpkg --configure -a` as root)";

/// apt repeats this line while it waits for a lock. It may get the lock later.
const WAITS: &str = "Waiting for cache lock: ";

/// The failure that the output tells, with its lines for a person.
pub(super) fn failure(what: &str, printed: &str) -> Failure {
    let (waits, lines): (Vec<&str>, Vec<&str>) =
        printed.lines().partition(|line| line.starts_with(WAITS));
    let printed = lines.join("\n");
    let printed = printed.as_str();
    let found = WORDS.iter().find(|(words, _)| printed.contains(words));
    let cause = found.map_or(Cause::PackageManager, |(_, cause)| *cause);
    let said = match cause {
        Cause::Dependency => dependencies(printed),
        Cause::Script => script(printed),
        Cause::Plan => refused(printed),
        // Only this line names the holder.
        Cause::Locked if !waits.is_empty() => waits.last().map(|line| holder(line)),
        _ => found.and_then(|(words, _)| line_with(printed, words)),
    };
    let said = said
        .or_else(|| errors(printed))
        .unwrap_or_else(|| "no reason was told".to_owned());
    let advice = match cause {
        Cause::Interrupted => FINISH,
        Cause::Held => " (run `apt-mark unhold` as root to allow it)",
        _ => "",
    };
    Failure::new(cause, format!("{what}: {said}{advice}"))
}

/// Whether newer lists of the sources may have what is missing: apt knows no version that fits, or its archive is gone.
pub(super) fn may_be_stale(printed: &str) -> bool {
    printed.contains("Failed to fetch") || printed.contains("Depends: ")
}

/// Whether another program downloads packages or lists. apt does not wait for these locks.
pub(super) fn is_of_downloads(printed: &str) -> bool {
    let is_one = |line: &str| line.contains("/archives/lock") || line.contains("/lists/lock");
    let mut errors = printed.lines().filter(|line| line.starts_with("E: "));
    errors.any(|line| line.contains("Could not get lock") && is_one(line))
}

/// The failure of `apt-get update`, which exits with 0 although it cannot reach a source.
pub(super) fn not_refreshed(printed: &str) -> Option<Failure> {
    let is_one = |line: &&str| line.starts_with("E: ") || line.starts_with("W: Failed to fetch");
    let line = printed.lines().find(is_one)?;
    let said = line.get(3..).unwrap_or_default();
    let detail = format!("the lists of the sources cannot be fetched: {said}");
    Some(Failure::new(Cause::Dependency, detail))
}

/// Whether `apt-get update` got anything from a source.
pub(super) fn is_fetched(printed: &str) -> bool {
    printed.lines().any(|line| line.starts_with("Get:"))
}

/// Whether dpkg was killed below apt (out of memory, or by hand). Earlier damage has other words.
pub(super) fn dpkg_died(printed: &str) -> bool {
    printed.contains("/usr/bin/dpkg exited unexpectedly")
        || printed.contains("/usr/bin/dpkg received")
}

/// Reads ` acme : Depends: libfoo (>= 2) but it is not installable or`, and the alternatives on the next lines.
fn dependencies(printed: &str) -> Option<String> {
    let mut needs: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in printed.lines() {
        let is_need = ["Depends:", "Conflicts:", "Breaks:"]
            .iter()
            .any(|field| line.contains(field));
        if let Some(need) = needs.last_mut().filter(|_| goes_on) {
            *need += &format!(" {}", line.trim());
        } else if is_need && needs.len() < 4 {
            needs.push(line.trim().to_owned());
        }
        goes_on = (is_need || goes_on) && line.ends_with(" or");
    }
    (!needs.is_empty()).then(|| needs.join("; "))
}

fn refused(printed: &str) -> Option<String> {
    let unsigned = || {
        let names = named(printed, "cannot be authenticated!")?;
        Some(format!("no signature of a source covers {names}"))
    };
    let removed = named(printed, "REMOVED:").map(|names| format!("it would remove {names}"));
    removed.or_else(unsigned)
}

/// The packages below a heading of apt, as in `The following packages will be REMOVED:`.
fn named(printed: &str, heading: &str) -> Option<String> {
    let mut lines = printed.lines().skip_while(|line| !line.ends_with(heading));
    lines.next()?;
    let indented = lines.take_while(|line| line.starts_with("  "));
    let names: Vec<&str> = indented.flat_map(str::split_whitespace).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// `Waiting for cache lock: Could not get lock /var/lib/dpkg/lock. It is held by process 12 (apt)...`
fn holder(line: &str) -> String {
    let said = line.trim_start_matches(WAITS);
    said.trim_end_matches('.').to_owned()
}

fn line_with(printed: &str, words: &str) -> Option<String> {
    let line = printed.lines().find(|line| line.contains(words))?;
    Some(line.trim_start_matches("E: ").trim().to_owned())
}

/// The failed script, with its own last line: dpkg does not repeat it.
fn script(printed: &str) -> Option<String> {
    let failed = line_with(printed, "script subprocess")?;
    let before = printed.split("script subprocess").next()?;
    let mut lines = before.lines().rev().skip(1); // the line itself
    let said = lines.find(|line| !line.starts_with("dpkg: "));
    let said = said.map(str::trim).filter(|said| !is_dpkgs(said));
    Some(match said {
        Some(said) => format!("{failed}; it said: {said}"),
        None => failed,
    })
}

/// A line that dpkg prints before it runs a script.
fn is_dpkgs(line: &str) -> bool {
    const DPKG: &[&str] = &[
        "(Reading database",
        "Preparing to unpack",
        "Processing triggers",
        "Purging configuration",
        "Removing ",
        "Setting up ",
        "Unpacking ",
    ];
    line.is_empty() || DPKG.iter().any(|words| line.starts_with(words))
}

fn errors(printed: &str) -> Option<String> {
    let errors = printed.lines().filter_map(|line| {
        line.strip_prefix("E: ")
            .or_else(|| line.strip_prefix("dpkg: error"))
    });
    let errors: Vec<&str> = errors.take(3).collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_script_is_not_given_dpkgs_words() {
        let printed = "Setting up acme (1.0-1) ...\ndpkg: error processing package acme (--configure):\n installed acme \
                       package post-installation script subprocess returned error exit status 3\n";
        let failure = failure("apt", printed);
        assert!(
            failure.detail.as_str().ends_with("exit status 3"),
            "{failure}"
        );
    }

    #[test]
    fn apts_words_become_causes() {
        for (printed, cause, said) in [
            (
                "x\n acme : Depends: libfoo (>= 2) but it is not installable\nE: Unable to correct problems, you have held broken packages.\nThe following packages have unmet dependencies:",
                Cause::Dependency,
                "libfoo (>= 2)",
            ),
            (
                " acme : Depends: a (>= 1) but it is not installable or\n                 b but it is not installable\n        Depends: c\nThe following packages have unmet dependencies:",
                Cause::Dependency,
                "a (>= 1) but it is not installable or b but it is not installable; Depends: c",
            ),
            (
                "Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 12 (apt)...\n acme : Depends: libfoo (>= 2) but it is not installable\nThe following packages have unmet dependencies:",
                Cause::Dependency,
                "apt: acme : Depends: libfoo (>= 2)",
            ),
            (
                "Waiting for cache lock: Could not get lock /x. It is held by process 12 (apt)...\nWaiting for cache lock: Could not get lock /x. It is held by process 13...\nE: Unable to acquire the dpkg frontend lock (/x), is another process using it?",
                Cause::Locked,
                "apt: Could not get lock /x. It is held by process 13",
            ),
            (
                "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 12 (apt)",
                Cause::Locked,
                "process 12",
            ),
            (
                "The following packages will be REMOVED:\n  oldfoo other\nThe following NEW packages will be installed:\n  acme\nE: Packages need to be removed but remove is disabled.",
                Cause::Plan,
                "apt: it would remove oldfoo, other",
            ),
            (
                "WARNING: The following packages cannot be authenticated!\n  libfoo\nE: There were unauthenticated packages and -y was used without --allow-unauthenticated",
                Cause::Plan,
                "no signature of a source covers libfoo",
            ),
            (
                "E: Failed to fetch http://a.example/libfoo_2_all.deb  404  Not Found [IP: ::1]\nE: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?",
                Cause::Dependency,
                "apt: Failed to fetch http://a.example/libfoo_2_all.deb  404",
            ),
            (
                "E: Held packages were changed and -y was used without --allow-change-held-packages.",
                Cause::Held,
                "apt-mark unhold",
            ),
            (
                "E: Packages were downgraded and -y was used without --allow-downgrades.",
                Cause::Downgrade,
                "downgraded",
            ),
            (
                "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
                Cause::Interrupted,
                "dpkg --configure -a",
            ),
            (
                "dpkg: error processing package acme (--configure):\n installed acme package post-installation script subprocess returned error exit status 3\nE: Sub-process /usr/bin/dpkg returned an error code (1)",
                Cause::Script,
                "exit status 3",
            ),
            (
                "Setting up acme (1.0-1) ...\nno anchor\ndpkg: error processing package acme (--configure):\n installed acme package post-installation script subprocess returned error exit status 3\n",
                Cause::Script,
                "exit status 3; it said: no anchor",
            ),
            (
                "dpkg-deb: error: failed to write: No space left on device",
                Cause::DiskFull,
                "No space left",
            ),
            ("E: Something new", Cause::PackageManager, "Something new"),
            ("", Cause::PackageManager, "no reason"),
        ] {
            let failure = failure("apt", printed);
            assert_eq!(failure.cause, cause, "{printed}");
            assert!(
                failure.detail.as_str().contains(said),
                "{} does not say {said}",
                failure.detail
            );
        }
    }
}
