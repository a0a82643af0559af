//! Writes the blocks of a server's Write of Package into the staged file. Each is answered after it is written, the
//! last one after all are durable.

use std::{fs::File, io::Write as _, time::Duration};

use tokio::sync::mpsc;
use wharf_frames::{Cause, Failure, OperationId, StageId};
use wharf_software::{Event, InstanceId};

use crate::{
    installer::{InstallerError, WritableStage},
    tasks::{RequestKey, TaskContext, TaskReport},
};

/// The number of attempts in a row to open the file of a push.
const STAGE_LIMIT: u32 = 8;

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushBlock {
    /// The request with this block, which waits for an answer.
    pub request: RequestKey,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether it is the last one.
    pub last: bool,
}

/// A push that the machine accepted.
#[derive(Debug)]
pub struct Push {
    /// The instance.
    pub instance: InstanceId,
    /// Its operation.
    pub operation: OperationId,
    /// The file to write.
    pub stage: StageId,
    /// The length that the server announced. The room for it is checked before the first byte.
    pub size: Option<u64>,
    /// The blocks. Dropping the sender ends the push.
    pub blocks: mpsc::Receiver<PushBlock>,
}

impl Push {
    /// Writes the blocks. Reports their answers and the end of the operation to the agent.
    pub async fn run(mut self, context: &TaskContext) {
        let mut file = None;
        loop {
            let Some(block) = self.next(context).await else {
                return;
            };
            match self.write(context, &mut file, &block).await {
                Ok(()) if block.last => return self.end(context, Some((block.request, Ok(())))),
                Ok(()) => context.send(TaskReport::Block(block.request)),
                Err(failure) => {
                    return self.end(context, Some((block.request, Err(failure))));
                }
            }
        }
    }

    /// The next block; none after a timeout.
    async fn next(&mut self, context: &TaskContext) -> Option<PushBlock> {
        let next = tokio::time::timeout(context.timing.push_idle, self.blocks.recv()).await;
        if next.is_err() {
            self.end(context, None);
        }
        next.ok().flatten()
    }

    async fn write(
        &self,
        context: &TaskContext,
        file: &mut Option<PackageWriter>,
        block: &PushBlock,
    ) -> Result<(), Failure> {
        let open = match file {
            Some(open) => open,
            None => file.insert(open(context, self.stage, self.size).await?),
        };
        open.append(&block.bytes)?;
        wharf_fault::point("push.written");
        if block.last
            && let Some(open) = file.take()
        {
            open.finish().await?;
            wharf_fault::point("push.finished");
        }
        Ok(())
    }

    /// Ends the push. Without an answer the server was silent for too long.
    fn end(&self, context: &TaskContext, answers: Option<(RequestKey, Result<(), Failure>)>) {
        let operation = self.operation;
        let event = match &answers {
            Some((_, Ok(()))) => Event::PackageWritten { operation },
            Some((_, Err(failure))) => Event::Failed {
                operation,
                failure: failure.clone(),
            },
            None => Event::Failed {
                operation,
                failure: abandoned(),
            },
        };
        context.send(TaskReport::Event {
            instance: self.instance,
            event: Box::new(event),
            answers,
        });
    }
}

/// The failure of a push that cannot continue.
pub fn abandoned() -> Failure {
    Failure::new(
        Cause::PushAbandoned,
        "the server stopped sending the package: write it again from its first block",
    )
}

/// Opens the file, for this number of bytes if it is known.
pub(super) async fn open(
    context: &TaskContext,
    stage: StageId,
    size: Option<u64>,
) -> Result<PackageWriter, Failure> {
    let staged = staged(context, stage, size).await?;
    wharf_fault::point("push.staged");
    Ok(PackageWriter {
        file: File::from(staged.file),
        room: staged.limit,
    })
}

/// Retries for a moment, for an installer that restarts: the server waits.
async fn staged(
    context: &TaskContext,
    stage: StageId,
    size: Option<u64>,
) -> Result<WritableStage, Failure> {
    let mut in_vain = 0;
    loop {
        match context.installer.stage(stage, 0, size, |_| {}).await {
            Ok(staged) => return Ok(staged),
            Err(InstallerError::Later(_)) if in_vain < STAGE_LIMIT => in_vain += 1,
            Err(error) => return Err(error.into_failure()),
        }
        tokio::time::sleep(context.timing.pause(1).min(Duration::from_secs(1))).await;
    }
}

/// The staged file, open for writing.
pub(super) struct PackageWriter {
    file: File,
    room: u64,
}

impl PackageWriter {
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let length = bytes.len() as u64;
        self.room = self.room.checked_sub(length).ok_or_else(|| {
            Failure::new(
                Cause::Quota,
                "the package is longer than the installer's policy allows (see installer.toml)",
            )
        })?;
        self.file.write_all(bytes).map_err(not_written)
    }

    /// Syncs the file in a thread, since a slow flash may take seconds.
    pub(super) async fn finish(self) -> Result<(), Failure> {
        let synced = tokio::task::spawn_blocking(move || self.file.sync_all()).await;
        synced
            .map_err(std::io::Error::other)
            .and_then(|synced| synced)
            .map_err(not_written)
    }
}

fn not_written(error: std::io::Error) -> Failure {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let cause = match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => Cause::DiskFull,
        _ => Cause::Unavailable,
    };
    Failure::new(
        cause,
        format!("cannot write the package into its file: {error}"),
    )
}
