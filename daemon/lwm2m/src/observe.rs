//! Who observes what, and the notifications that wait (RFC 7641, TS Core 1.0 5.5). Sends nothing
//! itself.

use std::collections::VecDeque;

use crate::{
    Path, SavedObservation, coap::Code, content::Format, exchange::digest, numbers::Numbers,
};

/// Identifies an observation. An observation belongs to its path and token (RFC 7641 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObservationId(u64);

/// What a server asked for.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) path: Path,
    pub(crate) token: Vec<u8>,
    pub(crate) format: Format,
    /// The exponent of the block size that the server can take.
    pub(crate) exponent: u8,
    /// Only the newest value counts.
    pub(crate) coalesced: bool,
}

struct Observation {
    id: ObservationId,
    subject: Subject,
    /// A digest of the value that the server has; [`UNKNOWN`] until a newer one is acknowledged.
    told: u64,
    /// The Message ID of the last notification: a Reset names the observation by it.
    message: Option<u16>,
    /// How many notifications were given up since one was acknowledged.
    given_up: u8,
}

/// No value has this digest, so any value is notified after a restart.
const UNKNOWN: u64 = 0;

/// A server that answers Updates, but no notification so often, is not interested (RFC 7641 4.5).
const PATIENCE: u8 = 8;

/// An Observe number has so many bits (RFC 7641 2).
const NUMBER_BITS: u32 = 24;

/// A notification that waits, or is on its way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notification {
    /// A value, of the commit that caused it.
    Value {
        observation: ObservationId,
        body: Vec<u8>,
    },
    /// The last one: there is nothing to observe any more.
    End {
        token: Vec<u8>,
        code: Code,
        given_up: u8,
    },
}

impl Observation {
    fn is(&self, subject: &Subject) -> bool {
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
    /// The Observe numbers, for whichever observation.
    numbers: Numbers,
    unsaved: Unsaved,
}

/// What changed of all that outlives the program.
#[derive(Default)]
struct Unsaved {
    /// What is sent from now on relies on it.
    observations: bool,
    /// Only which values the server has.
    told: bool,
    /// A server's value is about to be replaced: saved before the next notification is sent.
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

    /// A server drops what has no higher number than what it got last (RFC 7641 3.4).
    pub(crate) fn resume_numbers(&mut self, ceiling: u32) {
        self.numbers.resume(ceiling);
    }

    pub(crate) fn ceiling(&self) -> u32 {
        self.numbers.ceiling()
    }

    /// An observation that an earlier run began.
    pub(crate) fn restore(&mut self, subject: Subject, told: u64) {
        let id = ObservationId(self.next_id);
        self.add(id, subject, told);
    }

    pub(crate) fn saved(&self) -> Vec<SavedObservation> {
        self.observations.iter().map(Observation::saved).collect()
    }

    /// Whether something is to be kept that changed since this was asked last; what the server was
    /// told only if everything is `at_rest`.
    pub(crate) fn take_unsaved(&mut self, at_rest: bool) -> bool {
        let relied_on = self.unsaved.observations | self.numbers.take_unsaved();
        let unsaved = relied_on || (at_rest && self.unsaved.told);
        if unsaved {
            self.unsaved = Unsaved::default();
        }
        unsaved
    }

