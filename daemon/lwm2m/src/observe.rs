//! The observations of one server, and the queue of notifications (RFC 7641, TS Core 1.0 5.5).

use std::collections::VecDeque;

use crate::{
    Path, SavedObservation, coap::Code, content::ContentFormat, exchange::digest, numbers::Numbers,
};

/// Identifies an observation. An observation belongs to its path and token (RFC 7641 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObservationId(u64);

/// The request that began an observation.
#[derive(Clone, Debug)]
pub(crate) struct ObserveRequest {
    pub(crate) path: Path,
    pub(crate) token: Vec<u8>,
    pub(crate) format: ContentFormat,
    /// The block size exponent (SZX) that the server requested.
    pub(crate) exponent: u8,
    /// Whether a newer value replaces a queued one.
    pub(crate) coalesced: bool,
}

struct Observation {
    id: ObservationId,
    subject: ObserveRequest,
    /// A digest of the last acknowledged value; [`UNKNOWN`] while a newer one is queued.
    told: u64,
    /// The Message ID of the last notification. A Reset with it ends the observation.
    message: Option<u16>,
    /// Unacknowledged notifications since the last acknowledged one.
    given_up: u8,
}

/// No value has this digest, so that any value is notified after a restart.
const UNKNOWN: u64 = 0;

/// The count of unacknowledged notifications that ends an observation (RFC 7641 4.5).
const MAX_UNACKNOWLEDGED: u8 = 8;

/// The bits of an Observe number (RFC 7641 2).
const NUMBER_BITS: u32 = 24;

/// A notification, queued or in flight.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notification {
    /// The value of one commit.
    Value {
        observation: ObservationId,
        body: Vec<u8>,
    },
    /// The last notification of an observation: an error code (RFC 7641 4.2).
    End {
        token: Vec<u8>,
        code: Code,
        given_up: u8,
    },
}

impl Observation {
    fn is(&self, subject: &ObserveRequest) -> bool {
        (self.subject.path, &self.subject.token) == (subject.path, &subject.token)
    }

    fn saved(&self) -> SavedObservation {
        SavedObservation {
            path: self.subject.path,
            token: self.subject.token.clone(),
            format: self.subject.format as u16,
            block_exponent: self.subject.exponent,
            told: self.told,
        }
    }
}

impl Notification {
    fn is_of(&self, id: ObservationId) -> bool {
        matches!(self, Self::Value { observation, .. } if *observation == id)
    }

    fn is_of_the_same(&self, other: &Self) -> bool {
        matches!(other, Self::Value { observation, .. } if self.is_of(*observation))
    }
}

/// All observations of one server.
pub(crate) struct Observations {
    /// In the order of the last request for each.
    observations: Vec<Observation>,
    queue: VecDeque<Notification>,
    next_id: u64,
    capacity: usize,
    queued_each: usize,
    /// The Observe numbers of all observations.
    numbers: Numbers,
    unsaved: Unsaved,
}

/// The changes for [`Observations::take_unsaved`].
#[derive(Default)]
struct Unsaved {
    /// The next message relies on the change.
    observations: bool,
    /// Only digests of acknowledged values changed.
    told: bool,
    /// A digest became [`UNKNOWN`]. It is saved before the next notification is sent.
    replaced: bool,
}

impl Observations {
    pub(crate) fn new(capacity: usize, queued_each: usize) -> Self {
        let (observations, queue) = (Vec::new(), VecDeque::new());
        Self {
            observations,
            queue,
            next_id: 0,
            capacity,
            queued_each: queued_each.max(1),
            numbers: Numbers::new(NUMBER_BITS, 0),
            unsaved: Unsaved::default(),
        }
    }

    /// Continues the Observe numbers: a server drops a notification with an older number (RFC 7641
    /// 3.4).
    pub(crate) fn resume_numbers(&mut self, ceiling: u32) {
        self.numbers.resume(ceiling);
    }

    pub(crate) fn ceiling(&self) -> u32 {
        self.numbers.ceiling()
    }

    /// Adds an observation of an earlier run.
    pub(crate) fn restore(&mut self, subject: ObserveRequest, told: u64) {
        let id = ObservationId(self.next_id);
        self.add(id, subject, told);
    }

    pub(crate) fn saved(&self) -> Vec<SavedObservation> {
        self.observations.iter().map(Observation::saved).collect()
    }

    /// Whether a change is unsaved since the last call. Changed digests count only if the engine is
    /// `at_rest`.
    pub(crate) fn take_unsaved(&mut self, at_rest: bool) -> bool {
        let relied_on = self.unsaved.observations | self.numbers.take_unsaved();
        let unsaved = relied_on || (at_rest && self.unsaved.told);
        if unsaved {
            self.unsaved = Unsaved::default();
        }
        unsaved
    }

