//! The two requests to the installer for a complete file: the verdict whether it may be installed here, and its
//! removal.

use std::time::Duration;

use wharf_frames::{Failure, StageId, Text, installer::SealedPackage};
use wharf_journal::message;

use crate::tasks::{FOR_EVER, TaskContext, not_stored, outlasts_a_restart};

/// Asks for a verdict until the installer gives one, for at most `patience`. A keyring that cannot be read, for
/// example, is not the fault of the package. `waits` gets the reason of the delay.
pub async fn seal(
    context: &TaskContext,
    stage: StageId,
    patience: Duration,
    waits: impl Fn(Text),
) -> Result<SealedPackage, Failure> {
    let download = context.store.borrow_mut().download(stage);
    let signature = download.map_err(not_stored)?.signature;
    let installer = &context.installer;
    let ask = async || installer.seal(stage, signature.clone(), &waits).await;
    let package = context.until_answered(patience, ask, |failure, in_vain| {
        tracing::warn!(
            MESSAGE_ID = message::INSTALLER_NOT_REACHED,
            "the installer cannot verify the file {stage} now: {failure}"
        );
        if outlasts_a_restart(in_vain) {
            waits(format!("a verdict: {failure}").into());
        }
    });
    let package = package.await?;
    wharf_fault::point("seal.judged");
    Ok(package)
}

/// Asks until the file is removed, since it uses room. A refusal means that it is not ours to remove.
pub async fn discard(context: &TaskContext, stage: StageId) {
    let discarded = context.until_answered(
        FOR_EVER,
        async || context.installer.discard(stage).await,
        |failure, _| tracing::debug!("the installer cannot remove the file {stage} now: {failure}"),
    );
    if let Err(failure) = discarded.await {
        tracing::warn!("the installer keeps the file {stage}: {failure}");
    }
}
