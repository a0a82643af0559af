//! An instance of Object 9: its states as types, so that no invalid combination can be represented, and its readable
//! resources.

use wharf_frames::{
    Action, OperationId, PackageName, PackageVersion, StageId, Text,
    installer::{Found, FoundComponent, SealedPackage},
};

use crate::{
    ObjectLink, Operation, OperationKind, PackageUri, Requester, UpdateResult, UpdateState,
    operation::{Phase, Work, WorkProgress},
    settings::InstanceSettings,
};

/// An instance of Object 9. [`crate::transition`] computes the next one; [`crate::InstanceRecord`] is its stored form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Instance {
    pub(crate) state: InstanceState,
    pub(crate) settings: InstanceSettings,
}

/// The Package Installation State Machine (TS 5.1.2), with the data of each state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceState {
    /// No package is being delivered.
    Initial(Initial),
    /// A download waits or runs.
    DownloadStarted {
        /// The software that stays until the new package replaces it.
        in_place: Option<InPlace>,
        /// The download.
        delivery: Delivery,
    },
    /// The package is complete and is being verified.
    Downloaded {
        /// As above.
        in_place: Option<InPlace>,
        /// The download, which ends with the verdict.
        operation: Operation,
        /// The file.
        stage: StageId,
        /// The reason why it waits, if known.
        waiting: Option<Text>,
    },
    /// The package is verified.
    Delivered {
        /// As above.
        in_place: Option<InPlace>,
        /// The file.
        stage: StageId,
        /// The package in it.
        package: SealedPackage,
        /// The state of its installation.
        installation: InstallationState,
    },
    /// The software is installed; the Software Activation State Machine is alive (TS 5.2).
    Installed {
        /// The software on the device.
        software: Software,
        /// The work on it, or the last failure.
        condition: Condition,
    },
}

/// INITIAL, by what came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initial {
    /// Ready for a package; Result 0.
    Ready {
        /// Software that waits for its upgrade.
        in_place: Option<InPlace>,
        /// A note for a person.
        note: Option<Text>,
    },
    /// A download failed, or could not start.
    Failed {
        /// As above.
        in_place: Option<InPlace>,
        /// The Result.
        result: UpdateResult,
        /// The reason.
        why: Text,
    },
    /// The software in place is being removed; Result 0.
    Removing {
        /// The software to remove.
        in_place: InPlace,
        /// The Uninstall, or the purge.
        work: Work,
        /// Whether its configuration is deleted too.
        purge: bool,
    },
}

/// Software that is on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Software {
    /// Its name.
    pub name: PackageName,
    /// Its full version.
    pub version: PackageVersion,
    /// Its Activation State.
    pub active: bool,
    /// As in [`Found::damage`].
    pub damage: Option<Text>,
    /// As in [`Found::no_services`].
    pub no_services: bool,
    /// As in [`Found::skipped`].
    pub skipped: Option<Text>,
    /// As in [`Found::components`].
    pub components: Vec<FoundComponent>,
}

/// The same while its instance is not INSTALLED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InPlace {
    /// Its name.
    pub name: PackageName,
    /// Its full version.
    pub version: PackageVersion,
    /// It was active when the instance left INSTALLED, and is activated again if the policy is to keep that.
    pub was_active: bool,
    /// As in [`Found::active`].
    pub runs: bool,
    /// As in [`Found::damage`].
    pub damage: Option<Text>,
    /// As in [`Found::no_services`].
    pub no_services: bool,
    /// As in [`Found::components`].
    pub components: Vec<FoundComponent>,
    /// The last Activate or Deactivate by a local user.
    pub switch: Switch,
}

/// Activate or Deactivate of software in place while its instance is not INSTALLED.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Switch {
    /// No Activate or Deactivate runs, and the last one did not fail.
    #[default]
    Settled,
    /// The last Activate or Deactivate failed.
    Failed(Text),
    /// An Activate runs.
    Activating(Work),
    /// A Deactivate runs.
    Deactivating(Work),
}

