//! The boot after a power cut: earlier announcements hold, the gateway comes to rest in the requested state, and its
//! values are true then.

use std::{fs, path::Path};

use wharf_installers::{Root, records::Records};
use wharf_software::InstanceId;
use wharf_tests::{
    disk::{Image, LogEntry},
    folder::Folder,
    server::{Client, Memory, ReceivedNotification, RegistrationEvent, TestServer},
    waiting::wait_until,
};
use wharfd::store::Store;

use crate::{
    device,
    left::Left,
    machine::Machine,
    memories::{Memories, OBSERVED},
    recording::Known,
    story::{ASKS, Ask, CUT_OFF, PASSWORD, RESTS, Rest, USER_NAME, Vendor},
    world::World,
};

/// Starts of wharfd until no effect is open: an effect that had just ended may still be in the database.
const STARTS: usize = 20;

/// A gateway that came to rest.
pub(crate) struct Recovered {
    /// The log of its disk.
    pub(crate) log: Vec<LogEntry>,
    /// The knowledge of the server meanwhile.
    pub(crate) memories: Memories,
    /// The failure that the server read.
    pub(crate) failure: Option<String>,
}

/// The resources of `/9/0`.
#[derive(Debug)]
struct Look {
    update: String,
    name: String,
    version: String,
    reason: String,
}

/// The steps after the gateway has come to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// All remaining requests, to show that nothing is stuck.
    GoOn,
}

/// Boots from this disk, and waits until the gateway rests.
///
/// # Errors
///
/// A violation.
pub(crate) fn recover(
    world: &World,
    vendor: &Vendor,
    image: Image,
    known: Known,
    memory: Memory,
    then: Then,
) -> Result<Recovered, String> {
    let mut machine = Machine::with(vendor.manager, image)?;
    announced_holds(&machine, known)?;
    let erased = is_erased(&machine.root);
    let memories = Memories::from(memory);
    let server = memories.server(&machine.disk);
    let events = server.events().len();
    machine.boot(world);
    wait_until("an Update", || {
        (server.events().len() > events).then_some(())
    });
    if erased {
        no_credentials(&machine.root, "after the start")?;
    }
    let client = server.wait_for_client();
    let look = at_rest(&client);
    let end = told(known, &look).map_err(|error| format!("{error}{}", machine.told()))?;
    let failure = match end {
        End::Rest(rest) => {
            is_true(&machine, rest)?;
            None
        }
        End::CutOff(_) => Some(format!("{} ({})", look.update, look.reason)),
    };
    if then == Then::GoOn {
        let (End::Rest(next) | End::CutOff(next)) = end;
        go_on(&machine, &client, vendor, next)?;
    }
    is_observed(&server, events)?;
    settle(&mut machine)?;
    no_credentials(&machine.root, "in the end")?;
    Ok(Recovered {
        log: machine.disk.log(),
        memories,
        failure,
    })
}

/// The server observed only before the cut. It is notified of every change, with growing Observe numbers.
fn is_observed(server: &TestServer, before: usize) -> Result<(), String> {
    if let Some(event) = server.events().get(before)
        && !matches!(event, RegistrationEvent::Updated(_))
    {
        return Err(format!("{event:?} after the cut, and not an Update"));
    }
    let client = server.wait_for_client();
    for (resource, observed) in OBSERVED {
        let path = format!("/9/0/{resource}");
        let of_it = || {
            let notified = server.notifications().into_iter();
            notified
                .filter(|notified| notified.path == path)
                .collect::<Vec<_>>()
        };
        let now = client.read_text(&path);
        wait_until(
            &format!("{path} notified as {now}, and not {:?}", of_it().last()),
            || (last_value(observed, &of_it()) == now).then_some(()),
        );
        let numbers: Vec<_> = of_it().iter().map(|told| told.response.observe).collect();
        if !numbers.is_sorted_by(|a, b| a < b) {
            return Err(format!("{path} is notified with the numbers {numbers:?}"));
        }
    }
    Ok(())
}

