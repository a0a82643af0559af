//! Files in root's folder that no instance knows, as after the database was lost: looked for once, at the start. Their
//! verdicts are good for ever, so nothing else would remove them.

use wharf_frames::StageId;

use crate::{
    delivery::seal,
    work::{Context, FOR_EVER},
};

/// Has them removed. A file has its name in the database before it is there.
pub(super) async fn discard(context: Context) {
    for stage in staged(&context).await {
        let is_known = context.store.borrow_mut().knows(stage);
        match is_known {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!("the file {stage} is of no instance: it is removed");
                seal::discard(&context, stage).await;
            }
            Err(error) => tracing::warn!("whose file {stage} is cannot be told: {error}"),
        }
    }
}

async fn staged(context: &Context) -> Vec<StageId> {
    let staged = context.until_answered(
        FOR_EVER,
        async || context.installer.staged().await,
        |failure, _| tracing::debug!("files of no instance are looked for later: {failure}"),
    );
    staged.await.unwrap_or_else(|failure| {
        tracing::warn!("files of no instance are not looked for: {failure}");
        Vec::new()
    })
}