/// A download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its operation.
    pub id: OperationId,
    /// Its requester.
    pub requester: Requester,
    /// The file.
    pub stage: StageId,
    /// The source and the progress of the bytes.
    pub flow: Flow,
}

/// The source and the progress of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// The requester of the download writes the package; its first block has arrived.
    Push,
    /// The device fetches it.
    Pull {
        /// The URI.
        uri: PackageUri,
        /// Its progress.
        progress: PullProgress,
        /// The reason why it waits, if known.
        waiting: Option<Text>,
    },
}

/// The progress of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PullProgress {
    /// In the gate.
    Queued,
    /// It has started, and no byte has arrived.
    Asking,
    /// Bytes have arrived.
    Receiving,
}

/// The state of the installation of a package in DELIVERED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallationState {
    /// No installation was tried; Result 0.
    Untried,
    /// It is being installed; Result 0.
    Installing(Work),
    /// It could not be installed.
    Failed {
        /// The Result.
        result: UpdateResult,
        /// The reason.
        why: Text,
    },
}

/// The work on installed software, or the last failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing; Result 2.
    Settled,
    /// It could not be removed.
    RemovalFailed {
        /// The Result.
        result: UpdateResult,
        /// The reason.
        why: Text,
    },
    /// It could not be activated, deactivated or replaced by the version before; Result 2.
    Failed(Text),
    /// It is being removed; Result 2.
    Removing {
        /// The Uninstall, or the purge.
        work: Work,
        /// Whether its configuration is deleted too.
        purge: bool,
    },
    /// It is being activated; Result 2.
    Activating(Work),
    /// It is being deactivated; Result 2.
    Deactivating(Work),
    /// The version before it is being put back; Result 2.
    GoingBack(Work),
    /// A component of it is being activated or deactivated; Result 2.
    Switching {
        /// The component.
        component: PackageName,
        /// Whether it is being activated.
        wanted: bool,
        /// The Activate or Deactivate.
        work: Work,
    },
}

impl Instance {
    /// The state with its data.
    pub const fn state(&self) -> &InstanceState {
        &self.state
    }

    /// The settings.
    pub const fn settings(&self) -> &InstanceSettings {
        &self.settings
    }

    /// Resource 7, Update State.
    pub const fn update_state(&self) -> UpdateState {
        match self.state {
            InstanceState::Initial(_) => UpdateState::Initial,
            InstanceState::DownloadStarted { .. } => UpdateState::DownloadStarted,
            InstanceState::Downloaded { .. } => UpdateState::Downloaded,
            InstanceState::Delivered { .. } => UpdateState::Delivered,
            InstanceState::Installed { .. } => UpdateState::Installed,
        }
    }

    /// Resource 9, Update Result.
    pub const fn update_result(&self) -> UpdateResult {
        match &self.state {
            InstanceState::Initial(Initial::Failed { result, .. }) => *result,
            InstanceState::Initial(_) | InstanceState::Downloaded { .. } => UpdateResult::Initial,
            InstanceState::DownloadStarted { .. } => UpdateResult::Downloading,
            InstanceState::Delivered { installation, .. } => match installation {
                InstallationState::Failed { result, .. } => *result,
                InstallationState::Untried | InstallationState::Installing(_) => {
                    UpdateResult::Initial
                }
            },
            InstanceState::Installed { condition, .. } => match condition {
                Condition::RemovalFailed { result, .. } => *result,
                _ => UpdateResult::Installed,
            },
        }
    }

    /// Resource 12, Activation State: false also while the activation machine is not alive (TS 5.2).
    pub const fn activation_state(&self) -> bool {
        matches!(&self.state, InstanceState::Installed { software, .. } if software.active)
    }

    /// Resource 0, PkgName: the delivered package's, else that of the software in place, else empty.
    pub fn pkg_name(&self) -> &str {
        self.shown().map_or("", |(name, _)| name.as_str())
    }

