//! Status Reason (resource 16): a number of TS Appendix B, and one line for a person.

use std::fmt;

use wharf_frames::Text;

use crate::{
    Instance, Requester,
    instance::{
        Condition, Delivery, Flow, InPlace, Initial, InstallationState, InstanceState,
        PullProgress, Software, Switch,
    },
    operation::{Work, WorkProgress},
};

/// The numbers of TS Appendix B. 70 is not used: a package is kept when its installation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonCode {
    /// 10: there is no data, and the download is about to start.
    Start,
    /// 20: the download failed.
    DownloadFailed,
    /// 30: the download has started.
    Downloading,
    /// 40: the download has completed.
    DownloadComplete,
    /// 50: the installation has started.
    Installing,
    /// 60: the installation failed, the package is still there.
    InstallFailed,
}

impl ReasonCode {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Start,
        Self::DownloadFailed,
        Self::Downloading,
        Self::DownloadComplete,
        Self::Installing,
        Self::InstallFailed,
    ];

    /// The number at the beginning of a Status Reason.
    pub fn of(reason: &str) -> Option<Self> {
        let (number, _) = reason.split_once(": ")?;
        let number = number.parse().ok()?;
        Self::ALL.into_iter().find(|code| code.value() == number)
    }

    /// The number.
    pub const fn value(self) -> u8 {
        match self {
            Self::Start => 10,
            Self::DownloadFailed => 20,
            Self::Downloading => 30,
            Self::DownloadComplete => 40,
            Self::Installing => 50,
            Self::InstallFailed => 60,
        }
    }
}

/// A Status Reason; its `Display` is the value of resource 16.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The number.
    pub code: ReasonCode,
    /// The line.
    pub text: Text,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.value(), self.text)
    }
}

impl Instance {
    /// Resource 16, Status Reason.
    pub fn status_reason(&self) -> Reason {
        let (code, text) = match &self.state {
            InstanceState::Initial(initial) => self.of_initial(initial),
            InstanceState::DownloadStarted { delivery, .. } => of_download(delivery),
            InstanceState::Downloaded { waiting: why, .. } => (
                ReasonCode::DownloadComplete,
                why.as_ref().map_or_else(
                    || "checking who signed the package".into(),
                    |why| waiting(why.as_str()),
                ),
            ),
            InstanceState::Delivered { installation, .. } => self.of_delivered(installation),
            InstanceState::Installed {
                software,
                condition,
            } => {
                let text = self.of_installed(software, condition);
                (ReasonCode::DownloadComplete, text)
            }
        };
        let text = match self.beside() {
            Some(beside) => text.followed_by(&of_in_place(beside)),
            None => text,
        };
        Reason { code, text }
    }

    fn of_initial(&self, initial: &Initial) -> (ReasonCode, Text) {
        match initial {
            Initial::Ready { note, .. } => {
                let ready = || "ready for a package".into();
                (ReasonCode::Start, note.clone().unwrap_or_else(ready))
            }
            Initial::Failed { why, .. } => (ReasonCode::DownloadFailed, why.clone()),
            Initial::Removing { work, purge, .. } => {
                (ReasonCode::Start, self.working(removing(*purge), work))
            }
        }
    }

    fn of_delivered(&self, installation: &InstallationState) -> (ReasonCode, Text) {
        match installation {
            InstallationState::Untried => (
                ReasonCode::DownloadComplete,
                format!("{} is ready to be installed", self.title()).into(),
            ),
            InstallationState::Installing(work) => {
                (ReasonCode::Installing, self.working("installing", work))
            }
            InstallationState::Failed { why, .. } => (
                ReasonCode::InstallFailed,
                match self.in_place() {
                    // The text names two versions.
                    Some(known) if known.version.as_str() != self.pkg_version() => {
                        format!("{} is not installed: {why}", self.title()).into()
                    }
                    _ => why.clone(),
                },
            ),
        }
    }

