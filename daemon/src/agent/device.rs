//! What the device has: asked at the start, and whenever somebody else may have changed it. A job's own end tells it by
//! itself.

use std::{path::Path, time::Duration};

use wharf_frames::PackageName;
use wharf_software::{Event, InstanceId};

use super::Agent;
use crate::{
    installer::NotDone,
    local_changes::LocalChanges,
    work::{Context, Report},
};

/// Between two looks: what starts every second must not have the installer asked as often.
const PAUSE: Duration = Duration::from_secs(5);

impl Agent {
    /// Asks about one package after the other what the device has: it may have been changed by hand. An earlier look
    /// that has not ended is worth nothing any more.
    pub(super) fn look_at_the_device(&mut self) {
        let idle = self
            .instances
            .iter()
            .filter(|(_, instance)| !instance.is_busy());
        let software = idle.filter_map(|(id, known)| Some((*id, known.software()?.0.clone())));
        let software: Vec<(InstanceId, PackageName)> = software.collect();
        let context = self.context.clone();
        let look = tokio::task::spawn_local(async move {
            for (id, name) in software {
                look(&context, id, name).await;
            }
        });
        if let Some(earlier) = self.look.replace(look) {
            earlier.abort();
        }
    }
}

/// Has the agent look again and again, for as long as it runs.
pub(super) fn watch(root: &Path, changes: LocalChanges, context: Context) {
    let (packages, root) = (changes.clone(), root.to_owned());
    tokio::task::spawn_local(async move {
        let Err(error) = packages.watch_packages(&root).await;
        tracing::info!(
            "packages that are changed by hand are seen at the next start only: {error}"
        );
    });
    tokio::task::spawn_local(async move {
        loop {
            changes.settled().await;
            context.send(Report::DeviceChanged);
            tokio::time::sleep(PAUSE).await;
        }
    });
}

/// Asks what the device has of the software of an instance.
pub(super) async fn look(context: &Context, id: InstanceId, name: PackageName) {
    let mut in_vain = 0;
    loop {
        match context.installer.state(name.clone()).await {
            Ok(has) => return context.report(id, Event::DeviceHas(has)),
            Err(NotDone::Refused(failure)) => {
                return tracing::warn!(
                    WHARF_INSTANCE = id.0,
                    WHARF_PACKAGE = name.as_str(),
                    "what the device has of {name} is not known: {failure}"
                );
            }
            Err(NotDone::Later(_)) => in_vain += 1,
        }
        tokio::time::sleep(context.back_off(in_vain)).await;
    }
}
