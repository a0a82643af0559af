//! An instance as one flat row for a database, and back. A row that no transition can produce is a typed error.

use wharf_frames::{Action, PackageName, Secret, StageId, Text, installer::SealedPackage};

use crate::{
    Instance, ObjectLink, Operation, OperationKind, PackageUri, UpdateResult, UpdateState,
    instance::{
        Condition, Delivery, Flow, InPlace, Initial, InstallationState, InstanceState,
        PullProgress, Software, Switch,
    },
    operation::{Work, WorkProgress},
    settings::InstanceSettings,
};

/// All data of an instance, one field for one or a few columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRecord {
    /// Resource 7.
    pub update_state: UpdateState,
    /// Resource 9.
    pub update_result: UpdateResult,
    /// The part of the Status Reason that the state does not give: the reason of a failure or of a wait.
    pub note: Option<Text>,
    /// The software in place. `active` is the Activation State in INSTALLED, and the earlier one in other states.
    pub in_place: Option<Software>,
    /// Whether the software in place runs; in INSTALLED this is its Activation State.
    pub in_place_runs: bool,
    /// The failure of its last Activate or Deactivate outside INSTALLED, or the reason why an accepted one waits.
    pub in_place_note: Option<Text>,
    /// The file that is being written or delivered.
    pub stage: Option<StageId>,
    /// The package in it, in DELIVERED.
    pub package: Option<SealedPackage>,
    /// Resource 3, while it is being pulled.
    pub package_uri: Option<PackageUri>,
    /// The operation that is accepted and has not ended.
    pub operation: Option<Operation>,
    /// Its progress.
    pub progress: Option<StoredProgress>,
    /// The component that it activates or deactivates alone.
    pub component: Option<PackageName>,
    /// Resource 8.
    pub update_supported_objects: bool,
    /// Resource 13.
    pub package_settings: ObjectLink,
    /// Resource 14.
    pub user_name: Option<Secret>,
    /// Resource 15.
    pub password: Option<Secret>,
    /// A local user created the instance.
    pub local: bool,
}

/// The progress of an operation, downloads included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoredProgress {
    /// In the gate.
    Queued,
    /// It has started.
    Running,
    /// A download of which bytes have arrived.
    Receiving,
}

impl StoredProgress {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Running, Self::Receiving];

    /// Its word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Receiving => "receiving",
        }
    }

    /// The progress stored under this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|progress| progress.as_str() == word)
    }
}

/// The reason why a row is not an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A column that the state needs is empty.
    #[error("the stored instance is in {} and has no {column}: the database was changed or is damaged", .state.name())]
    Missing {
        /// The state that is stored.
        state: UpdateState,
        /// The column.
        column: &'static str,
    },
    /// The columns contradict each other.
    #[error("the stored instance is in {} with values that cannot be there: the database was changed or is damaged", .0.name())]
    Contradiction(UpdateState),
}

impl From<&Instance> for InstanceRecord {
    fn from(instance: &Instance) -> Self {
        let (note, progress) = note_and_progress(&instance.state);
        let switch = instance.in_place().map(|known| &known.switch);
        let (in_place_note, switching) = switch.map_or((None, None), of_switch);
        let settings = &instance.settings;
        Self {
            update_state: instance.update_state(),
            update_result: instance.update_result(),
            note: note.cloned(),
            in_place: match &instance.state {
                InstanceState::Installed { software, .. } => Some(software.clone()),
                _ => instance.in_place().map(|known| Software {
                    active: known.was_active,
                    ..known.clone().back()
                }),
            },
            in_place_runs: instance.runs(),
            in_place_note: in_place_note.cloned(),
            stage: instance.stage(),
            package: instance.package().cloned(),
            package_uri: instance.delivery().and_then(uri).cloned(),
            operation: instance.operation(),
            progress: progress.or(switching),
            component: instance.switching().cloned(),
            update_supported_objects: settings.update_supported_objects,
            package_settings: settings.package_settings,
            user_name: settings.user_name.clone(),
            password: settings.password.clone(),
            local: settings.local,
        }
    }
}

const fn uri(delivery: &Delivery) -> Option<&PackageUri> {
    match &delivery.flow {
        Flow::Pull { uri, .. } => Some(uri),
        Flow::Push => None,
    }
}