/// The last value that the server received; without a notification, the one of the Observe response.
fn last_value(observed: &str, notified: &[ReceivedNotification]) -> String {
    let last = notified.last();
    last.map_or(observed.to_owned(), |last| last.response.text())
}

/// Sends all requests from this number on.
fn go_on(
    machine: &Machine,
    client: &Client<'_>,
    vendor: &Vendor,
    next: usize,
) -> Result<(), String> {
    for (ask, rest) in ASKS.iter().zip(RESTS.iter().skip(1)).skip(next) {
        let answer = ask.send(client, vendor).code.to_string();
        if !answer.starts_with('2') {
            return Err(format!("{ask:?} is answered {answer}{}", machine.told()));
        }
        let look = at_rest(client);
        if !rest.is(&look.update, &look.name, &look.version) {
            return Err(format!("{look:?} after {ask:?}{}", machine.told()));
        }
        is_true_of(machine, rest)?;
    }
    Ok(())
}

fn at_rest(client: &Client<'_>) -> Look {
    wait_until("a gateway at rest", || {
        let look = Look::at(client);
        (!look.is_busy()).then_some(look)
    })
}

/// Before the programs start, checks the state of the last request, if it was announced as done.
fn announced_holds(machine: &Machine, known: Known) -> Result<(), String> {
    let Known { asked, told, .. } = known;
    if told == 0 || told < asked {
        return Ok(());
    }
    is_true(machine, told).map_err(|error| format!("before the start: {error}"))
}

fn is_true(machine: &Machine, rest: usize) -> Result<(), String> {
    let expected = &RESTS[rest];
    is_true_of(machine, expected)?;
    let installed = RESTS[..=rest].iter().filter_map(|rest| rest.device).max();
    let wrong = |what| format!("{expected:?} was told: {what}{}", machine.told());
    device::is_in_the_ledger(&machine.root, installed).map_err(wrong)
}

fn is_true_of(machine: &Machine, expected: &Rest) -> Result<(), String> {
    let wrong = |what| format!("{expected:?} was told: {what}{}", machine.told());
    match device::release(machine.manager, &machine.root) {
        Ok(release) if release == expected.device => Ok(()),
        Ok(release) => Err(wrong(format!("the device has release {release:?}"))),
        Err(what) => Err(wrong(what)),
    }
}

/// The state in which the gateway came to rest.
enum End {
    /// At this one of [`RESTS`].
    Rest(usize),
    /// The gateway reports that this one of [`ASKS`] was cut off.
    CutOff(usize),
}

/// Judges the values of the gateway.
fn told(known: Known, look: &Look) -> Result<End, String> {
    let Look {
        update,
        name,
        version,
        reason,
    } = look;
    let first = known.accepted.max(known.told);
    let is_told = |rest: &usize| RESTS[*rest].is(update, name, version);
    if let Some(rest) = (first..=known.asked).find(is_told) {
        return Ok(End::Rest(rest));
    }
    // An accepted push is durable.
    let mut open = (first..known.asked).rev();
    if let Some(ask) = open.find(|ask| matches!(ASKS[*ask], Ask::Push(_)))
        && (update.as_str(), reason.as_str()) == CUT_OFF
    {
        return Ok(End::CutOff(ask));
    }
    Err(format!("{look:?} after {known:?}"))
}

impl Look {
    /// Reads the values without a transition in between.
    fn at(client: &Client<'_>) -> Self {
        let read = |resource: u16| client.read_text(&format!("/9/0/{resource}"));
        loop {
            let look = Self {
                update: format!("{}/{}", read(7), read(9)),
                name: read(0),
                version: read(1),
                reason: read(16),
            };
            if look.update == format!("{}/{}", read(7), read(9)) {
                return look;
            }
        }
    }

    /// Whether an operation is running.
    fn is_busy(&self) -> bool {
        match self.update.as_bytes().first() {
            Some(b'0') => false,
            Some(b'3') => self.reason.starts_with("50: "),
            Some(b'4') => self.reason.contains(": removing "),
            _ => true,
        }
    }
}

