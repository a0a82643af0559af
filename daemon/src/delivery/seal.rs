//! The two questions to the installer about a file that nobody writes any more: whether it is a package that may be
//! installed here, and to remove it.

use wharf_frames::{Failure, StageId, installer::Package};
use wharf_journal::message;

use crate::{
    installer::NotDone,
    work::{Context, not_stored},
};

/// So often in a row the installer is asked in vain before the download fails.
const ASK_LIMIT: u32 = 12;

/// Asks until there is a verdict.
pub async fn seal(context: &Context, stage: StageId) -> Result<Package, Failure> {
    let download = context.store.borrow_mut().download(stage);
    let signature = download.map_err(not_stored)?.signature;
    let mut in_vain = 0;
    loop {
        let failure = match context.installer.seal(stage, signature.clone()).await {
            Ok(package) => {
                wharf_fault::point("seal.judged");
                return Ok(package);
            }
            Err(NotDone::Refused(failure)) => return Err(failure),
            Err(NotDone::Later(failure)) => failure,
        };
        in_vain += 1;
        if in_vain == ASK_LIMIT {
            return Err(failure);
        }
        tracing::warn!(
            MESSAGE_ID = message::INSTALLER_NOT_REACHED,
            "the installer cannot judge the file {stage} now: {failure}"
        );
        tokio::time::sleep(context.back_off(in_vain)).await;
    }
}

/// Asks until it is done: the file would take room for ever. A refusal means that it is not ours to remove.
pub async fn discard(context: &Context, stage: StageId) {
    let mut in_vain = 0;
    loop {
        match context.installer.discard(stage).await {
            Ok(()) => return,
            Err(NotDone::Refused(failure)) => {
                return tracing::warn!("the installer keeps the file {stage}: {failure}");
            }
            Err(NotDone::Later(failure)) => {
                tracing::debug!("the installer cannot remove the file {stage} now: {failure}");
            }
        }
        in_vain += 1;
        tokio::time::sleep(context.back_off(in_vain)).await;
    }
}