const fn note_and_progress(state: &InstanceState) -> (Option<&Text>, Option<StoredProgress>) {
    match state {
        InstanceState::Initial(initial) => match initial {
            Initial::Ready { note, .. } => (note.as_ref(), None),
            Initial::Failed { why, .. } => (Some(why), None),
            Initial::Removing { work, .. } => of_work(work),
        },
        InstanceState::DownloadStarted { delivery, .. } => match &delivery.flow {
            Flow::Push => (None, Some(StoredProgress::Receiving)),
            Flow::Pull {
                progress, waiting, ..
            } => (waiting.as_ref(), Some(of_pull(*progress))),
        },
        InstanceState::Downloaded { waiting, .. } => (waiting.as_ref(), None),
        InstanceState::Delivered { installation, .. } => match installation {
            InstallationState::Untried => (None, None),
            InstallationState::Installing(work) => of_work(work),
            InstallationState::Failed { why, .. } => (Some(why), None),
        },
        InstanceState::Installed { condition, .. } => match condition {
            Condition::Settled => (None, None),
            Condition::RemovalFailed { why, .. } | Condition::Failed(why) => (Some(why), None),
            Condition::Removing { work, .. }
            | Condition::Activating(work)
            | Condition::Deactivating(work)
            | Condition::GoingBack(work)
            | Condition::Switching { work, .. } => of_work(work),
        },
    }
}

const fn of_switch(switch: &Switch) -> (Option<&Text>, Option<StoredProgress>) {
    match switch {
        Switch::Settled => (None, None),
        Switch::Failed(why) => (Some(why), None),
        Switch::Activating(work) | Switch::Deactivating(work) => of_work(work),
    }
}

const fn of_work(work: &Work) -> (Option<&Text>, Option<StoredProgress>) {
    match &work.progress {
        WorkProgress::Queued(why) => (why.as_ref(), Some(StoredProgress::Queued)),
        WorkProgress::Running(why) => (why.as_ref(), Some(StoredProgress::Running)),
    }
}

const fn of_pull(progress: PullProgress) -> StoredProgress {
    match progress {
        PullProgress::Queued => StoredProgress::Queued,
        PullProgress::Asking => StoredProgress::Running,
        PullProgress::Receiving => StoredProgress::Receiving,
    }
}

impl TryFrom<InstanceRecord> for Instance {
    type Error = RecordError;

    /// Rejects rows that do not round-trip.
    fn try_from(record: InstanceRecord) -> Result<Self, RecordError> {
        let instance = Self {
            state: record.state()?,
            settings: InstanceSettings {
                update_supported_objects: record.update_supported_objects,
                package_settings: record.package_settings,
                user_name: record.user_name.clone(),
                password: record.password.clone(),
                local: record.local,
            },
        };
        if InstanceRecord::from(&instance) == record {
            Ok(instance)
        } else {
            Err(RecordError::Contradiction(record.update_state))
        }
    }
}

impl InstanceRecord {
    fn state(&self) -> Result<InstanceState, RecordError> {
        let in_place = self.known()?;
        Ok(match self.update_state {
            UpdateState::Initial => InstanceState::Initial(self.initial(in_place)?),
            UpdateState::DownloadStarted => InstanceState::DownloadStarted {
                in_place,
                delivery: self.delivery()?,
            },
            UpdateState::Downloaded => InstanceState::Downloaded {
                in_place,
                operation: self.download()?,
                stage: self.need("stage", self.stage)?,
                waiting: self.note.clone(),
            },
            UpdateState::Delivered => InstanceState::Delivered {
                in_place,
                stage: self.need("stage", self.stage)?,
                package: self.need("package", self.package.clone())?,
                installation: self.installation()?,
            },
            UpdateState::Installed => InstanceState::Installed {
                software: self.need("software in place", self.in_place.clone())?,
                condition: self.condition()?,
            },
        })
    }

    /// The software in place outside INSTALLED.
    fn known(&self) -> Result<Option<InPlace>, RecordError> {
        let Some(software) = self.in_place.clone() else {
            return Ok(None);
        };
        let waiting = || self.in_place_note.clone();
        Ok(Some(InPlace {
            runs: self.in_place_runs,
            switch: match self.action() {
                Some(Action::Activate) => Switch::Activating(self.work(waiting())?),
                Some(Action::Deactivate) => Switch::Deactivating(self.work(waiting())?),
                _ => waiting().map_or(Switch::Settled, Switch::Failed),
            },
            ..InPlace::left(software)
        }))
    }

    fn action(&self) -> Option<Action> {
        match self.operation.as_ref()?.kind {
            OperationKind::Action(action) => Some(action),
            OperationKind::Pull | OperationKind::Push => None,
        }
    }

