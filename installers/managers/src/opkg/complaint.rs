//! The reasons in the output of opkg. Its exit code is 255 or 1 for everything. Read only after the database or the files
//! have said that something is wrong.

use wharf_frames::{Cause, Failure};

/// Words that opkg prints, and their meaning. The first that is found counts.
#[rustfmt::skip]
const WORDS: &[(&str, Cause)] = &[
    ("Could not lock", Cause::Locked),
    ("Signature verification failed", Cause::Plan),
    ("Signature file is missing", Cause::Plan),
    ("No space left on device", Cause::DiskFull),
    ("errno=28", Cause::DiskFull),
    ("Warning when extracting", Cause::PackageManager),
    ("script returned status", Cause::Script),
    ("Child killed by signal", Cause::Script),
    ("do not ask to lock", Cause::Held),
    ("nothing provides", Cause::Dependency),
    ("Cannot satisfy the following dependencies", Cause::Dependency),
    ("none of the providers can be installed", Cause::Plan),
    ("is depended upon by packages", Cause::Plan),
    ("Refusing to remove essential package", Cause::Plan),
    ("conflicts with", Cause::Plan),
    ("packages conflict with", Cause::Plan),
    ("But that file is already provided", Cause::Plan),
    ("But that path is", Cause::Plan),
    ("compatible architecture", Cause::WrongArchitecture),
    ("Malformed package file", Cause::Malformed),
];

/// The cause in the printed text, and the lines for a person.
pub(super) fn failure(what: &str, printed: &str) -> Failure {
    let found = WORDS.iter().find(|(words, _)| printed.contains(words));
    let cause = found.map_or(Cause::PackageManager, |(_, cause)| *cause);
    let said = match cause {
        Cause::Script => found.and_then(|(words, _)| script(printed, words)),
        _ => found.and_then(|(words, _)| line_with(printed, words)),
    };
    let said = said
        .or_else(|| complaints(printed))
        .unwrap_or_else(|| "opkg gave no reason".to_owned());
    let hint = match said.contains("Signature ") {
        true => {
            " (packages come only of a feed whose signature opkg accepts, by `option check_signature 1` and the key in its \
             keyring, or whose line ends with `[trusted=yes]`: then run `opkg update`)"
        }
        false => "",
    };
    Failure::new(cause, format!("{what}: {said}{hint}"))
}

/// The line with these words, and the next one if it only introduces that.
fn line_with(printed: &str, words: &str) -> Option<String> {
    let mut lines = printed.lines().skip_while(|line| !line.contains(words));
    let line = lines.next().map(plain)?;
    match lines.next().filter(|_| line.ends_with(':')) {
        Some(next) => Some(format!("{line} {}", plain(next))),
        None => Some(line),
    }
}

/// The script that failed, and its own last words.
fn script(printed: &str, words: &str) -> Option<String> {
    let failed = line_with(printed, words)?;
    let before = printed.split(words).next()?;
    let mut lines = before.lines().rev().skip(1); // the line itself
    let said = lines.find(|line| !line.trim().is_empty());
    let said = said.map(str::trim).filter(|said| !is_opkgs(said));
    Some(match said {
        Some(said) => format!("{failed}; it said: {said}"),
        None => failed,
    })
}

/// A line that opkg prints before it runs a script.
fn is_opkgs(line: &str) -> bool {
    const OPKG: &[&str] = &[
        "* ",
        "Configuring ",
        "Downgrading ",
        "Existing conffile ",
        "Installing ",
        "Removing ",
        "The new conffile ",
        "Upgrading ",
    ];
    OPKG.iter().any(|words| line.starts_with(words))
}

/// ` * opkg_configure: acme.postinst returned 3.`
fn complaints(printed: &str) -> Option<String> {
    let lines = printed.lines().filter(|line| line.starts_with(" * "));
    let lines: Vec<String> = lines.map(plain).take(3).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// A line without the function of opkg that printed it.
fn plain(line: &str) -> String {
    let marks = [' ', '*', '-', '\t'];
    let line = line.trim_matches(marks);
    let is_function = |word: &str| !word.contains(' ') && word.contains('_');
    match line.split_once(": ") {
        Some((function, said)) if is_function(function) => said.trim_matches(marks).to_owned(),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As opkg 0.6.3 printed it, and where it says so 0.4.4.
    #[test]
    fn the_cause_and_its_words_are_found() {
        for (printed, cause, detail) in [
            (
                "Installing acme (2) on root\nConfiguring acme.\nlast words\n * pkg_run_script: package \"acme\" postinst \
                 script returned status 3.\n * opkg_configure: acme.postinst returned 3.\n",
                Cause::Script,
                "what: package \"acme\" postinst script returned status 3.; it said: last words",
            ),
            (
                "Configuring acme.\n * pkg_run_script: package \"acme\" postinst script returned status 3.\n",
                Cause::Script,
                "what: package \"acme\" postinst script returned status 3.",
            ),
            (
                " * Solver encountered 1 problem(s):\n * Problem 1/1:\n *   - conflicting requests\n *   - nothing provides \
                 libnowhere >= 2 needed by acme-6.all\n * \n * Solution 1:\n *   - do not ask to install acme-6.all\n",
                Cause::Dependency,
                "what: nothing provides libnowhere >= 2 needed by acme-6.all",
            ),
            (
                " *   - package acme-7.all conflicts with other provided by other-1.all\n *   - conflicting requests\n",
                Cause::Plan,
                "what: package acme-7.all conflicts with other provided by other-1.all",
            ),
            (
                " * check_conflicts_for: The following packages conflict with acme:\n * check_conflicts_for: \tother * \n \
                 * opkg_solver_install: Cannot install package acme.\n",
                Cause::Plan,
                "what: The following packages conflict with acme: other",
            ),
            (
                " *   - package user-1.all requires other, but none of the providers can be installed\n",
                Cause::Plan,
                "what: package user-1.all requires other, but none of the providers can be installed",
            ),
            (
                " * check_data_file_clashes: Package clash wants to install file /usr/share/x\n\tBut that file is already \
                 provided by package  * other\n",
                Cause::Plan,
                "what: But that file is already provided by package  * other",
            ),
            (
                " * opkg_lock: Could not lock /var/run/opkg.lock: Resource temporarily unavailable.\n",
                Cause::Locked,
                "what: Could not lock /var/run/opkg.lock: Resource temporarily unavailable.",
            ),
            (
                " * a_b: one\n * two\n",
                Cause::PackageManager,
                "what: one; two",
            ),
            ("", Cause::PackageManager, "what: opkg gave no reason"),
        ] {
            let failure = failure("what", printed);
            assert_eq!(failure.cause, cause, "{printed}");
            assert_eq!(failure.detail.as_str(), detail);
        }
    }
}