    fn of_installed(&self, software: &Software, condition: &Condition) -> Text {
        match (condition, &software.damage) {
            // The damage says more than a failed activation.
            (Condition::Settled | Condition::Failed(_), Some(damage)) => {
                damaged(&self.title(), damage, self.is_bundle())
            }
            (Condition::Settled, None) => match &software.skipped {
                None => format!("{} is installed", self.title()).into(),
                Some(skipped) => format!("{} is installed; {skipped}", self.title()).into(),
            },
            (Condition::RemovalFailed { why, .. } | Condition::Failed(why), _) => why.clone(),
            (Condition::Removing { work, purge }, _) => self.working(removing(*purge), work),
            (Condition::Activating(work), _) => self.working("activating", work),
            (Condition::Deactivating(work), _) => self.working("deactivating", work),
            (Condition::GoingBack(work), _) => self.working("going back from", work),
            (
                Condition::Switching {
                    component,
                    wanted,
                    work,
                },
                _,
            ) => {
                let doing = if *wanted {
                    "activating"
                } else {
                    "deactivating"
                };
                working(doing, &format!("{component} of {}", self.title()), work)
            }
        }
    }

    fn working(&self, doing: &str, work: &Work) -> Text {
        working(doing, &self.title(), work)
    }

    fn title(&self) -> String {
        format!("{} {}", self.pkg_name(), self.pkg_version())
    }
}

const fn removing(purge: bool) -> &'static str {
    match purge {
        true => "purging",
        false => "removing",
    }
}

/// The software in place, beside a package that no operation works on.
fn of_in_place(known: &InPlace) -> Text {
    let title = known.title();
    match (&known.switch, &known.damage) {
        (Switch::Activating(work), _) => working("activating", &title, work),
        (Switch::Deactivating(work), _) => working("deactivating", &title, work),
        (_, Some(damage)) => damaged(&title, damage, !known.components.is_empty()),
        (Switch::Settled, None) => known.stands().into(),
        (Switch::Failed(why), None) => format!("{}: {why}", known.stands()).into(),
    }
}

impl InPlace {
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// Whether the software runs, as text.
    pub(crate) fn stands(&self) -> String {
        let runs = match (self.no_services, self.runs) {
            (true, _) => "has no services",
            (false, true) => "runs",
            (false, false) => "does not run",
        };
        format!("{} is in place and {runs}", self.title())
    }
}

/// The damage of a bundle names the component.
fn damaged(title: &str, damage: &Text, is_bundle: bool) -> Text {
    let is = if is_bundle { ": " } else { " is " };
    format!(
        "{title}{is}{damage}: repair it on the device (`wharfctl doctor` says how), or install it again"
    )
    .into()
}

/// The text for work. An accepted operation counts as running, unless it has a reason to wait.
fn working(doing: &str, title: &str, work: &Work) -> Text {
    match &work.progress {
        WorkProgress::Queued(Some(why)) => waiting(why.as_str()),
        WorkProgress::Running(Some(line)) => line.clone(),
        WorkProgress::Queued(None) | WorkProgress::Running(None) => {
            format!("{doing} {title}").into()
        }
    }
}

fn of_download(delivery: &Delivery) -> (ReasonCode, Text) {
    match &delivery.flow {
        Flow::Push => (
            ReasonCode::Downloading,
            match delivery.requester {
                Requester::Server(_) => "the server sends the package".into(),
                Requester::User(_) => "a local user hands the package over".into(),
            },
        ),
        Flow::Pull {
            progress: PullProgress::Receiving,
            waiting: why,
            ..
        } => (
            ReasonCode::Downloading,
            why.as_ref()
                .map_or_else(|| "downloading".into(), |why| waiting(why.as_str())),
        ),
        Flow::Pull { waiting: why, .. } => (
            ReasonCode::Start,
            waiting(why.as_ref().map_or("the first byte", Text::as_str)),
        ),
    }
}

pub(crate) fn waiting(what: &str) -> Text {
    format!("waiting for {what}").into()
}
