//! Checks the package manager: its programs, its locks, and unfinished work. wharf-installer asks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;
use serde::Deserialize;
use wharf_bus::{CheckResult, CheckVerdict, bad, ok};

use crate::program;

/// The faults that are shown, each with the remedy.
const SHOWN: usize = 5;

/// The answer of wharf-installer.
#[derive(Debug, Deserialize)]
struct AuditReport {
    /// The programs with their versions.
    version: String,
    architecture: String,
    /// The end of the name of a package file.
    format: String,
    /// None if this user may not see the holders.
    locks: Option<Vec<LockReport>>,
    /// A fault an entry.
    damage: Vec<String>,
    /// The words that tell how to finish interrupted work.
    remedy: String,
    /// None if this user may not see them, or if an older wharf-installer keeps none.
    kept: Option<Vec<KeptReport>>,
}

/// A file that is the way back of a package.
#[derive(Debug, Deserialize)]
struct KeptReport {
    package: String,
    bytes: u64,
}

#[derive(Debug, Deserialize)]
struct LockReport {
    path: PathBuf,
    holder: Option<String>,
}

pub(super) fn findings(root: &Path) -> Vec<CheckResult> {
    let check = "packages";
    let is_root = geteuid().is_root();
    if root != Path::new("/") && !is_root {
        let why = "only root enters another root";
        return vec![bad(check, CheckVerdict::Warn, why, "ask as root")];
    }
    match program::INSTALLER.ask::<AuditReport>(root, ["audit"]) {
        Ok(audit) => of(&audit),
        Err(why) if is_root => {
            let advice = "correct this, or name another package manager (backend in installer.toml): nothing can be \
                          installed until it works";
            vec![bad(check, CheckVerdict::Fail, printable(&why), advice)]
        }
        Err(why) => vec![bad(
            check,
            CheckVerdict::Warn,
            printable(&why),
            "ask as root",
        )],
    }
}

fn of(audit: &AuditReport) -> Vec<CheckResult> {
    let AuditReport {
        version,
        architecture,
        format,
        ..
    } = audit;
    let programs = format!("{version}, for {format} packages ({architecture})");
    let mut findings = vec![ok("package manager", programs)];
    let locks = audit.locks.as_deref();
    findings.extend(locks.map(lock));
    let is_at_work = locks.is_some_and(|locks| locks.iter().any(|lock| lock.holder.is_some()));
    findings.extend(faults(audit, is_at_work));
    findings.extend(audit.kept.as_deref().map(way_back));
    findings
}

fn way_back(kept: &[KeptReport]) -> CheckResult {
    let packages: BTreeSet<&str> = kept.iter().map(|file| file.package.as_str()).collect();
    let bytes: u64 = kept.iter().map(|file| file.bytes).sum();
    let found = match kept.len() {
        0 => "no file of a package is kept".to_owned(),
        files => format!(
            "kept files {files}, of packages {}, {} MB (back.bytes in installer.toml)",
            packages.len(),
            bytes.div_ceil(1_000_000)
        ),
    };
    ok("way back", found)
}

fn lock(locks: &[LockReport]) -> CheckResult {
    let check = "lock";
    let mut held: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for lock in locks {
        let holder = lock.holder.as_deref();
        let paths = held.entry(holder.unwrap_or("nobody")).or_default();
        paths.push(lock.path.display().to_string());
    }
    let free = held.remove("nobody");
    if held.is_empty() {
        return ok(
            check,
            format!("free: {}", free.unwrap_or_default().join(", ")),
        );
    }
    let told = held
        .into_iter()
        .map(|(holder, paths)| format!("{holder} has {}", paths.join(", ")));
    let told: Vec<String> = told.collect();
    bad(
        check,
        CheckVerdict::Warn,
        printable(&told.join("; ")),
        "a job waits until that process has ended, for lock-wait of installer.toml at most",
    )
}

/// A package manager at work has packages in part.
fn faults(audit: &AuditReport, is_at_work: bool) -> Vec<CheckResult> {
    let check = "packages";
    if audit.damage.is_empty() {
        return vec![ok(check, "none is damaged, and no work is unfinished")];
    }
    let (verdict, advice) = match is_at_work {
        true => (
            CheckVerdict::Warn,
            "ask again when the process that has the lock has ended".to_owned(),
        ),
        false => (
            CheckVerdict::Fail,
            format!(
                "{}; or install the package again with wharfctl",
                audit.remedy
            ),
        ),
    };
    let shown = audit.damage.iter().take(SHOWN);
    let mut findings: Vec<CheckResult> = shown
        .map(|fault| bad(check, verdict, printable(fault), &*advice))
        .collect();
    let more = audit.damage.len().saturating_sub(SHOWN);
    if more > 0 {
        findings.push(bad(check, verdict, format!("{more} more"), &*advice));
    }
    findings
}

fn printable(line: &str) -> String {
    let line = line.lines().next().unwrap_or_default().chars();
    line.filter(|character| !character.is_control())
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(holder: Option<&str>, damage: usize) -> AuditReport {
        AuditReport {
            version: "simulated 1".to_owned(),
            architecture: "amd64".to_owned(),
            format: ".simulated".to_owned(),
            locks: Some(vec![LockReport {
                path: "/lock".into(),
                holder: holder.map(str::to_owned),
            }]),
            damage: (0..damage).map(|number| number.to_string()).collect(),
            remedy: "run `finish`".to_owned(),
            kept: None,
        }
    }

    #[test]
    fn each_fault_is_told_with_the_command_unless_somebody_is_at_work() {
        let found = of(&audit(None, 7));
        assert_eq!(found.len(), 2 + SHOWN + 1);
        let last = found.last().unwrap();
        assert_eq!(
            (last.verdict, last.found.as_str()),
            (CheckVerdict::Fail, "2 more")
        );
        let advice = "run `finish`; or install the package again with wharfctl";
        assert!(
            found[2..]
                .iter()
                .all(|it| it.advice.as_deref() == Some(advice))
        );

        let found = of(&audit(Some("process 12 (finish)"), 1));
        assert_eq!(found[1].found, "process 12 (finish) has /lock");
        assert!(found[1..].iter().all(|it| it.verdict == CheckVerdict::Warn));

        let mut unseen = audit(None, 0);
        unseen.locks = None;
        let checks: Vec<String> = of(&unseen).into_iter().map(|it| it.check).collect();
        assert_eq!(checks, ["package manager", "packages"]);
    }

    #[test]
    fn what_is_kept_is_told_in_sum() {
        let mut audit = audit(None, 0);
        for (kept, words) in [
            (vec![], "no file of a package is kept"),
            (
                vec![("acme", 1_500_000), ("acme", 2_000_000), ("lamp", 1)],
                "kept files 3, of packages 2, 4 MB (back.bytes in installer.toml)",
            ),
        ] {
            let kept = kept.into_iter().map(|(package, bytes)| KeptReport {
                package: package.to_owned(),
                bytes,
            });
            audit.kept = Some(kept.collect());
            let found = of(&audit);
            assert_eq!(found.last().unwrap().found, words);
        }
    }
}
