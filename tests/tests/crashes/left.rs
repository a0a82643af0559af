//! The state of an agent that has ended: its database, read from a copy, since reading repairs it.

use std::{collections::BTreeMap, fs, path::Path};

use wharf_software::{Instance, InstanceId};
use wharf_tests::{folder::Folder, waiting::wait_until};
use wharfd::store::{DELETED, HistoryEntry, Pending, Store};

/// The Update States that may follow each state, itself included: the Status Reason may change alone.
const NEXT: [&[u8]; 5] = [&[0, 1], &[1, 2, 0], &[2, 3, 0], &[3, 4, 0], &[4, 0]];

/// The Update Results of each Update State.
const RESULTS: [&[u8]; 5] = [
    &[0, 50, 51, 52, 53, 54, 56, 57],
    &[1],
    &[0],
    &[0, 50, 54, 57, 58],
    &[2, 59],
];

/// The database of an agent that has ended.
pub(crate) struct Left {
    /// The history for servers.
    pub(crate) history: Vec<HistoryEntry>,
    /// The effects that are still due.
    pub(crate) pending: Vec<Pending>,
    instances: Vec<(InstanceId, Instance)>,
}

impl Left {
    /// The state of the agent of this root.
    pub(crate) fn on(root: &Path) -> Self {
        let folder = Folder::new();
        for file in ["wharfd.db", "wharfd.db-wal"] {
            let from = root.join("var/lib/wharfd").join(file);
            if from.exists() {
                fs::copy(from, folder.join(file)).unwrap();
            }
        }
        let mut store = Store::open(&folder.join("wharfd.db")).unwrap();
        let stored = store.load().unwrap();
        Self {
            history: store.history().unwrap(),
            pending: stored.pending,
            instances: stored.instances.into_iter().collect(),
        }
    }

    /// Checks that no line of history is missing: each state follows from the one before (TS table 5.1.1-1), with a
    /// Result that belongs to it (TS 5.1.2.4).
    pub(crate) fn assert_lawful(&self) {
        let mut states: BTreeMap<InstanceId, u8> = BTreeMap::new();
        for entry in &self.history {
            let results = RESULTS[usize::from(entry.update_state)];
            assert!(results.contains(&entry.update_result), "{entry:?}");
            if entry.reason == DELETED {
                states.remove(&entry.instance); // a new one begins where a Create may lead
                continue;
            }
            let before = states.insert(entry.instance, entry.update_state);
            let next = NEXT[usize::from(before.unwrap_or(0))];
            assert!(
                next.contains(&entry.update_state),
                "{before:?} before {entry:?}"
            );
        }
    }

    /// Checks that every instance has the state at the end of its history: neither is stored without the other.
    pub(crate) fn assert_whole(&self) {
        for (id, instance) in &self.instances {
            let mut entries = self.history.iter().rev();
            let Some(last) = entries.find(|entry| entry.instance == *id) else {
                continue; // as it came from the factory
            };
            let has = (
                instance.update_state().value(),
                instance.update_result().value(),
                instance.status_reason().to_string(),
            );
            let told = (last.update_state, last.update_result, last.reason.clone());
            assert_eq!(has, told, "instance {} beside its history", id.0);
        }
    }
}

/// Waits until the installer of this root has no package file.
pub(crate) fn wait_until_unstaged(root: &Path) {
    let staged = root.join("var/lib/wharf-installer/staged");
    wait_until("an empty staging folder", || {
        fs::read_dir(&staged)
            .unwrap()
            .next()
            .is_none()
            .then_some(())
    });
}