    /// Begins an observation, or restarts the one of the same path and token (RFC 7641 4.1). A restart
    /// drops its queued notifications, since the response is newer. Returns the Observe number of
    /// the response, and the path of an observation that was removed for it. `None` at the limit.
    pub(crate) fn begin(
        &mut self,
        subject: ObserveRequest,
        told: u64,
    ) -> Option<(u32, Option<Path>)> {
        let known = self.observations.iter().find(|it| it.is(&subject));
        let id = known.map_or(ObservationId(self.next_id), |it| it.id);
        self.remove(|it| it.id == id);
        let mut ended = None;
        if self.observations.len() >= self.capacity {
            let superseded = self.superseded_by(subject.path)?;
            ended = self.remove(|it| it.id == superseded);
        }
        self.add(id, subject, told);
        self.unsaved.observations = true;
        Some((self.numbers.next(), ended))
    }

    /// The oldest observation of the path that has most of them, with `newest` counted. A server that
    /// lost its observations observes again with new tokens. It resets an old one only when it gets a
    /// notification.
    fn superseded_by(&self, newest: Path) -> Option<ObservationId> {
        let of = |path: Path| {
            let known = self.observations.iter().map(|it| it.subject.path);
            known.chain([newest]).filter(|it| *it == path).count()
        };
        // `max_by_key` returns the last of equal elements.
        let newest_first = self.observations.iter().rev();
        let most = newest_first.max_by_key(|it| of(it.subject.path))?;
        (of(most.subject.path) > 1).then_some(most.id)
    }

    fn add(&mut self, id: ObservationId, subject: ObserveRequest, told: u64) {
        self.next_id += 1;
        self.observations.push(Observation {
            id,
            subject,
            told,
            message: None,
            given_up: 0,
        });
    }

    /// Ends the observation of this path with this token (RFC 7641 3.6).
    pub(crate) fn cancel(&mut self, path: Path, token: &[u8]) -> Option<Path> {
        self.remove(|it| it.subject.path == path && it.subject.token == token)
    }

    /// Ends the observation of the notification that got a Reset (RFC 7641 3.6).
    pub(crate) fn reset(&mut self, message: u16) -> Option<Path> {
        self.remove(|it| it.message == Some(message))
    }

    fn remove(&mut self, matches: impl Fn(&Observation) -> bool) -> Option<Path> {
        let at = self.observations.iter().position(matches)?;
        let removed = self.observations.remove(at);
        self.unsaved.observations = true;
        self.queue
            .retain(|notification| !notification.is_of(removed.id));
        Some(removed.subject.path)
    }

    /// Ends all observations without a notification.
    pub(crate) fn clear(&mut self) -> Vec<Path> {
        self.queue.clear();
        self.unsaved.observations |= !self.observations.is_empty();
        self.observations
            .drain(..)
            .map(|it| it.subject.path)
            .collect()
    }

    /// The observations of these changed paths, each once, in the order of the changes.
    pub(crate) fn affected(&self, changed: &[Path]) -> Vec<(ObservationId, Path)> {
        let mut affected = Vec::new();
        for path in changed {
            for it in &self.observations {
                let known = affected.iter().any(|(id, _)| *id == it.id);
                if it.subject.path.contains(*path) && !known {
                    affected.push((it.id, it.subject.path));
                }
            }
        }
        affected
    }

    pub(crate) fn subject(&self, id: ObservationId) -> Option<&ObserveRequest> {
        self.observations
            .iter()
            .find(|it| it.id == id)
            .map(|it| &it.subject)
    }

    /// Marks the server's value as unknown before a newer one is sent.
    pub(crate) fn replace(&mut self, id: ObservationId) {
        if let Some(observation) = self.observations.iter_mut().find(|it| it.id == id) {
            self.unsaved.replaced |= observation.told != UNKNOWN;
            observation.told = UNKNOWN;
        }
    }

    /// Queues a value. A coalesced one replaces a queued value of the same observation.
    pub(crate) fn enqueue(&mut self, id: ObservationId, body: Vec<u8>) {
        let Some(coalesced) = self.subject(id).map(|subject| subject.coalesced) else {
            return;
        };
        self.replace(id);
        let notification = Notification::Value {
            observation: id,
            body,
        };
        let mut waiting = self.queue.iter_mut().filter(|waiting| waiting.is_of(id));
        match waiting.next() {
            Some(older) if coalesced => *older = notification,
            Some(_) if waiting.count() + 1 >= self.queued_each => {
                let oldest = self.queue.iter().position(|waiting| waiting.is_of(id));
                oldest.and_then(|at| self.queue.remove(at));
                self.queue.push_back(notification);
            }
            _ => self.queue.push_back(notification),
        }
    }

