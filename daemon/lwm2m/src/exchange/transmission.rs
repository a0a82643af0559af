//! Retransmission of confirmable messages (RFC 7252 4.2), with one in flight (NSTART = 1, 4.7).

use core::time::Duration;

use crate::{Time, Transmission, numbers::Numbers, random::Random};

struct InFlight<P> {
    id: u16,
    datagram: Vec<u8>,
    purpose: P,
    timeout: Duration,
    repeat_at: Time,
    repeats_left: u32,
}

/// The result of a passed deadline.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tick<P> {
    /// Nothing is due.
    NotYet,
    /// Send the message again.
    Repeat(Vec<u8>),
    /// The message was not acknowledged after MAX_RETRANSMIT retransmissions.
    GaveUp(P),
}

/// Sends confirmable messages, one at a time. `P` is the purpose of a message.
pub(crate) struct Sender<P> {
    in_flight: Option<InFlight<P>>,
    ids: Numbers,
    parameters: Transmission,
}

impl<P> Sender<P> {
    pub(crate) fn new(parameters: Transmission, random: &mut Random) -> Self {
        Self {
            in_flight: None,
            ids: Numbers::new(u16::BITS, random.next() as u32),
            parameters,
        }
    }

    /// The Message IDs. None may be reused within EXCHANGE_LIFETIME (RFC 7252 4.4), also not after a
    /// restart.
    pub(crate) fn ids(&mut self) -> &mut Numbers {
        &mut self.ids
    }

    pub(crate) fn next_id(&mut self) -> u16 {
        self.ids.next() as u16
    }

    /// See [`Numbers::ceiling`].
    pub(crate) fn ceiling(&self) -> u16 {
        self.ids.ceiling() as u16
    }

    pub(crate) fn is_free(&self) -> bool {
        self.in_flight.is_none()
    }

    /// The purpose of the message in flight.
    pub(crate) fn purpose(&self) -> Option<&P> {
        self.in_flight.as_ref().map(|message| &message.purpose)
    }

    /// Starts the retransmission timer of a message that is sent now.
    pub(crate) fn sent(
        &mut self,
        now: Time,
        random: &mut Random,
        id: u16,
        datagram: Vec<u8>,
        purpose: P,
    ) {
        let longest = self
            .parameters
            .ack_timeout
            .saturating_mul(self.parameters.ack_random_percent.max(100))
            / 100;
        let timeout = random.between(self.parameters.ack_timeout, longest);
        self.in_flight = Some(InFlight {
            id,
            datagram,
            purpose,
            timeout,
            repeat_at: now + timeout,
            repeats_left: self.parameters.max_retransmit,
        });
    }

    /// Ends the message in flight if it has this Message ID, after an acknowledgement or a Reset.
    pub(crate) fn concluded(&mut self, id: u16) -> Option<P> {
        self.in_flight
            .take_if(|message| message.id == id)
            .map(|message| message.purpose)
    }

    /// Stops the retransmission of the message in flight.
    pub(crate) fn abandon(&mut self) -> Option<P> {
        self.in_flight.take().map(|message| message.purpose)
    }

    /// Call this when [`deadline`](Self::deadline) has passed.
    pub(crate) fn tick(&mut self, now: Time) -> Tick<P> {
        match self.in_flight.take_if(|message| message.repeat_at <= now) {
            None => Tick::NotYet,
            Some(message) if message.repeats_left == 0 => Tick::GaveUp(message.purpose),
            Some(mut message) => {
                message.repeats_left -= 1;
                message.timeout = message.timeout.saturating_mul(2);
                message.repeat_at = now + message.timeout;
                let datagram = message.datagram.clone();
                self.in_flight = Some(message);
                Tick::Repeat(datagram)
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.in_flight.as_ref().map(|message| message.repeat_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_repeated_with_doubled_pauses_and_then_given_up() {
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let mut sender = Sender::new(Transmission::default(), &mut random);
            let mut now = Time::from_millis(0);
            sender.sent(now, &mut random, 1, vec![1], "read");
            let mut pauses = Vec::new();
            let purpose = loop {
                let at = sender.deadline().unwrap();
                pauses.push(at.since(now).as_millis());
                now = at;
                match sender.tick(now) {
                    Tick::Repeat(datagram) => assert_eq!(datagram, [1]),
                    Tick::GaveUp(purpose) => break purpose,
                    Tick::NotYet => panic!("the deadline has passed"),
                }
            };
            assert_eq!(purpose, "read");
            assert!((2000..=3000).contains(&pauses[0]), "{pauses:?}");
            assert!(
                pauses.windows(2).all(|pair| pair[1] == 2 * pair[0]),
                "{pauses:?}"
            );
            assert_eq!(pauses.len(), 5);
            assert!(now <= Time::from_millis(93_000), "MAX_TRANSMIT_WAIT");
        }
    }
}
