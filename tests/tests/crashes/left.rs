//! What is left of an agent that has ended: its database, read from a copy, since reading it mends it.

use std::{fs, path::Path};

use wharf_software::{Instance, InstanceId};
use wharf_tests::folder::Folder;
use wharfd::store::{HistoryEntry, Pending, Store};

/// The database of an agent that does not run.
pub(crate) struct Left {
    /// What servers could see.
    pub(crate) history: Vec<HistoryEntry>,
    /// What was still to be done.
    pub(crate) pending: Vec<Pending>,
    instances: Vec<(InstanceId, Instance)>,
}

impl Left {
    /// Of the agent of this root.
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

    /// The history of an instance, as `4/2 hello 1.0-1`; lines that differ in the Status Reason alone are one.
    pub(crate) fn story(&self, instance: u16) -> Vec<String> {
        let of_it = self.history.iter();
        let of_it = of_it.filter(|entry| entry.instance == InstanceId(instance));
        let mut story: Vec<String> = of_it.map(told).collect();
        story.dedup();
        story
    }

    /// Every instance is where its history ends: neither is stored without the other.
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

fn told(entry: &HistoryEntry) -> String {
    let update = format!("{}/{}", entry.update_state, entry.update_result);
    let software = format!("{} {}", entry.name, entry.version);
    format!("{update} {software}").trim_end().to_owned()
}
