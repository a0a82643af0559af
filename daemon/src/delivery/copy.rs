//! A package that a local user passes as an open file. It is copied into the staged file, and verified like a pushed
//! one.

use std::{fs::File, os::unix::fs::FileExt as _};

use wharf_frames::{Cause, Failure, OperationId, StageId};
use wharf_software::Event;

use super::push::open;
use crate::{
    bus::Refused,
    tasks::{TaskContext, not_stored},
};

/// The number of bytes that are copied before other tasks run.
const AT_ONCE: usize = 64 * 1024;

/// A package in a file of another user, who may still change it: only the copy counts.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    length: u64,
    signature: Option<Vec<u8>>,
}

impl LocalFile {
    /// Accepts only a regular file: reading anything else may block or never end.
    pub fn new(file: File, signature: Option<Vec<u8>>) -> Result<Self, Refused> {
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| {
            Refused::BadRequest(format!("cannot read the properties of the file: {error}"))
        })?;
        if !metadata.is_file() {
            return Err(Refused::BadRequest(
                "the package is not a regular file: copy it into one".to_owned(),
            ));
        }
        Ok(Self {
            file,
            length: metadata.len(),
            signature,
        })
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies it. Returns the event that ends the operation.
    pub async fn copy(
        self,
        context: &TaskContext,
        operation: OperationId,
        stage: StageId,
    ) -> Event {
        match self.try_copy(context, operation, stage).await {
            Ok(()) => Event::PackageWritten { operation },
            Err(failure) => Event::Failed { operation, failure },
        }
    }

    async fn try_copy(
        &self,
        context: &TaskContext,
        operation: OperationId,
        stage: StageId,
    ) -> Result<(), Failure> {
        self.note_signature(context, stage).map_err(not_stored)?;
        let mut staged = open(context, stage, Some(self.length)).await?;
        let mut buffer = vec![0; AT_ONCE];
        let mut copied = 0;
        loop {
            let read = self.file.read_at(&mut buffer, copied);
            let length = read.map_err(not_read)?;
            let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            staged.append(bytes)?;
            copied += length as u64;
            let percent = Some(super::percent(copied, self.length));
            context.publisher.progress(operation, percent);
            tokio::task::yield_now().await;
        }
        staged.finish().await
    }

    fn note_signature(
        &self,
        context: &TaskContext,
        stage: StageId,
    ) -> Result<(), crate::store::StoreError> {
        let mut store = context.store.borrow_mut();
        store.begin_attempt(stage)?;
        match &self.signature {
            Some(signature) => store.note_signature(stage, signature),
            None => Ok(()),
        }
    }
}

fn not_read(error: std::io::Error) -> Failure {
    Failure::new(
        Cause::Unavailable,
        format!("cannot read the package that was handed over: {error}"),
    )
}
