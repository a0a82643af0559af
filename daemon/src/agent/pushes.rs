//! The blocks of a Package. Each accepted push has a task that writes them, one after the other.

use std::collections::BTreeMap;

use lwm2m::{Answer, ErrorCode, StreamedBlock};
use tokio::sync::mpsc;
use wharf_software::{Event, InstanceId, ShortId};

use super::Agent;
use crate::{
    delivery::{copy::LocalFile, push},
    tasks::RequestKey,
};

/// The running pushes, and the one that may begin.
#[derive(Default)]
pub(super) struct Pushes {
    open: BTreeMap<InstanceId, Blocks>,
    /// The push that the machine decides about.
    pub(super) expected: Option<PushSource>,
}

/// The source of a push, kept until the machine has accepted the push.
pub(super) enum PushSource {
    /// From a server.
    Blocks {
        blocks: mpsc::Receiver<push::PushBlock>,
        /// The length of the package, as the server announced it.
        size: Option<u64>,
    },
    /// From a local user.
    File(LocalFile),
}

/// The channel of a server's blocks to the task that writes them.
struct Blocks {
    /// The server of this push. Blocks of other servers do not belong to it.
    server: ShortId,
    sender: mpsc::Sender<push::PushBlock>,
    /// The block that is being written and not yet answered.
    unanswered: Option<RequestKey>,
}

impl Agent {
    pub(super) fn begin_push(
        &mut self,
        key: RequestKey,
        instance: InstanceId,
        event: Event,
        block: StreamedBlock,
    ) -> Result<(), ErrorCode> {
        let (sender, blocks) = mpsc::channel(1);
        self.pushes.expected = Some(PushSource::Blocks {
            blocks,
            size: block.size,
        });
        let stored = self.try_request(instance, event, key, None);
        let refused = self.pushes.expected.take().is_some();
        stored?;
        if refused {
            return Ok(()); // it is answered already
        }
        let push = Blocks {
            server: key.server,
            sender,
            unanswered: None,
        };
        self.pushes.open.insert(instance, push);
        let block = push::PushBlock {
            request: key,
            bytes: block.bytes,
            last: block.last,
        };
        self.continue_push(instance, block)
    }

    /// Continues a push. A block without a push came too late, or wharfd restarted before it (RFC 7959 2.9.2).
    pub(super) fn continue_push(
        &mut self,
        instance: InstanceId,
        block: push::PushBlock,
    ) -> Result<(), ErrorCode> {
        let key = block.request;
        let push = self.pushes.open.get_mut(&instance);
        let push = push.filter(|push| push.server == key.server);
        let push = push.ok_or(ErrorCode::RequestEntityIncomplete)?;
        let sent = push.sender.try_send(block);
        sent.map_err(|_| ErrorCode::RequestEntityIncomplete)?;
        push.unanswered = Some(key);
        Ok(())
    }

    /// Records that a block is answered.
    pub(super) fn close_block(&mut self, key: RequestKey) {
        for push in self.pushes.open.values_mut() {
            push.unanswered.take_if(|unanswered| *unanswered == key);
        }
    }

    /// Ends the push. Answers the block that was being written, so that its request does not stay open.
    pub(super) fn end_push(&mut self, instance: InstanceId) {
        let ended = self.pushes.open.remove(&instance);
        if let Some(key) = ended.and_then(|push| push.unanswered) {
            self.reply(key, Answer::Error(ErrorCode::RequestEntityIncomplete));
        }
    }
}