    /// Begins an observation, or restarts the one of the same path and token. A restart drops its queued notifications,
    /// since the response is newer. Returns the number for the response, and the path of the observation that was
    /// removed to make room; `None` if there are too many.
    pub(crate) fn begin(&mut self, subject: Subject, told: u64) -> Option<(u32, Option<Path>)> {
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

    /// The oldest observation of the path that has most of them, with `newest` counted. A server that forgot its
    /// observations observes again with other tokens. It sends the Reset that ends an old one only after the value
    /// changes.
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

    fn add(&mut self, id: ObservationId, subject: Subject, told: u64) {
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

    /// A Reset came for the notification with this Message ID (RFC 7641 3.6).
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

    /// Ends all of them, silently.
    pub(crate) fn clear(&mut self) -> Vec<Path> {
        self.queue.clear();
        self.unsaved.observations |= !self.observations.is_empty();
        self.observations
            .drain(..)
            .map(|it| it.subject.path)
            .collect()
    }

    /// Which observations these changes concern, each once, in the order of the changes.
    pub(crate) fn concerned(&self, changed: &[Path]) -> Vec<(ObservationId, Path)> {
        let mut concerned = Vec::new();
        for path in changed {
            for it in &self.observations {
                let known = concerned.iter().any(|(id, _)| *id == it.id);
                if it.subject.path.contains(*path) && !known {
                    concerned.push((it.id, it.subject.path));
                }
            }
        }
        concerned
    }

    pub(crate) fn subject(&self, id: ObservationId) -> Option<&Subject> {
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

    /// Puts a value at the end of the queue; or in the place of an older one that has become
    /// worthless.
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

    /// Ends the observations of what is not there any more.
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

    /// The notification to send next.
    pub(crate) fn next(&mut self) -> Option<Notification> {
        self.queue.pop_front()
    }

    /// A notification goes out with this Message ID: returns its Observe number.
    pub(crate) fn sent(&mut self, id: ObservationId, message: u16) -> Option<u32> {
        let observation = self.observations.iter_mut().find(|it| it.id == id)?;
        observation.message = Some(message);
        self.unsaved.observations |= self.unsaved.replaced;
        Some(self.numbers.next())
    }

    /// The server has this notification.
    pub(crate) fn acknowledged(&mut self, notification: &Notification) {
        let mut waiting = self.queue.iter();
        let newer_waits = waiting.any(|it| it.is_of_the_same(notification));
        let Some(observation) = self.of(notification) else {
            return;
        };
        observation.given_up = 0;
        if let Notification::Value { body, .. } = notification {
            let told = if newer_waits { UNKNOWN } else { digest(body) };
            let is_news = observation.told != told;
            observation.told = told;
            self.unsaved.told |= is_news;
        }
    }

    /// Whether this is the value that the server has.
    pub(crate) fn was_told(&self, id: ObservationId, body: &[u8]) -> bool {
        let mut known = self.observations.iter().filter(|it| it.id == id);
        known.any(|it| it.told == digest(body))
    }

    /// Nobody acknowledged it: it is sent again later. Returns the path if that ends the observation.
    pub(crate) fn gave_up(&mut self, mut notification: Notification) -> Option<Path> {
        if let Notification::End { given_up, .. } = &mut notification {
            *given_up += 1;
            if *given_up >= PATIENCE {
                return None;
            }
        }
        if let Some(observation) = self.of(&notification) {
            observation.given_up += 1;
            let (id, given_up) = (observation.id, observation.given_up);
            if given_up >= PATIENCE {
                return self.remove(|it| it.id == id);
            }
        }
        self.put_back(notification);
        None
    }

    /// It is sent again later, unless something newer waits.
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

    fn subject(path: Path, token: u8, coalesced: bool) -> Subject {
        Subject {
            path,
            token: vec![token],
            format: Format::Text,
            exponent: 6,
            coalesced,
        }
    }

    const STATE: Path = Path::Resource(9, 0, 7);
    const REASON: Path = Path::Resource(9, 0, 16);

    fn id_of(observations: &Observations, path: Path) -> ObservationId {
        observations.concerned(&[path])[0].0
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
    fn every_value_waits_in_order_where_none_may_be_left_out() {
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
            "a full queue: the newest win"
        );
    }

    #[test]
    fn the_same_token_for_the_same_path_begins_the_observation_anew() {
        let mut observations = Observations::new(4, 3);
        observations.begin(subject(STATE, 1, false), 0).unwrap();
        let old = id_of(&observations, STATE);
        observations.enqueue(old, vec![1]);
        let number = observations.sent(old, 77).unwrap();
        let (next, ended) = observations.begin(subject(STATE, 1, false), 0).unwrap();
        assert!(next > number && ended.is_none());
        assert_eq!(observations.next(), None);
        assert_eq!(observations.concerned(&[STATE]), [(old, STATE)]);
    }

    #[test]
    fn an_observation_belongs_to_its_path_and_token() {
        let mut observations = Observations::new(4, 3);
        for (path, token) in [(STATE, 1), (STATE, 2), (REASON, 2)] {
            observations.begin(subject(path, token, false), 0).unwrap();
        }
        let [(first, _), (second, _)] = observations.concerned(&[STATE])[..] else {
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
        assert_eq!(observations.concerned(&[STATE]), [(second, STATE)]);
        assert_eq!(waiting(&mut observations), [[1]], "of the second one");
        assert_eq!(observations.cancel(STATE, &[2]), Some(STATE));
        assert_eq!(observations.concerned(&[REASON]).len(), 1);
    }

    #[test]
    fn a_last_notification_that_nobody_acknowledges_is_given_up_as_any_other() {
        let mut observations = Observations::new(4, 3);
        observations.begin(subject(STATE, 1, false), 0).unwrap();
        observations.end_missing(|_| false);
        for _ in 0..PATIENCE {
            let last = observations.next().unwrap();
            assert_eq!(observations.gave_up(last), None);
        }
        assert_eq!(observations.next(), None);
    }

    #[test]
    fn what_is_deleted_ends_its_observation_with_4_04() {
        let mut observations = Observations::new(4, 3);
        observations.begin(subject(STATE, 1, false), 0).unwrap();
        let id = id_of(&observations, STATE);
        observations.enqueue(id, vec![1]);
        assert_eq!(observations.end_missing(|path| path != STATE), [STATE]);
        assert_eq!(waiting(&mut observations), [b"4.04"]);
        assert!(observations.concerned(&[STATE]).is_empty());
    }

    #[test]
    fn an_observation_of_an_instance_is_concerned_once_by_a_commit() {
        let mut observations = Observations::new(4, 3);
        observations
            .begin(subject(Path::Instance(9, 0), 1, true), 0)
            .unwrap();
        observations.begin(subject(STATE, 2, false), 0).unwrap();
        let paths: Vec<_> = observations
            .concerned(&[REASON, STATE])
            .into_iter()
            .map(|(_, path)| path)
            .collect();
        assert_eq!(paths, [Path::Instance(9, 0), STATE]);
    }

    #[test]
    fn one_observation_too_many_is_not_begun_unless_an_older_one_of_a_path_can_make_room() {
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