    /// Resource 1, PkgVersion: of the same package as [`Self::pkg_name`].
    pub fn pkg_version(&self) -> &str {
        self.shown().map_or("", |(_, version)| version.as_str())
    }

    /// As in [`InstanceSettings::local`].
    pub const fn is_local(&self) -> bool {
        self.settings.local
    }

    /// Resource 8, Update Supported Objects.
    pub const fn update_supported_objects(&self) -> bool {
        self.settings.update_supported_objects
    }

    /// Resource 13, Package Settings.
    pub const fn package_settings(&self) -> ObjectLink {
        self.settings.package_settings
    }

    /// Name and version of the software in place, in any state.
    pub fn software(&self) -> Option<(&PackageName, &PackageVersion)> {
        match &self.state {
            InstanceState::Installed { software, .. } => Some((&software.name, &software.version)),
            _ => self.in_place().map(|known| (&known.name, &known.version)),
        }
    }

    /// Whether the software in place runs, in any state. In INSTALLED this is the Activation State.
    pub const fn runs(&self) -> bool {
        match (&self.state, self.in_place()) {
            (InstanceState::Installed { software, .. }, _) => software.active,
            (_, Some(known)) => known.runs,
            (_, None) => false,
        }
    }

    /// As in [`Found::no_services`], in any state.
    pub const fn no_services(&self) -> bool {
        match (&self.state, self.in_place()) {
            (InstanceState::Installed { software, .. }, _) => software.no_services,
            (_, Some(known)) => known.no_services,
            (_, None) => false,
        }
    }

    /// The reason why the last Activate, Deactivate or Back failed. The software may still be in the requested state.
    pub const fn last_failure(&self) -> Option<&Text> {
        match (&self.state, self.in_place()) {
            (
                InstanceState::Installed {
                    condition: Condition::Failed(why),
                    ..
                },
                _,
            ) => Some(why),
            (_, Some(known)) => known.switch.failure(),
            _ => None,
        }
    }

    /// The damage of the software in place, in any state.
    pub const fn damage(&self) -> Option<&Text> {
        match (&self.state, self.in_place()) {
            (InstanceState::Installed { software, .. }, _) => software.damage.as_ref(),
            (_, Some(known)) => known.damage.as_ref(),
            (_, None) => None,
        }
    }

    /// The software in place while the instance is not INSTALLED.
    pub const fn in_place(&self) -> Option<&InPlace> {
        match &self.state {
            InstanceState::Initial(Initial::Removing { in_place, .. }) => Some(in_place),
            InstanceState::Initial(
                Initial::Ready { in_place, .. } | Initial::Failed { in_place, .. },
            )
            | InstanceState::DownloadStarted { in_place, .. }
            | InstanceState::Downloaded { in_place, .. }
            | InstanceState::Delivered { in_place, .. } => in_place.as_ref(),
            InstanceState::Installed { .. } => None,
        }
    }

    /// A note for a person in INITIAL, for example that only configuration is left.
    pub const fn note(&self) -> Option<&Text> {
        match &self.state {
            InstanceState::Initial(Initial::Ready { note, .. }) => note.as_ref(),
            _ => None,
        }
    }

    /// The file that is being written or delivered.
    pub const fn stage(&self) -> Option<StageId> {
        match &self.state {
            InstanceState::DownloadStarted { delivery, .. } => Some(delivery.stage),
            InstanceState::Downloaded { stage, .. } | InstanceState::Delivered { stage, .. } => {
                Some(*stage)
            }
            InstanceState::Initial(_) | InstanceState::Installed { .. } => None,
        }
    }

    /// The delivered package.
    pub const fn package(&self) -> Option<&SealedPackage> {
        match &self.state {
            InstanceState::Delivered { package, .. } => Some(package),
            _ => None,
        }
    }