    fn initial(&self, in_place: Option<InPlace>) -> Result<Initial, RecordError> {
        if let Some(action @ (Action::Uninstall | Action::Purge)) = self.action() {
            return Ok(Initial::Removing {
                in_place: self.need("software in place", in_place)?,
                work: self.work(self.note.clone())?,
                purge: action == Action::Purge,
            });
        }
        match self.update_result {
            UpdateResult::Initial => Ok(Initial::Ready {
                in_place,
                note: self.note.clone(),
            }),
            result if result.ends_a_download() => Ok(Initial::Failed {
                in_place,
                result,
                why: self.need("reason", self.note.clone())?,
            }),
            _ => Err(self.contradiction()),
        }
    }

    fn delivery(&self) -> Result<Delivery, RecordError> {
        let Operation {
            id,
            kind,
            requester,
        } = self.need("operation", self.operation.clone())?;
        let flow = match kind {
            OperationKind::Push => Flow::Push,
            OperationKind::Pull => Flow::Pull {
                uri: self.need("Package URI", self.package_uri.clone())?,
                progress: match self.need("progress", self.progress)? {
                    StoredProgress::Queued => PullProgress::Queued,
                    StoredProgress::Running => PullProgress::Asking,
                    StoredProgress::Receiving => PullProgress::Receiving,
                },
                waiting: self.note.clone(),
            },
            _ => return Err(self.contradiction()),
        };
        Ok(Delivery {
            id,
            requester,
            stage: self.need("stage", self.stage)?,
            flow,
        })
    }

    /// The download of the file that is being verified.
    fn download(&self) -> Result<Operation, RecordError> {
        let operation = self.need("operation", self.operation.clone())?;
        match operation.kind {
            OperationKind::Pull | OperationKind::Push => Ok(operation),
            _ => Err(self.contradiction()),
        }
    }

    fn installation(&self) -> Result<InstallationState, RecordError> {
        match self.update_result {
            _ if self.action() == Some(Action::Install) => {
                Ok(InstallationState::Installing(self.work(self.note.clone())?))
            }
            UpdateResult::Initial => Ok(InstallationState::Untried),
            result if result.ends_an_installation() => Ok(InstallationState::Failed {
                result,
                why: self.need("reason", self.note.clone())?,
            }),
            _ => Err(self.contradiction()),
        }
    }

    fn condition(&self) -> Result<Condition, RecordError> {
        match (self.action(), self.update_result, self.note.clone()) {
            (Some(action @ (Action::Uninstall | Action::Purge)), _, waiting) => {
                Ok(Condition::Removing {
                    work: self.work(waiting)?,
                    purge: action == Action::Purge,
                })
            }
            (Some(action @ (Action::Activate | Action::Deactivate)), _, waiting)
                if self.component.is_some() =>
            {
                Ok(Condition::Switching {
                    component: self.component_in_place()?,
                    wanted: action == Action::Activate,
                    work: self.work(waiting)?,
                })
            }
            (Some(Action::Activate), _, waiting) => Ok(Condition::Activating(self.work(waiting)?)),
            (Some(Action::Deactivate), _, waiting) => {
                Ok(Condition::Deactivating(self.work(waiting)?))
            }
            (Some(Action::Back), _, waiting) => Ok(Condition::GoingBack(self.work(waiting)?)),
            (None, result, note) if result.ends_a_removal() => Ok(Condition::RemovalFailed {
                result,
                why: self.need("reason", note)?,
            }),
            (None, UpdateResult::Installed, Some(why)) => Ok(Condition::Failed(why)),
            (None, UpdateResult::Installed, None) => Ok(Condition::Settled),
            _ => Err(self.contradiction()),
        }
    }

    /// The component to switch, which the software in place has.
    fn component_in_place(&self) -> Result<PackageName, RecordError> {
        let component = self.need("component", self.component.clone())?;
        let has = |software: &Software| software.components.iter().any(|it| it.name == component);
        match self.in_place.as_ref().is_some_and(has) {
            true => Ok(component),
            false => Err(self.contradiction()),
        }
    }

    fn work(&self, waiting: Option<Text>) -> Result<Work, RecordError> {
        let operation = self.need("operation", self.operation.clone())?;
        Ok(Work {
            id: operation.id,
            requester: operation.requester,
            progress: match self.need("progress", self.progress)? {
                StoredProgress::Queued => WorkProgress::Queued(waiting),
                StoredProgress::Running => WorkProgress::Running(waiting),
                StoredProgress::Receiving => return Err(self.contradiction()),
            },
        })
    }

    fn need<T>(&self, column: &'static str, value: Option<T>) -> Result<T, RecordError> {
        value.ok_or(RecordError::Missing {
            state: self.update_state,
            column,
        })
    }

    const fn contradiction(&self) -> RecordError {
        RecordError::Contradiction(self.update_state)
    }
}
