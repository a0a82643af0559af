//! The actions on packages, and a transaction of them. An action has one name from the server's Execute to the job of
//! the installer.

use minicbor::{Decode, Encode};

use crate::{PackageName, StageId};

/// An action on a package. The TS has all but the purge and the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Action {
    /// Installs a sealed file.
    #[n(0)]
    Install,
    /// Removes a package, and keeps its configuration.
    #[n(1)]
    Uninstall,
    /// Removes a package with its configuration, or the configuration that is left of it.
    #[n(2)]
    Purge,
    /// Enables and starts the units of a package.
    #[n(3)]
    Activate,
    /// Stops and disables the units of a package.
    #[n(4)]
    Deactivate,
    /// Puts back the version before the one in place, from its kept file.
    #[n(5)]
    Back,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 6] = [
        Self::Install,
        Self::Uninstall,
        Self::Purge,
        Self::Activate,
        Self::Deactivate,
        Self::Back,
    ];

    /// The word under which it is stored and logged.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Uninstall => "uninstall",
            Self::Purge => "purge",
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
            Self::Back => "back",
        }
    }

    /// The action that is stored under this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// An action with its target. `File` is the sealed file of an Install. The target of any other action is a package that
/// wharfd installed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub enum Step<File = StageId> {
    /// [`Action::Install`]
    #[n(0)]
    Install(#[n(0)] File),
    /// [`Action::Uninstall`]
    #[n(1)]
    Uninstall(#[n(0)] PackageName),
    /// [`Action::Purge`]
    #[n(2)]
    Purge(#[n(0)] PackageName),
    /// [`Action::Activate`]
    #[n(3)]
    Activate(#[n(0)] PackageName),
    /// [`Action::Deactivate`]
    #[n(4)]
    Deactivate(#[n(0)] PackageName),
    /// [`Action::Back`]
    #[n(5)]
    Back(#[n(0)] PackageName),
}

impl<File> Step<File> {
    /// The action on this package; none for an Install, which has a file.
    pub fn on(action: Action, package: PackageName) -> Option<Self> {
        match action {
            Action::Install => None,
            Action::Uninstall => Some(Self::Uninstall(package)),
            Action::Purge => Some(Self::Purge(package)),
            Action::Activate => Some(Self::Activate(package)),
            Action::Deactivate => Some(Self::Deactivate(package)),
            Action::Back => Some(Self::Back(package)),
        }
    }

    /// Its action.
    pub const fn action(&self) -> Action {
        match self {
            Self::Install(_) => Action::Install,
            Self::Uninstall(_) => Action::Uninstall,
            Self::Purge(_) => Action::Purge,
            Self::Activate(_) => Action::Activate,
            Self::Deactivate(_) => Action::Deactivate,
            Self::Back(_) => Action::Back,
        }
    }

    /// The file of an Install.
    pub const fn file(&self) -> Option<&File> {
        match self {
            Self::Install(file) => Some(file),
            _ => None,
        }
    }

    /// The package of any other action.
    pub const fn package(&self) -> Option<&PackageName> {
        match self {
            Self::Install(_) => None,
            Self::Uninstall(package)
            | Self::Purge(package)
            | Self::Activate(package)
            | Self::Deactivate(package)
            | Self::Back(package) => Some(package),
        }
    }
}

/// The steps of one job: all of them are done, or none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Transaction {
    /// The steps in their order.
    #[n(0)]
    pub steps: Vec<Step>,
}

impl From<Step> for Transaction {
    fn from(step: Step) -> Self {
        Self { steps: vec![step] }
    }
}