    /// Ends an observation with a last notification.
    pub(crate) fn end(&mut self, id: ObservationId, code: Code) -> Option<Path> {
        let token = self.subject(id)?.token.clone();
        let path = self.remove(|it| it.id == id);
        self.queue.push_back(Notification::End {
            token,
            code,
            given_up: 0,
        });
        path
    }

    /// Ends the observations of paths that no longer exist, with 4.04.
    pub(crate) fn end_missing(&mut self, exists: impl Fn(Path) -> bool) -> Vec<Path> {
        let missing = |it: &&Observation| !exists(it.subject.path);
        let ids: Vec<_> = self
            .observations
            .iter()
            .filter(missing)
            .map(|it| it.id)
            .collect();
        ids.into_iter()
            .filter_map(|id| self.end(id, Code::NOT_FOUND))
            .collect()
    }

    /// Takes the next notification from the queue.
    pub(crate) fn next(&mut self) -> Option<Notification> {
        self.queue.pop_front()
    }

    /// Records that a notification is sent with this Message ID. Returns its Observe number.
    pub(crate) fn sent(&mut self, id: ObservationId, message: u16) -> Option<u32> {
        let observation = self.observations.iter_mut().find(|it| it.id == id)?;
        observation.message = Some(message);
        self.unsaved.observations |= self.unsaved.replaced;
        Some(self.numbers.next())
    }

    /// Records that the server acknowledged this notification.
    pub(crate) fn acknowledged(&mut self, notification: &Notification) {
        let mut waiting = self.queue.iter();
        let newer_waits = waiting.any(|it| it.is_of_the_same(notification));
        let Some(observation) = self.of(notification) else {
            return;
        };
        observation.given_up = 0;
        if let Notification::Value { body, .. } = notification {
            let told = if newer_waits { UNKNOWN } else { digest(body) };
            let is_changed = observation.told != told;
            observation.told = told;
            self.unsaved.told |= is_changed;
        }
    }

    /// Whether the server acknowledged this value last.
    pub(crate) fn was_told(&self, id: ObservationId, body: &[u8]) -> bool {
        let mut known = self.observations.iter().filter(|it| it.id == id);
        known.any(|it| it.told == digest(body))
    }

    /// Queues an unacknowledged notification again. Returns the path if this ends the observation.
    pub(crate) fn gave_up(&mut self, mut notification: Notification) -> Option<Path> {
        if let Notification::End { given_up, .. } = &mut notification {
            *given_up += 1;
            if *given_up >= MAX_UNACKNOWLEDGED {
                return None;
            }
        }
        if let Some(observation) = self.of(&notification) {
            observation.given_up += 1;
            let (id, given_up) = (observation.id, observation.given_up);
            if given_up >= MAX_UNACKNOWLEDGED {
                return self.remove(|it| it.id == id);
            }
        }
        self.put_back(notification);
        None
    }

    /// Queues a notification again at the front, unless a newer one replaced it.
    pub(crate) fn put_back(&mut self, notification: Notification) {
        if let Notification::Value { observation, .. } = notification {
            let waits = |id| self.queue.iter().any(|waiting| waiting.is_of(id));
            match self.subject(observation) {
                Some(subject) if !(subject.coalesced && waits(observation)) => {}
                _ => return,
            }
        }
        self.queue.push_front(notification);
    }