    /// The package of the running operation; else the delivered one, else the software in place.
    pub fn subject(&self) -> Option<&PackageName> {
        let is_switch = matches!(
            self.work(),
            Some((Action::Activate | Action::Deactivate, _))
        );
        match (self.switching(), self.package()) {
            (Some(component), _) => Some(component),
            (None, Some(package)) if !is_switch => Some(&package.name),
            (None, _) => self.software().map(|(name, _)| name),
        }
    }

    /// The component that is being activated or deactivated alone.
    pub const fn switching(&self) -> Option<&PackageName> {
        match &self.state {
            InstanceState::Installed {
                condition: Condition::Switching { component, .. },
                ..
            } => Some(component),
            _ => None,
        }
    }

    /// The download, in DOWNLOAD STARTED.
    pub const fn delivery(&self) -> Option<&Delivery> {
        match &self.state {
            InstanceState::DownloadStarted { delivery, .. } => Some(delivery),
            _ => None,
        }
    }

    /// The operation that is accepted and has not ended, downloads included.
    pub fn operation(&self) -> Option<Operation> {
        match (self.work(), &self.state) {
            (Some((action, work)), _) => Some(work.operation(action)),
            (None, InstanceState::Downloaded { operation, .. }) => Some(operation.clone()),
            (None, _) => self.delivery().map(Delivery::operation),
        }
    }

    /// The phase of the operation.
    pub fn phase(&self) -> Option<Phase> {
        if let InstanceState::Downloaded { .. } = self.state {
            return Some(Phase::Verify);
        }
        let queued = match (self.work(), self.delivery()) {
            (Some((_, work)), _) => matches!(work.progress, WorkProgress::Queued(_)),
            (None, Some(delivery)) => delivery.is_queued(),
            (None, None) => return None,
        };
        Some(if queued { Phase::Gate } else { Phase::Act })
    }

    /// Whether an action of the installer is accepted and has not ended.
    pub fn is_busy(&self) -> bool {
        self.work().is_some()
    }

    /// The same settings in another state.
    pub(crate) fn with(&self, state: InstanceState) -> Self {
        Self {
            state,
            settings: self.settings.clone(),
        }
    }

    pub(crate) const fn work(&self) -> Option<(Action, &Work)> {
        match &self.state {
            InstanceState::Initial(Initial::Removing { work, purge, .. }) => {
                Some((removal(*purge), work))
            }
            InstanceState::Delivered {
                installation: InstallationState::Installing(work),
                ..
            } => Some((Action::Install, work)),
            InstanceState::Installed { condition, .. } => condition.work(),
            _ => match self.in_place() {
                Some(known) => known.switch.work(),
                None => None,
            },
        }
    }

    /// The software in place, if the Status Reason mentions it: no operation works on the package. A local user can
    /// activate and deactivate it.
    pub(crate) const fn beside(&self) -> Option<&InPlace> {
        match &self.state {
            InstanceState::Initial(
                Initial::Ready { in_place, .. } | Initial::Failed { in_place, .. },
            )
            | InstanceState::Delivered {
                in_place,
                installation: InstallationState::Untried | InstallationState::Failed { .. },
                ..
            } => in_place.as_ref(),
            _ => None,
        }
    }

    fn shown(&self) -> Option<(&PackageName, &PackageVersion)> {
        match self.package() {
            Some(package) => Some((&package.name, &package.version)),
            None => self.software(),
        }
    }
}

impl Default for InstanceState {
    fn default() -> Self {
        Self::Initial(Initial::Ready {
            in_place: None,
            note: None,
        })
    }
}

impl InstanceState {
    /// Like [`Instance::in_place`].
    pub(crate) const fn in_place_mut(&mut self) -> Option<&mut InPlace> {
        match self {
            Self::Initial(Initial::Removing { in_place, .. }) => Some(in_place),
            Self::Initial(Initial::Ready { in_place, .. } | Initial::Failed { in_place, .. })
            | Self::DownloadStarted { in_place, .. }
            | Self::Downloaded { in_place, .. }
            | Self::Delivered { in_place, .. } => in_place.as_mut(),
            Self::Installed { .. } => None,
        }
    }
}

