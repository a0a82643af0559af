//! `wharfctl doctor`: independent checks of all that wharfd needs, each with its remedy. Changes nothing, and needs no
//! running wharfd. wharfd and wharf-installer do the checks that need their settings or the policy of root.

mod disk;
mod packages;
mod policy;

use std::path::Path;

use wharf_bus::{CheckResult, CheckVerdict, bad, ok};

use self::{disk::disks, policy::PolicyReport};
use crate::{
    agent::AgentClient,
    error::CommandError,
    keys::{self, CheckedCertificate},
    model,
    output::print,
    program,
    style::{Style, Tone},
};

/// Prints all findings. Returns an error if a check failed.
pub(crate) async fn doctor(root: &Path, json: bool) -> Result<(), CommandError> {
    let policy = policy::read(root);
    let mut findings = of_wharfd(root);
    findings.insert(1, the_clock(policy.as_ref().ok()));
    findings.extend(the_agent(root).await);
    findings.push(policy::finding(&policy));
    if policy.is_ok() {
        findings.push(keyring(root));
    }
    findings.extend(disks(root, policy.as_ref().ok()));
    findings.extend(packages::findings(root));
    let style = Style::of_stdout();
    print(json, &findings, || {
        findings.iter().map(|found| line(found, style)).collect()
    })?;
    let failed = findings
        .iter()
        .filter(|it| it.verdict == CheckVerdict::Fail);
    match failed.count() {
        0 => Ok(()),
        1 => Err(CommandError::Refused("1 check failed".to_owned())),
        count => Err(CommandError::Refused(format!("{count} checks failed"))),
    }
}

fn line(finding: &CheckResult, style: Style) -> String {
    let (verdict, tone) = match finding.verdict {
        CheckVerdict::Ok => ("ok  ", Tone::Good),
        CheckVerdict::Warn => ("warn", Tone::Busy),
        CheckVerdict::Fail => ("FAIL", Tone::Bad),
    };
    let verdict = style.paint(verdict, tone);
    let mut text = format!("{verdict}  {:<15} {}\n", finding.check, finding.found);
    if let Some(advice) = &finding.advice {
        text += &format!("      {:<15} {advice}\n", "");
    }
    text
}

/// The findings of wharfd about its settings. The first one is about the configuration.
fn of_wharfd(root: &Path) -> Vec<CheckResult> {
    let advice = "check that wharfd is installed completely, and in the version of wharfctl";
    match program::WHARFD.ask::<Vec<CheckResult>>(root, ["--doctor"]) {
        Ok(findings) if !findings.is_empty() => findings,
        Ok(_) => vec![bad(
            "configuration",
            CheckVerdict::Fail,
            "not checked",
            advice,
        )],
        Err(why) => vec![bad("configuration", CheckVerdict::Fail, why, advice)],
    }
}

/// Compares wharfd's clock with that of the installer, which judges signatures.
fn the_clock(policy: Option<&PolicyReport>) -> CheckResult {
    let check = "clock";
    let now = crate::text::time(wharf_clock::now());
    let doubt = policy.and_then(|policy| policy.clock.as_ref());
    match (wharf_clock::is_set(), doubt) {
        (true, None) => ok(check, now),
        (true, Some(doubt)) => {
            let (verdict, advice) = match doubt.believed {
                true => (
                    CheckVerdict::Warn,
                    "touch that file: after a boot, its time counts until the clock is synchronised",
                ),
                false => (
                    CheckVerdict::Fail,
                    "until then signatures are judged by that time, and may count as expired",
                ),
            };
            bad(check, verdict, &*doubt.why, advice)
        }
        (false, _) => bad(
            check,
            CheckVerdict::Fail,
            format!("{now} is before this wharfctl was built"),
            "set the clock, now and at each boot: timedatectl set-ntp true",
        ),
    }
}

async fn the_agent(root: &Path) -> Vec<CheckResult> {
    let snapshot = match AgentClient::connect(root).await {
        Ok(agent) => agent.snapshot().await,
        Err(error) => Err(error),
    };
    match snapshot {
        Ok(snapshot) => {
            let runs = ok("wharfd", format!("{} runs", snapshot.agent.version));
            let registration = registration(&snapshot.agent);
            let installer = installer(&snapshot.agent);
            [Some(runs), registration, Some(installer)]
                .into_iter()
                .flatten()
                .collect()
        }
        Err(CommandError::NoAgent) => vec![bad(
            "wharfd",
            CheckVerdict::Fail,
            "is not on D-Bus, so it does not run",
            "look at `systemctl status wharfd`; registration and installer are checked when it runs",
        )],
        Err(error) => vec![bad(
            "wharfd",
            CheckVerdict::Fail,
            error.to_string(),
            "registration and installer are checked when it runs",
        )],
    }
}

/// The finding about the registration; none if wharfd has no server.
fn registration(agent: &model::ShownAgent) -> Option<CheckResult> {
    let check = "registration";
    if agent.server.is_empty() {
        return None;
    }
    Some(match (&agent.registration_failure, agent.registered) {
        (None, true) => ok(check, format!("registered at {}", agent.server)),
        (None, false) => bad(
            check,
            CheckVerdict::Warn,
            format!("none at {} yet", agent.server),
            "check again in a minute",
        ),
        (Some(failure), _) => bad(
            check,
            CheckVerdict::Fail,
            format!("{}: {failure}", agent.server),
            "check that the server runs, that it knows this endpoint name and its key, and that no firewall is in between",
        ),
    })
}

fn installer(agent: &model::ShownAgent) -> CheckResult {
    match &agent.package_manager {
        Some(package_manager) => ok(
            "installer",
            format!("has answered, and drives {package_manager}"),
        ),
        None => bad(
            "installer",
            CheckVerdict::Fail,
            "has not answered wharfd",
            "look at `systemctl status wharf-installer.socket`",
        ),
    }
}

/// Whether anybody may sign, as the installer reads the keyring.
fn keyring(root: &Path) -> CheckResult {
    let check = "keys";
    if !nix::unistd::geteuid().is_root() {
        return bad(
            check,
            CheckVerdict::Warn,
            "the keyring is root's",
            "ask as root",
        );
    }
    let keys = match keys::read(root) {
        Ok(keys) => keys,
        Err(why) => {
            return bad(
                check,
                CheckVerdict::Fail,
                why,
                "correct this: until then packages may have to wait",
            );
        }
    };
    let (unusable, usable): (Vec<CheckedCertificate>, Vec<CheckedCertificate>) =
        keys.into_iter().partition(|key| key.unusable.is_some());
    let first = unusable.into_iter().next();
    match (usable.len(), first) {
        (0, None) => bad(
            check,
            CheckVerdict::Fail,
            "nobody may sign: the keyring has no certificate",
            "add the vendor's OpenPGP certificate: wharfctl keys add FILE",
        ),
        (usable, Some(key)) => bad(
            check,
            if usable == 0 {
                CheckVerdict::Fail
            } else {
                CheckVerdict::Warn
            },
            format!(
                "{} cannot sign: {}",
                key.fingerprint,
                key.unusable.unwrap_or_default()
            ),
            "add the renewed certificate (wharfctl keys add FILE), or remove this one (wharfctl keys remove)",
        ),
        (_, None) if usable.iter().all(|key| key.packages.is_none()) => bad(
            check,
            CheckVerdict::Warn,
            "no new package may be signed: no certificate has a [[key]] in installer.toml",
            "`wharfctl keys list` shows the command that lets one sign",
        ),
        (usable, None) => ok(check, format!("{usable} in the keyring, each valid")),
    }
}