    fn of(&mut self, notification: &Notification) -> Option<&mut Observation> {
        self.observations
            .iter_mut()
            .find(|it| notification.is_of(it.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(path: Path, token: u8, coalesced: bool) -> ObserveRequest {
        ObserveRequest {
            path,
            token: vec![token],
            format: ContentFormat::Text,
            exponent: 6,
            coalesced,
        }
    }

    const STATE: Path = Path::Resource(9, 0, 7);
    const REASON: Path = Path::Resource(9, 0, 16);

    fn id_of(observations: &Observations, path: Path) -> ObservationId {
        observations.affected(&[path])[0].0
    }

    fn waiting(observations: &mut Observations) -> Vec<Vec<u8>> {
        let next = || observations.next();
        core::iter::from_fn(next)
            .map(|notification| match notification {
                Notification::Value { body, .. } => body,
                Notification::End { code, .. } => code.to_string().into_bytes(),
            })
            .collect()
    }

    #[test]
    fn every_value_is_queued_in_order_unless_it_is_coalesced() {
        let mut observations = Observations::new(4, 3);
        observations.begin(subject(STATE, 1, false), 0).unwrap();
        observations.begin(subject(REASON, 2, true), 0).unwrap();
        let (state, reason) = (id_of(&observations, STATE), id_of(&observations, REASON));
        for value in [1, 2, 3] {
            observations.enqueue(reason, vec![10 + value]);
            observations.enqueue(state, vec![value]);
        }
        assert_eq!(waiting(&mut observations), [[13], [1], [2], [3]]);
        for value in [1, 2, 3, 4, 5] {
            observations.enqueue(state, vec![value]);
        }
        assert_eq!(
            waiting(&mut observations),
            [[3], [4], [5]],
            "a full queue drops the oldest values"
        );
    }

    #[test]
    fn the_same_token_for_the_same_path_restarts_the_observation() {
        let mut observations = Observations::new(4, 3);
        observations.begin(subject(STATE, 1, false), 0).unwrap();
        let old = id_of(&observations, STATE);
        observations.enqueue(old, vec![1]);
        let number = observations.sent(old, 77).unwrap();
        let (next, ended) = observations.begin(subject(STATE, 1, false), 0).unwrap();
        assert!(next > number && ended.is_none());
        assert_eq!(observations.next(), None);
        assert_eq!(observations.affected(&[STATE]), [(old, STATE)]);
    }

    #[test]
    fn an_observation_belongs_to_its_path_and_token() {
        let mut observations = Observations::new(4, 3);
        for (path, token) in [(STATE, 1), (STATE, 2), (REASON, 2)] {
            observations.begin(subject(path, token, false), 0).unwrap();
        }
        let [(first, _), (second, _)] = observations.affected(&[STATE])[..] else {
            panic!("two observations");
        };
        for id in [first, second] {
            observations.enqueue(id, vec![1]);
        }
        assert_eq!(observations.cancel(STATE, &[3]), None);
        assert_eq!(observations.cancel(REASON, &[1]), None);
        observations.sent(first, 77);
        observations.sent(second, 78);
        assert_eq!(observations.reset(77), Some(STATE));
        assert_eq!(observations.affected(&[STATE]), [(second, STATE)]);
        assert_eq!(waiting(&mut observations), [[1]], "of the second one");
        assert_eq!(observations.cancel(STATE, &[2]), Some(STATE));
        assert_eq!(observations.affected(&[REASON]).len(), 1);
    }

    #[test]
    fn an_unacknowledged_last_notification_is_dropped_in_the_end() {
        let mut observations = Observations::new(4, 3);
        observations.begin(subject(STATE, 1, false), 0).unwrap();
        observations.end_missing(|_| false);
        for _ in 0..MAX_UNACKNOWLEDGED {
            let last = observations.next().unwrap();
            assert_eq!(observations.gave_up(last), None);
        }
        assert_eq!(observations.next(), None);
    }

    #[test]
    fn a_deleted_path_ends_its_observation_with_4_04() {
        let mut observations = Observations::new(4, 3);
        observations.begin(subject(STATE, 1, false), 0).unwrap();
        let id = id_of(&observations, STATE);
        observations.enqueue(id, vec![1]);
        assert_eq!(observations.end_missing(|path| path != STATE), [STATE]);
        assert_eq!(waiting(&mut observations), [b"4.04"]);
        assert!(observations.affected(&[STATE]).is_empty());
    }

    #[test]
    fn a_commit_affects_an_observation_of_an_instance_once() {
        let mut observations = Observations::new(4, 3);
        observations
            .begin(subject(Path::Instance(9, 0), 1, true), 0)
            .unwrap();
        observations.begin(subject(STATE, 2, false), 0).unwrap();
        let paths: Vec<_> = observations
            .affected(&[REASON, STATE])
            .into_iter()
            .map(|(_, path)| path)
            .collect();
        assert_eq!(paths, [Path::Instance(9, 0), STATE]);
    }

    #[test]
    fn an_observation_over_the_limit_replaces_the_oldest_of_a_path_with_several() {
        let mut observations = Observations::new(3, 3);
        let mut begin = |path, token| {
            let begun = observations.begin(subject(path, token, true), 0);
            let ended = begun.map(|(_, ended)| ended);
            let saved = observations.saved();
            let left = saved.iter().map(|it| it.token[0]).collect::<Vec<_>>();
            (ended, left)
        };
        const RESULT: Path = Path::Resource(9, 0, 9);
        begin(STATE, 1);
        begin(REASON, 2);
        begin(REASON, 3);
        assert_eq!(begin(STATE, 1), (Some(None), vec![2, 3, 1]), "the same");
        assert_eq!(begin(RESULT, 4), (Some(Some(REASON)), vec![3, 1, 4]));
        assert_eq!(begin(Path::Object(9), 5), (None, vec![3, 1, 4]));
        assert_eq!(begin(STATE, 6), (Some(Some(STATE)), vec![3, 4, 6]));
    }
}