impl Switch {
    const fn failure(&self) -> Option<&Text> {
        match self {
            Self::Failed(why) => Some(why),
            Self::Settled | Self::Activating(_) | Self::Deactivating(_) => None,
        }
    }

    pub(crate) const fn work(&self) -> Option<(Action, &Work)> {
        match self {
            Self::Activating(work) => Some((Action::Activate, work)),
            Self::Deactivating(work) => Some((Action::Deactivate, work)),
            Self::Settled | Self::Failed(_) => None,
        }
    }

    pub(crate) const fn work_mut(&mut self) -> Option<&mut Work> {
        match self {
            Self::Activating(work) | Self::Deactivating(work) => Some(work),
            Self::Settled | Self::Failed(_) => None,
        }
    }
}

impl Condition {
    const fn work(&self) -> Option<(Action, &Work)> {
        match self {
            Self::Removing { work, purge } => Some((removal(*purge), work)),
            Self::Activating(work) => Some((Action::Activate, work)),
            Self::Deactivating(work) => Some((Action::Deactivate, work)),
            Self::GoingBack(work) => Some((Action::Back, work)),
            Self::Switching { wanted, work, .. } => match wanted {
                true => Some((Action::Activate, work)),
                false => Some((Action::Deactivate, work)),
            },
            Self::Settled | Self::RemovalFailed { .. } | Self::Failed(_) => None,
        }
    }
}

const fn removal(purge: bool) -> Action {
    match purge {
        true => Action::Purge,
        false => Action::Uninstall,
    }
}

impl Delivery {
    /// The download as an operation.
    pub const fn operation(&self) -> Operation {
        Operation {
            id: self.id,
            kind: match self.flow {
                Flow::Push => OperationKind::Push,
                Flow::Pull { .. } => OperationKind::Pull,
            },
            requester: self.requester,
        }
    }

    pub(crate) const fn is_queued(&self) -> bool {
        matches!(
            self.flow,
            Flow::Pull {
                progress: PullProgress::Queued,
                ..
            }
        )
    }
}

impl From<Found> for Software {
    fn from(found: Found) -> Self {
        Self {
            name: found.name,
            version: found.version,
            active: found.active,
            damage: found.damage,
            no_services: found.no_services,
            skipped: found.skipped,
            components: found.components,
        }
    }
}

impl InPlace {
    pub(crate) fn left(software: Software) -> Self {
        Self {
            name: software.name,
            version: software.version,
            was_active: software.active,
            runs: software.active,
            damage: software.damage,
            no_services: software.no_services,
            components: software.components,
            switch: Switch::Settled,
        }
    }

    pub(crate) fn back(self) -> Software {
        Software {
            name: self.name,
            version: self.version,
            active: self.runs,
            damage: self.damage,
            no_services: self.no_services,
            skipped: None,
            components: self.components,
        }
    }

    /// The same software in its current state on the device. An activation failure is dropped if another program
    /// changed the state.
    pub(crate) fn seen(&self, found: Found) -> Self {
        Self {
            switch: match &self.switch {
                Switch::Failed(why) if runs_as_before(&found, self.runs, &self.components) => {
                    Switch::Failed(why.clone())
                }
                _ => Switch::Settled,
            },
            was_active: self.was_active,
            ..Self::left(found.into())
        }
    }
}

/// Whether the device reports the same activation, of each component too.
pub(crate) fn runs_as_before(found: &Found, runs: bool, components: &[FoundComponent]) -> bool {
    let each = |components: &[FoundComponent]| -> Vec<_> {
        let each = components.iter();
        each.map(|one| (one.name.clone(), one.active)).collect()
    };
    found.active == runs && each(&found.components) == each(components)
}
