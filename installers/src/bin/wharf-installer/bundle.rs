//! `wharf-installer bundle`, which `wharfctl bundle` asks: a bundle in a file, for people and as JSON.

use std::{fmt::Write as _, path::PathBuf};

use wharf_installers::{
    device::Device,
    inspected::{InspectedBundle, InspectedStep},
    keys::Keys,
};

use crate::keys::{CommandAnswer, judged, shown};

/// A command about a bundle.
pub(crate) enum BundleCommand {
    /// Shows the contents.
    Inspect(PathBuf),
    /// Judges the signatures.
    Verify(PathBuf),
}

impl BundleCommand {
    /// The command of these words.
    pub(crate) fn new(words: &[String]) -> Result<Self, &'static str> {
        match words {
            [verb, file] if verb == "inspect" => Ok(Self::Inspect(file.into())),
            [verb, file] if verb == "verify" => Ok(Self::Verify(file.into())),
            _ => Err("bundle: expected inspect or verify, and a file"),
        }
    }
}

/// Carries out a command.
pub(crate) fn obey(keys: &Keys<'_>, verb: &BundleCommand, json: bool) -> CommandAnswer {
    match verb {
        BundleCommand::Inspect(file) => {
            let contents = keys.inspect(file)?;
            let is_usable = contents.steps.iter().all(|step| step.unusable.is_none());
            Ok((shown(&contents, json, text)?, is_usable))
        }
        BundleCommand::Verify(file) => {
            let verdict = keys.check(file, &Device::open(keys.root, keys.policy)?)?;
            if verdict.components.is_empty() && verdict.name.is_some() {
                let file = file.display();
                return Err(
                    format!("{file} is a package and no bundle: use wharfctl keys check").into(),
                );
            }
            let accepted = verdict.refused.is_none();
            Ok((shown(&verdict, json, judged)?, accepted))
        }
    }
}

fn text(bundle: &InspectedBundle) -> String {
    let mut text = format!("{} {}\n", bundle.name, bundle.version);
    if let Some(architecture) = &bundle.architecture {
        let _ = writeln!(text, "  for            {architecture}");
    }
    if !bundle.upgrades_from.is_empty() {
        let _ = writeln!(text, "  upgrades from  {}", bundle.upgrades_from.join(", "));
    }
    if let Some(free) = bundle.free {
        let _ = writeln!(text, "  needs          {free} bytes on the disk");
    }
    let undo = match bundle.undo {
        true => "goes back to the packages of before",
        false => "keeps the steps that are done",
    };
    let _ = writeln!(text, "  a failed step  {undo}");
    for (step, number) in bundle.steps.iter().zip(1..) {
        let _ = writeln!(text, "  step {number:<9} {}", line(step));
    }
    text
}

fn line(step: &InspectedStep) -> String {
    let Some(file) = &step.install else {
        return format!("remove {}", step.remove.as_deref().unwrap_or_default());
    };
    let package = match (&step.name, &step.version, &step.unusable) {
        (Some(name), Some(version), _) => format!("{name} {version}"),
        (_, _, Some(why)) => format!("NO package here: {why}"),
        _ => "no package".to_owned(),
    };
    let length = step.length.unwrap_or_default();
    format!("install {file} ({length} bytes): {package}")
}
