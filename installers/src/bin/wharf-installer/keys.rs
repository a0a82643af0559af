//! `wharf-installer keys`, which `wharfctl keys` is: the keyring, for people and as JSON.

use std::{
    error::Error,
    io::{Write as _, stdout},
    path::{Path, PathBuf},
};

use serde::Serialize;
use wharf_frames::calendar::day;
use wharf_installers::{
    Root,
    device::{Device, open_inspector},
    keys::{CheckedChange, CheckedComponent, CheckedPackage, Key, Keys},
    policy::Policy,
};
use wharf_root::pattern::Pattern;

/// A command about the keyring.
pub(crate) enum KeysCommand {
    List,
    /// Adds certificates, and the names of the packages that they may sign.
    Add(PathBuf, Vec<Pattern>),
    Remove(String),
    Check(PathBuf),
}

impl KeysCommand {
    /// The verb of these words, with the allowed names.
    pub(crate) fn new(words: &[String], allow: Vec<Pattern>) -> Option<Self> {
        match words {
            [verb, file] if verb == "add" => Some(Self::Add(file.into(), allow)),
            _ if !allow.is_empty() => None,
            [verb] if verb == "list" => Some(Self::List),
            [verb, fingerprint @ ..] if verb == "remove" && !fingerprint.is_empty() => {
                Some(Self::Remove(fingerprint.concat()))
            }
            [verb, file] if verb == "check" => Some(Self::Check(file.into())),
            _ => None,
        }
    }
}

/// The text to print, and whether the command succeeded.
pub(crate) type CommandAnswer = Result<(String, bool), Box<dyn Error>>;

/// Opens the keyring of this root for a command.
pub(crate) fn with_keys(
    root: &Root,
    obey: impl FnOnce(&Keys<'_>) -> CommandAnswer,
) -> CommandAnswer {
    let policy = Policy::read(root)?;
    let inspector = open_inspector(root, &policy)?;
    obey(&Keys {
        root,
        policy: &policy,
        inspector: &inspector,
    })
}

/// Carries out a command.
pub(crate) fn obey(keys: &Keys<'_>, verb: &KeysCommand, json: bool) -> CommandAnswer {
    Ok(match verb {
        KeysCommand::List => (shown(&keys.list()?[..], json, list)?, true),
        KeysCommand::Add(file, names) => {
            let show = |policy: &Path, added: &str| match json {
                true => Ok(()),
                false => writeln!(stdout(), "into {}:\n{added}", policy.display()),
            };
            (shown(&keys.add(file, names, show)?[..], json, list)?, true)
        }
        KeysCommand::Remove(fingerprint) => {
            let removed = keys.remove(fingerprint)?;
            let line = |file: &String| format!("removed {file}\n");
            let lines = |files: &[String]| files.iter().map(line).collect();
            (shown(&removed[..], json, lines)?, true)
        }
        KeysCommand::Check(file) => {
            let verdict = keys.check(file, &Device::open(keys.root, keys.policy)?)?;
            let accepted = verdict.refused.is_none();
            (shown(&verdict, json, judged)?, accepted)
        }
    })
}

pub(crate) fn shown<T: Serialize + ?Sized>(
    value: &T,
    json: bool,
    text: impl Fn(&T) -> String,
) -> Result<String, serde_json::Error> {
    match json {
        true => serde_json::to_string(value).map(|line| line + "\n"),
        false => Ok(text(value)),
    }
}

fn list(keys: &[Key]) -> String {
    match keys.is_empty() {
        true => "nobody may sign: the keyring has no certificate\n".to_owned(),
        false => keys.iter().map(key).collect::<Vec<_>>().join("\n"),
    }
}

fn key(key: &Key) -> String {
    let valid = match (&key.unusable, key.expires_at) {
        (Some(why), _) => format!("NO: {why}"),
        (None, Some(until)) => format!("until {}", day(until)),
        (None, None) => "for ever".to_owned(),
    };
    let may_sign = match &key.packages {
        Some(names) => names.join(" "),
        None => format!(
            "the packages that it signed when wharfd installed them last. To allow more:\n            \
             wharfctl keys add {} --allow PATTERN",
            key.files.first().map_or("FILE", String::as_str)
        ),
    };
    format!(
        "{}\n  user id   {}\n  file      {}\n  valid     {valid}\n  may sign  {may_sign}\n",
        key.fingerprint,
        key.user_id,
        key.files.join("\n            ")
    )
}

pub(crate) fn judged(verdict: &CheckedPackage) -> String {
    let mut text = String::new();
    if let (Some(name), Some(version)) = (&verdict.name, &verdict.version) {
        let signed = match &verdict.signer {
            Some(signer) => format!("signed by {signer}"),
            None => "not signed".to_owned(),
        };
        text += &format!("{name} {version} is {signed}\n");
    }
    for component in &verdict.components {
        let CheckedComponent { name, version, .. } = component;
        text += &match &component.signer {
            Some(signer) => format!("  {name} {version} by {signer}\n"),
            None => format!("  {name} {version}, not signed\n"),
        };
    }
    text + &match &verdict.refused {
        None => plan(verdict),
        Some(why) => format!("it would be refused: {why}\n"),
    }
}

/// A line for each package: `libfoo 2.0-1 (new, from a source of this device)`.
fn plan(verdict: &CheckedPackage) -> String {
    let line = |it: &CheckedChange| {
        let replaces = it.replaces.as_ref().filter(|old| **old != it.version);
        let replaces = replaces.map_or_else(String::new, |old| format!(" of {old}"));
        let from = match it.from_source {
            true => "from a source of this device",
            false => "from the file",
        };
        format!(
            "  {} {} ({}{replaces}, {from})\n",
            it.name, it.version, it.change
        )
    };
    let lines: String = verdict.plan.iter().map(line).collect();
    let why = verdict.unplanned.iter();
    let why: String = why
        .map(|why| format!("  there is no plan now: {why}\n"))
        .collect();
    format!("it would be installed\n{lines}{why}")
}