/// Stops wharfd. No job and no effect stays open, and the history is lawful.
fn settle(machine: &mut Machine) -> Result<(), String> {
    let root = machine.root.clone();
    let records = Records::open(&Root::new(&root)).map_err(|error| error.to_string())?;
    wait_until("the end of every job", || {
        let jobs = records.jobs().ok()?;
        (!jobs.iter().any(|job| job.is_open())).then_some(())
    });
    machine.daemon().terminate();
    for _ in 0..STARTS {
        let left = Left::on(&root);
        left.assert_whole();
        left.assert_lawful();
        if left.pending.is_empty() {
            return Ok(());
        }
        machine.start_daemon();
        machine.daemon().errors().wait_for("registered");
        machine.daemon().terminate();
    }
    Err(format!("never ends: {:?}", Left::on(&root).pending))
}

/// Whether the database says that User Name and Password are erased. Reads a copy, since reading repairs the database.
fn is_erased(root: &Path) -> bool {
    let folder = Folder::new();
    let from = root.join("var/lib/wharfd");
    for file in ["wharfd.db", "wharfd.db-wal"] {
        let _ = fs::copy(from.join(file), folder.join(file));
    }
    let mut store = Store::open(&folder.join("wharfd.db")).expect("the database");
    let stored = store.load().expect("the database");
    stored.instances.get(&InstanceId(0)).is_none_or(|instance| {
        let settings = instance.settings();
        settings.user_name.is_none() && settings.password.is_none()
    })
}

fn no_credentials(root: &Path, when: &str) -> Result<(), String> {
    let folder = fs::read_dir(root.join("var/lib/wharfd")).expect("wharfd's folder");
    for entry in folder.flatten().filter(|entry| entry.path().is_file()) {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        for secret in [USER_NAME, PASSWORD] {
            if bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes())
            {
                let file = entry.file_name();
                return Err(format!("{when}: the erased {secret:?} is in {file:?}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of a gateway whose last request, this one, has failed.
    fn failed(ask: usize, accepted: bool, update: &str, reason: &str) -> Result<End, String> {
        let asked = ask + 1;
        let known = Known {
            accepted: if accepted { asked } else { ask },
            asked,
            told: ask,
        };
        let look = Look {
            update: update.to_owned(),
            name: String::new(),
            version: String::new(),
            reason: reason.to_owned(),
        };
        told(known, &look)
    }

    fn position(of: impl Fn(&Ask) -> bool) -> usize {
        ASKS.iter().position(of).expect("such a request")
    }

    #[test]
    fn an_install_or_a_removal_that_ends_as_failed_is_a_violation() {
        let install = position(|ask| *ask == Ask::Install);
        let uninstall = position(|ask| *ask == Ask::Uninstall);
        for accepted in [false, true] {
            let end = failed(install, accepted, "3/58", "60: interrupted");
            assert!(end.is_err(), "an Install, accepted: {accepted}");
            let end = failed(uninstall, accepted, "4/59", "40: interrupted");
            assert!(end.is_err(), "an Uninstall, accepted: {accepted}");
        }
    }

    #[test]
    fn a_pull_that_ends_as_failed_is_a_violation() {
        let pull = position(|ask| matches!(ask, Ask::Pull(_)));
        for (update, reason) in [("0/50", "20: no room"), CUT_OFF] {
            assert!(failed(pull, true, update, reason).is_err(), "{reason}");
        }
    }

    #[test]
    fn only_a_push_that_was_not_accepted_may_fail_and_only_because_its_blocks_ended() {
        let push = position(|ask| matches!(ask, Ask::Push(_)));
        let (update, reason) = CUT_OFF;
        assert!(
            matches!(failed(push, false, update, reason), Ok(End::CutOff(failed)) if failed == push)
        );
        assert!(
            failed(push, true, update, reason).is_err(),
            "it was accepted"
        );
        assert!(failed(push, false, "0/50", "20: no room").is_err());
    }

    #[test]
    fn an_observation_without_a_notification_stands_at_its_first_value() {
        assert_eq!(last_value("0", &[]), "0");
    }
}
