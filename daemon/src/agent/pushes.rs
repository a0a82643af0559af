//! The way of the blocks of a Package: each accepted push has a task, which writes them one after the other.

use std::collections::BTreeMap;

use lwm2m::{Answer, Block, ErrorCode};
use tokio::sync::mpsc;
use wharf_software::{Event, InstanceId, ShortId};

use super::Agent;
use crate::{
    delivery::{copy::LocalFile, push},
    work::RequestKey,
};

/// The pushes that go on, and one that may begin.
#[derive(Default)]
pub(super) struct Pushes {
    open: BTreeMap<InstanceId, Blocks>,
    /// A push that the machine is being asked about.
    pub(super) expected: Option<Expected>,
}

/// The source of a push, kept until the machine has accepted the push.
pub(super) enum Expected {
    /// From a server.
    Blocks {
        blocks: mpsc::Receiver<push::Block>,
        /// The whole length, as the server announced it.
        size: Option<u64>,
    },
    /// From a local user.
    File(LocalFile),
}

/// The way of a server's blocks to the task that writes them.
struct Blocks {
    /// Blocks of another server do not belong to this push.
    server: ShortId,
    sender: mpsc::Sender<push::Block>,
    /// The block that is being written, and not answered yet.
    unanswered: Option<RequestKey>,
}

impl Agent {
    pub(super) fn begin_push(
        &mut self,
        key: RequestKey,
        instance: InstanceId,
        event: Event,
        block: Block,
    ) -> Result<(), ErrorCode> {
        let (sender, blocks) = mpsc::channel(1);
        self.pushes.expected = Some(Expected::Blocks {
            blocks,
            size: block.size,
        });
        let stored = self.try_request(instance, event, key, None);
        let refused = self.pushes.expected.take().is_some();
        stored?;
        if refused {
            return Ok(()); // and answered
        }
        let push = Blocks {
            server: key.server,
            sender,
            unanswered: None,
        };
        self.pushes.open.insert(instance, push);
        let block = push::Block {
            request: key,
            bytes: block.bytes,
            last: block.last,
        };
        self.go_on_with_push(instance, block)
    }

    /// A block without its push came too late, or wharfd was restarted in between (RFC 7959 2.9.2).
    pub(super) fn go_on_with_push(
        &mut self,
        instance: InstanceId,
        block: push::Block,
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

    /// A block has its answer.
    pub(super) fn close_block(&mut self, key: RequestKey) {
        for push in self.pushes.open.values_mut() {
            push.unanswered.take_if(|unanswered| *unanswered == key);
        }
    }

    /// Ends the push. A block that was being written is answered, so that its request does not stay open.
    pub(super) fn end_push(&mut self, instance: InstanceId) {
        let ended = self.pushes.open.remove(&instance);
        if let Some(key) = ended.and_then(|push| push.unanswered) {
            self.reply(key, Answer::Error(ErrorCode::RequestEntityIncomplete));
        }
    }
}
