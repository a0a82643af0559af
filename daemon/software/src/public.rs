//! The public text in place of a Status Reason. It is made only of typed facts: it has no output of a program, an
//! origin or a signer, and only origin and file name of a Package URI.

use crate::{
    Instance, Reason, ReasonCode, UpdateResult, UpdateState,
    instance::{Delivery, Flow, InPlace, Switch},
};

/// The facts. Each of them is public.
#[derive(Debug, Clone, Copy)]
pub struct ReasonFacts<'a> {
    /// The number of the Status Reason.
    pub code: ReasonCode,
    /// Resource 7.
    pub state: UpdateState,
    /// Resource 9.
    pub result: UpdateResult,
    /// Resource 0.
    pub name: &'a str,
    /// Resource 1.
    pub version: &'a str,
}

impl ReasonFacts<'_> {
    /// The facts as text.
    pub fn reason(self) -> Reason {
        let package = format!("{} {}", self.name, self.version);
        let text = match (self.code, self.state, self.result) {
            (ReasonCode::Start, UpdateState::Initial, _) => "no package is on its way".to_owned(),
            (ReasonCode::Start, ..) => "waiting to download".to_owned(),
            (ReasonCode::DownloadFailed, _, result) => words(result).to_owned(),
            (ReasonCode::Downloading, ..) => "downloading".to_owned(),
            (ReasonCode::Installing, ..) => format!("installing {package}"),
            (ReasonCode::InstallFailed, _, result) => {
                format!("{package} is not installed: {}", words(result))
            }
            (ReasonCode::DownloadComplete, UpdateState::Delivered, _) => {
                format!("{package} is ready to be installed")
            }
            (_, UpdateState::Installed, result) if result.ends_a_removal() => {
                format!("{package} is not removed: {}", words(result))
            }
            (_, UpdateState::Installed, _) => format!("{package} is installed"),
            (ReasonCode::DownloadComplete, ..) => "checking who signed the package".to_owned(),
        };
        Reason {
            code: self.code,
            text: text.into(),
        }
    }
}

impl Instance {
    /// The public text in place of [`Self::status_reason`].
    pub fn public_reason(&self) -> Reason {
        let facts = ReasonFacts {
            code: self.status_reason().code,
            state: self.update_state(),
            result: self.update_result(),
            name: self.pkg_name(),
            version: self.pkg_version(),
        };
        let Reason { code, text } = facts.reason();
        let text = match (self.delivery().and_then(source), self.beside()) {
            (Some(source), _) => format!("{text} {source}").into(),
            (None, Some(beside)) => text.followed_by(&in_place(beside).into()),
            (None, None) => text,
        };
        Reason { code, text }
    }
}

/// The software in place, beside a package that no operation works on.
fn in_place(known: &InPlace) -> String {
    match (&known.switch, &known.damage) {
        (Switch::Activating(_), _) => format!("activating {}", known.title()),
        (Switch::Deactivating(_), _) => format!("deactivating {}", known.title()),
        (_, Some(_)) => format!("{} is damaged", known.title()),
        (Switch::Settled | Switch::Failed(_), None) => known.stands(),
    }
}

/// `FILE from ORIGIN`.
fn source(delivery: &Delivery) -> Option<String> {
    let Flow::Pull { uri, .. } = &delivery.flow else {
        return None;
    };
    let origin = uri.origin();
    Some(match uri.file_name() {
        Some(name) => format!("{name} from {origin}"),
        None => format!("from {origin}"),
    })
}

const fn words(result: UpdateResult) -> &'static str {
    match result {
        UpdateResult::Initial | UpdateResult::Downloading | UpdateResult::Installed => {
            "nothing failed"
        }
        UpdateResult::NotEnoughStorage => "there is not enough room",
        UpdateResult::OutOfMemory => "memory ran out",
        UpdateResult::ConnectionLost => "the connection was lost",
        UpdateResult::IntegrityFailure => "the package is not signed as it must be",
        UpdateResult::UnsupportedPackage => "the file is no package for this system",
        UpdateResult::InvalidUri => "the Package URI is invalid or leads to nothing",
        UpdateResult::DeviceDefined => "this device or the origin does not allow it",
        UpdateResult::InstallationFailure => "the installation failed",
        UpdateResult::UninstallationFailure => "the removal failed",
    }
}
