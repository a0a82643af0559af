//! Deduplication (RFC 7252 4.5): the messages of the last EXCHANGE_LIFETIME, with their replies.

use core::time::Duration;
use std::collections::VecDeque;

use crate::Time;

/// The reply to a duplicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The application has not answered yet.
    Pending,
    /// No reply, since the message was not confirmable (RFC 7252 4.3).
    Nothing,
    /// The same datagram again.
    Datagram(Vec<u8>),
}

struct Remembered {
    id: u16,
    digest: u64,
    until: Time,
    reply: Reply,
}

/// Messages that change something are kept apart, so that many reads or blocks do not evict them.
pub(crate) struct Duplicates {
    acting: VecDeque<Remembered>,
    others: VecDeque<Remembered>,
    capacity: usize,
    lifetime: Duration,
}

impl Duplicates {
    pub(crate) fn new(capacity: usize, lifetime: Duration) -> Self {
        Self {
            acting: VecDeque::new(),
            others: VecDeque::new(),
            capacity,
            lifetime,
        }
    }

    /// The reply to this message if it is a duplicate. A message with a known Message ID but another
    /// digest is new, since a server that lost its state may reuse an ID early.
    pub(crate) fn reply_to(&self, now: Time, id: u16, digest: u64) -> Option<&Reply> {
        let known = |it: &&Remembered| it.id == id && it.digest == digest && now < it.until;
        let newest = self.others.iter().rev().find(known);
        newest
            .or_else(|| self.acting.iter().rev().find(known))
            .map(|it| &it.reply)
    }

    /// Remembers a new message, and whether it changes something (`acts`). At capacity it replaces
    /// the oldest one.
    pub(crate) fn remember(&mut self, now: Time, id: u16, digest: u64, acts: bool, reply: Reply) {
        let memory = if acts {
            &mut self.acting
        } else {
            &mut self.others
        };
        while memory.front().is_some_and(|oldest| oldest.until <= now)
            || (memory.len() >= self.capacity && !memory.is_empty())
        {
            memory.pop_front();
        }
        memory.push_back(Remembered {
            id,
            digest,
            until: now + self.lifetime,
            reply,
        });
    }

    /// Forgets all messages: a server that lost its state may reuse Message IDs.
    pub(crate) fn forget(&mut self) {
        self.acting.clear();
        self.others.clear();
    }

    /// The digest of the newest message with this Message ID that changes something.
    pub(crate) fn digest_of_acting(&self, id: u16) -> Option<u64> {
        let newest = self.acting.iter().rev().find(|it| it.id == id);
        newest.map(|it| it.digest)
    }

    /// Sets the reply of the newest pending message with this Message ID.
    pub(crate) fn answered(&mut self, id: u16, reply: Reply) {
        let newest = |memory: &VecDeque<Remembered>| {
            memory
                .iter()
                .rposition(|it| it.id == id && it.reply == Reply::Pending)
        };
        let found = if let Some(at) = newest(&self.others) {
            self.others.get_mut(at)
        } else {
            newest(&self.acting).and_then(|at| self.acting.get_mut(at))
        };
        if let Some(remembered) = found {
            remembered.reply = reply;
        }
    }
}

/// An FNV-1a digest, to compare messages and values.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(247);

    #[test]
    fn a_message_is_remembered_for_exchange_lifetime() {
        let mut duplicates = Duplicates::new(8, LIFETIME);
        let start = Time::from_millis(0);
        duplicates.remember(start, 1, 7, false, Reply::Pending);
        duplicates.answered(1, Reply::Datagram(vec![1]));
        let just_before = start + (LIFETIME - Duration::from_millis(1));
        assert_eq!(
            duplicates.reply_to(just_before, 1, 7),
            Some(&Reply::Datagram(vec![1]))
        );
        assert_eq!(duplicates.reply_to(start + LIFETIME, 1, 7), None);
        assert_eq!(
            duplicates.reply_to(start, 1, 8),
            None,
            "another message with the same Message ID"
        );
    }

    #[test]
    fn many_reads_do_not_evict_an_execute() {
        let mut duplicates = Duplicates::new(8, LIFETIME);
        let now = Time::from_millis(0);
        duplicates.remember(now, 0, 0, true, Reply::Nothing);
        for id in 1..100 {
            duplicates.remember(now, id, 0, false, Reply::Nothing);
        }
        assert_eq!(duplicates.reply_to(now, 0, 0), Some(&Reply::Nothing));
        assert_eq!(duplicates.reply_to(now, 1, 0), None);
        assert_eq!((duplicates.acting.len(), duplicates.others.len()), (1, 8));
    }
}
