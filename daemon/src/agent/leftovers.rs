//! Removes staged files that no instance knows, for example after the database was lost. Their verdicts never expire,
//! so nothing else removes them. This happens once, at the start.

use wharf_frames::StageId;

use crate::{
    delivery::seal,
    tasks::{FOR_EVER, TaskContext},
};

/// Has them removed. The database has the id of a file before the file exists.
pub(super) async fn discard(context: TaskContext) {
    for stage in staged(&context).await {
        let is_known = context.store.borrow_mut().knows(stage);
        match is_known {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!("removing the file {stage}, which belongs to no instance");
                seal::discard(&context, stage).await;
            }
            Err(error) => tracing::warn!("cannot look up the owner of the file {stage}: {error}"),
        }
    }
}

async fn staged(context: &TaskContext) -> Vec<StageId> {
    let staged = context.until_answered(
        FOR_EVER,
        async || context.installer.staged().await,
        |failure, _| tracing::debug!("cannot list the staged files now: {failure}"),
    );
    staged.await.unwrap_or_else(|failure| {
        tracing::warn!("cannot list the staged files: {failure}");
        Vec::new()
    })
}
