//! 100,000 random histories, judged by a second, independent statement of what the specification and the decisions allow.

use wharf_frames::{
    Action, Cause, Failure, OperationId, Secret, StageId,
    installer::{Found, JobPhase},
};
use wharf_software::{
    ActivationPolicy, Effect, Event, Instance, InstanceRecord, NewOperation, ObjectLink, Operation,
    OperationKind, PackageSource, RefusalCode, Requester, Resource, Rules, ShortId, Transition,
    UpdateState, Write, changes, operation::Phase, transition,
};

use crate::{
    cells::{SETTINGS, damaged, foreign, found, name, package, rules, uri},
    steps::underway_in,
};

const HISTORIES: u64 = 100_000;
const EVENTS: u64 = 12;

/// xorshift64*: a history is its seed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }
}

fn history(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut instance = Instance::default();
    for round in 0..EVENTS {
        let rules = random_rules(&mut dice);
        let event = random_event(&mut dice, &instance, fresh(seed, round));
        let outcome = transition(&instance, event.clone(), &rules);
        let told =
            || format!("seed {seed}, round {round}: {event:?}\non {instance:?}\nmade {outcome:?}");
        match &outcome {
            Ok(Transition {
                instance: Some(next),
                effects,
            }) => {
                // An unchanged part was checked when it was created.
                if *next != instance || !effects.is_empty() {
                    judge(&instance, &event, &rules, next, effects, &told);
                    instance = next.clone();
                }
            }
            Ok(Transition {
                instance: None,
                effects,
            }) => {
                assert!(
                    !instance.is_busy() && instance.software().is_none(),
                    "{}",
                    told()
                );
                assert_eq!(event, Event::Delete, "{}", told());
                judge_effects(&instance, None, effects, &told);
                instance = Instance::default();
            }
            Err(refusal) => {
                if let Some(next) = &refusal.instance {
                    assert_eq!(refusal.code, RefusalCode::BadRequest, "{}", told());
                    let result = next.update_result().value();
                    assert!(matches!(result, 54 | 56), "{}", told());
                    judge_values(next, &told);
                    assert_eq!(next.software(), instance.software(), "{}", told());
                    assert_eq!(next.settings(), instance.settings(), "{}", told());
                    instance = (**next).clone();
                }
            }
        }
    }
}

fn judge(
    old: &Instance,
    event: &Event,
    rules: &Rules<'_>,
    new: &Instance,
    effects: &[Effect],
    told: &dyn Fn() -> String,
) {
    assert!(
        is_allowed(old, event, rules, new),
        "forbidden transition: {}",
        told()
    );
    judge_values(new, told);
    judge_effects(old, Some(new), effects, told);
    judge_notifications(old, new, told);
    if old.software().is_some() && new.software().is_none() {
        let removed = matches!(
            event,
            Event::DeviceHas(None) | Event::Ended { device: None, .. }
        );
        assert!(removed, "software lost: {}", told());
    }
    if new.update_state() == UpdateState::Installed && new.update_result().value() == 57 {
        let was_so = old.update_state() == UpdateState::Installed
            && old.update_result() == new.update_result();
        let purged = old.operation().map(|operation| operation.kind)
            == Some(OperationKind::Action(Action::Purge));
        assert!(was_so || purged, "57 without a purge: {}", told());
    }
    if new.operation().map(|operation| operation.kind) == Some(OperationKind::Action(Action::Purge))
    {
        let begun = matches!(
            event,
            Event::Execute {
                action: Action::Purge,
                ..
            }
        );
        assert!(
            begun || new.operation() == old.operation(),
            "a purge: {}",
            told()
        );
    }
    if old.software().is_none() && new.software().is_some() {
        let installed = new.update_state() == UpdateState::Installed;
        let managed = matches!(event, Event::Ended { device: Some(found), .. } if found.managed);
        assert!(installed || managed, "software taken over: {}", told());
    }
    if old.update_state() != UpdateState::Installed && old.operation().is_some_and(is_a_switch) {
        let ended = new.operation().is_none();
        let reads = |of: &Instance| {
            (
                of.update_state(),
                of.update_result(),
                of.pkg_name().to_owned(),
            )
        };
        let removed = ended && new.software().is_none();
        assert!(
            removed || reads(old) == reads(new),
            "more than a switch: {}",
            told()
        );
    }
    if new.update_state() == UpdateState::Installed && old.package().is_some() {
        let whole = matches!(event, Event::Ended { device: Some(found), .. } if found.is_whole());
        assert!(whole, "INSTALLED with a part: {}", told());
    }
    if !matches!(event, Event::Write { .. }) {
        assert_eq!(
            old.update_supported_objects(),
            new.update_supported_objects(),
            "{}",
            told()
        );
        assert_eq!(old.package_settings(), new.package_settings(), "{}", told());
    }
    if old.delivery().is_some() && new.delivery().is_none() {
        let settings = new.settings();
        assert!(
            settings.user_name.is_none() && settings.password.is_none(),
            "{}",
            told()
        );
    }
    assert_eq!(
        Instance::try_from(InstanceRecord::from(new)).as_ref(),
        Ok(new),
        "{}",
        told()
    );
    let request = matches!(
        event,
        Event::Write { .. } | Event::Execute { .. } | Event::Cancel { .. }
    );
    if !request {
        let again = transition(new, event.clone(), rules).unwrap();
        assert_eq!(again.instance.as_ref(), Some(new), "told twice: {}", told());
        assert_eq!(again.effects, [], "told twice: {}", told());
    }
}

/// TS table 5.1.1-1 and the decisions' additions; staying is judged by the values.
fn is_allowed(old: &Instance, event: &Event, rules: &Rules<'_>, new: &Instance) -> bool {
    use UpdateState::{Delivered, DownloadStarted, Downloaded, Initial, Installed};
    let uninstall = matches!(
        event,
        Event::Execute {
            action: Action::Uninstall,
            ..
        }
    );
    match (old.update_state(), new.update_state()) {
        (before, after) if before == after => true,
        (Initial, DownloadStarted) => matches!(event, Event::Write { .. }) && !old.is_busy(),
        (DownloadStarted, Initial) => {
            matches!(event, Event::Failed { .. } | Event::Cancel { .. })
        }
        (DownloadStarted, Downloaded) => matches!(event, Event::PackageWritten { .. }),
        (Downloaded, Delivered) => matches!(event, Event::Sealed { .. }),
        (Downloaded, Initial) => {
            matches!(event, Event::SealRefused { .. } | Event::Cancel { .. })
        }
        (Delivered, Installed) => matches!(event, Event::Ended { failure: None, .. }),
        (Delivered, Initial) => uninstall && !old.is_busy(),
        (Delivered, DownloadStarted) => rules.replace_failed && old.update_result().value() == 58,
        (Installed, Initial) => {
            uninstall
                || matches!(
                    event,
                    Event::Ended { device: None, .. } | Event::DeviceHas(None)
                )
        }
        // A removal out of INITIAL that failed.
        (Initial, Installed) => old.is_busy() && matches!(new.update_result().value(), 57 | 59),
        _ => false,
    }
}

fn judge_values(new: &Instance, told: &dyn Fn() -> String) {
    let result = new.update_result().value();
    let reason = new.status_reason().code.value();
    let (results, reasons): (&[u8], &[u8]) = match new.update_state() {
        UpdateState::Initial => (&[0, 50, 51, 52, 53, 54, 56, 57], &[10, 20]),
        UpdateState::DownloadStarted => (&[1], &[10, 30]),
        UpdateState::Downloaded => (&[0], &[40]),
        UpdateState::Delivered => (&[0, 50, 53, 54, 57, 58], &[40, 50, 60]),
        UpdateState::Installed => (&[2, 57, 59], &[40]),
    };
    assert!(
        results.contains(&result) && reasons.contains(&reason),
        "{}",
        told()
    );
    assert!(
        !new.activation_state() || new.update_state() == UpdateState::Installed,
        "{}",
        told()
    );
    // A local user's command keeps the Result of the earlier failure.
    let is_switch = new.operation().is_some_and(is_a_switch);
    if new.is_busy() && !is_switch {
        assert!(matches!(result, 0 | 2), "{}", told());
    }
    if is_switch && new.update_state() != UpdateState::Installed {
        let requester = new.operation().map(|operation| operation.requester);
        assert!(matches!(requester, Some(Requester::User(_))), "{}", told());
        assert!(
            new.software().is_some() && new.delivery().is_none(),
            "{}",
            told()
        );
    }
    let beside = new.software().filter(|_| {
        let is_idle = new.operation().is_none();
        is_idle
            && matches!(
                new.update_state(),
                UpdateState::Initial | UpdateState::Delivered
            )
    });
    if let Some((name, version)) = beside {
        let said = format!("; {name} {version} is ");
        assert!(
            new.status_reason().text.as_str().contains(&said),
            "{}",
            told()
        );
    }
}

fn is_a_switch(operation: Operation) -> bool {
    matches!(
        operation.kind,
        OperationKind::Action(Action::Activate) | OperationKind::Action(Action::Deactivate)
    )
}

/// Every file that is left is given up, every operation that begins is begun, and no id comes from nowhere.
fn judge_effects(
    old: &Instance,
    new: Option<&Instance>,
    effects: &[Effect],
    told: &dyn Fn() -> String,
) {
    let stage = new.and_then(Instance::stage);
    let operation = new
        .and_then(Instance::operation)
        .map(|operation| operation.id);
    for effect in effects {
        assert!(effect.is_due(new), "{}", told());
        match effect {
            Effect::StopDelivery { stage: file } | Effect::Discard { stage: file } => {
                assert_eq!(Some(*file), old.stage(), "{}", told());
                assert_ne!(Some(*file), stage, "{}", told());
            }
            Effect::Seal {
                operation,
                stage: file,
            } => {
                assert_eq!(Some(*file), stage, "{}", told());
                assert_eq!(
                    Some(*operation),
                    old.operation().map(|old| old.id),
                    "{}",
                    told()
                );
            }
            Effect::UpdateRegistration => {}
            other => {
                assert_eq!(other.operation(), operation, "{}", told());
                assert!(
                    other.stage().is_none() || other.stage() == stage,
                    "{}",
                    told()
                );
            }
        }
    }
    if old.stage().is_some() && old.stage() != stage {
        let given_up = |effect: &&Effect| matches!(effect, Effect::Discard { .. });
        assert_eq!(effects.iter().filter(given_up).count(), 1, "{}", told());
    }
    let before = old.operation().map(|operation| operation.id);
    if operation.is_some() && operation != before {
        let begun =
            |effect: &Effect| matches!(effect, Effect::Queue { .. } | Effect::AcceptPush { .. });
        assert!(effects.iter().any(begun), "{}", told());
    }
}

fn judge_notifications(old: &Instance, new: &Instance, told: &dyn Fn() -> String) {
    let changed = changes(old, new);
    let places: Vec<usize> = changed
        .iter()
        .map(|resource| {
            [8, 13, 0, 1, 16, 12, 9, 7]
                .iter()
                .position(|id| *id == resource.id())
                .unwrap()
        })
        .collect();
    assert!(places.is_sorted(), "{}", told());
    assert_eq!(
        changed.contains(&Resource::UpdateState),
        old.update_state() != new.update_state(),
        "{}",
        told()
    );
}

struct Fresh {
    operation: OperationId,
    stage: StageId,
    next: OperationId,
}

fn fresh(seed: u64, round: u64) -> Fresh {
    let bytes = |kind: u8| {
        let mut bytes = [kind; 16];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8] = round as u8;
        bytes
    };
    Fresh {
        operation: OperationId::from_bytes(bytes(0)),
        stage: StageId::from_bytes(bytes(1)),
        next: OperationId::from_bytes(bytes(2)),
    }
}

fn random_rules(dice: &mut Dice) -> Rules<'static> {
    Rules {
        activation: match dice.below(3) {
            0 => ActivationPolicy::Server,
            1 => ActivationPolicy::Keep,
            _ => ActivationPolicy::Always,
        },
        replace_failed: dice.one_in(2),
        ..rules()
    }
}

fn random_event(dice: &mut Dice, instance: &Instance, fresh: Fresh) -> Event {
    if dice.one_in(2) {
        return usual_event(dice, instance, fresh);
    }
    let running = instance.operation().map(|operation| operation.id);
    // Mostly what is going on is reported, sometimes what is over.
    let operation = match running {
        Some(running) if !dice.one_in(8) => running,
        _ => OperationId::from_bytes([0xee; 16]),
    };
    let stage = match instance.stage() {
        Some(stage) if !dice.one_in(8) => stage,
        _ => StageId::from_bytes([0xee; 16]),
    };
    let starts = NewOperation {
        id: fresh.operation,
        requester: match dice.below(3) {
            2 => Requester::User(0),
            server => Requester::Server(ShortId(server as u16)),
        },
    };
    match dice.below(16) {
        0..3 => Event::Write {
            write: random_write(dice),
            starts,
            stage: fresh.stage,
        },
        3..7 => random_execute(dice, starts),
        7 if dice.one_in(4) => Event::Delete,
        7 if dice.one_in(4) => Event::Cancel {
            operation,
            by: Requester::User(0),
        },
        7 => Event::Waiting {
            operation,
            why: "its turn".into(),
        },
        8 if dice.one_in(4) => underway_in(operation, random_phase(dice)),
        8 | 9 => Event::Started { operation },
        10 => Event::FirstByte { operation },
        11 => Event::PackageWritten { operation },
        12 if dice.one_in(8) => Event::SealWaits {
            stage,
            why: "a verdict".into(),
        },
        12 if dice.one_in(4) => Event::SealRefused {
            stage,
            failure: random_failure(dice),
        },
        12 => Event::Sealed {
            stage,
            package: package(),
        },
        13 => Event::Failed {
            operation,
            failure: random_failure(dice),
        },
        14 => Event::Ended {
            operation,
            failure: dice.one_in(3).then(|| random_failure(dice)),
            device: random_device(dice),
            next: fresh.next,
        },
        _ => Event::DeviceHas(random_device(dice)),
    }
}

/// The event that usually follows, so that a sequence reaches late states.
fn usual_event(dice: &mut Dice, instance: &Instance, fresh: Fresh) -> Event {
    let starts = NewOperation {
        id: fresh.operation,
        requester: Requester::Server(ShortId(0)),
    };
    let execute = |action, arguments: &str| Event::Execute {
        action,
        arguments: arguments.as_bytes().to_vec(),
        starts,
    };
    let by_user = |action| Event::Execute {
        action,
        arguments: Vec::new(),
        starts: NewOperation {
            requester: Requester::User(0),
            ..starts
        },
    };
    let Some(operation) = instance.operation().map(|operation| operation.id) else {
        return match instance.update_state() {
            UpdateState::Initial | UpdateState::Delivered
                if instance.software().is_some() && dice.one_in(3) =>
            {
                by_user(match instance.runs() {
                    true => Action::Deactivate,
                    false => Action::Activate,
                })
            }
            UpdateState::Delivered => execute(Action::Install, ""),
            UpdateState::Installed => match dice.below(4) {
                0 => execute(Action::Activate, ""),
                1 => execute(Action::Deactivate, ""),
                2 => execute(Action::Uninstall, "1"),
                _ if dice.one_in(3) => by_user(Action::Purge),
                _ if dice.one_in(3) => by_user(Action::Back),
                _ => execute(Action::Uninstall, ""),
            },
            UpdateState::Initial if instance.software().is_some() && dice.one_in(3) => {
                match dice.one_in(3) {
                    true => by_user(Action::Purge),
                    false => execute(Action::Uninstall, ""),
                }
            }
            _ => Event::Write {
                write: random_write(dice),
                starts,
                stage: fresh.stage,
            },
        };
    };
    match (instance.phase(), instance.is_busy()) {
        (Some(Phase::Gate), _) => Event::Started { operation },
        (Some(Phase::Verify), _) => Event::Sealed {
            stage: instance.stage().unwrap(),
            package: package(),
        },
        (_, true) => Event::Ended {
            operation,
            failure: dice.one_in(4).then(|| random_failure(dice)),
            device: random_device(dice),
            next: fresh.next,
        },
        (_, false) => Event::PackageWritten { operation },
    }
}

fn random_write(dice: &mut Dice) -> Write {
    let secret = |dice: &mut Dice| {
        dice.one_in(2)
            .then(|| Secret::new(vec![b'x'; dice.below(3) as usize]))
    };
    Write {
        source: match dice.below(6) {
            0 => Some(PackageSource::Package {
                empty: dice.one_in(4),
            }),
            1 => Some(PackageSource::Uri(Secret::new(b"ftp://host/x".to_vec()))),
            2 => None,
            _ => Some(PackageSource::Uri(uri().as_secret().clone())),
        },
        update_supported_objects: dice.one_in(3).then(|| dice.one_in(2)),
        package_settings: match dice.below(8) {
            0 => Some(SETTINGS),
            1 => Some(ObjectLink {
                object: 1,
                instance: 1,
            }),
            _ => None,
        },
        user_name: secret(dice),
        password: secret(dice),
    }
}

fn random_execute(dice: &mut Dice, starts: NewOperation) -> Event {
    let action = match dice.below(6) {
        0 | 1 => Action::Install,
        2 | 3 => Action::Uninstall,
        4 => Action::Activate,
        _ => Action::Deactivate,
    };
    let arguments = match dice.below(4) {
        0 => "0",
        1 => "1",
        2 => "7='x'",
        _ => "",
    };
    Event::Execute {
        action,
        arguments: arguments.as_bytes().to_vec(),
        starts,
    }
}

fn random_phase(dice: &mut Dice) -> JobPhase {
    match dice.below(3) {
        0 => JobPhase::Applying,
        1 => JobPhase::Watching,
        _ => JobPhase::Returning,
    }
}

fn random_failure(dice: &mut Dice) -> Failure {
    let cause = match dice.below(6) {
        0 => Cause::DiskFull,
        1 => Cause::Memory,
        2 => Cause::Connection,
        3 => Cause::BadSignature,
        4 => Cause::AnotherPackage,
        _ => Cause::Script,
    };
    Failure::new(cause, "it failed")
}

fn random_device(dice: &mut Dice) -> Option<Found> {
    let version = if dice.one_in(3) { "1.0" } else { "2.0" };
    match dice.below(14) {
        0 | 1 => None,
        2 => Some(Found {
            name: name("apache2"),
            ..found(version, true)
        }),
        3 => Some(damaged(version, "half-configured")),
        4 => Some(foreign(version)),
        sides => Some(found(version, sides < 9)),
    }
}

/// A quarter of the histories, so that the quarters run side by side.
fn quarter(number: u64) {
    (0..HISTORIES)
        .filter(|seed| seed % 4 == number)
        .for_each(history);
}

#[test]
fn random_histories_stay_within_the_specification_1() {
    quarter(0);
}

#[test]
fn random_histories_stay_within_the_specification_2() {
    quarter(1);
}

#[test]
fn random_histories_stay_within_the_specification_3() {
    quarter(2);
}

#[test]
fn random_histories_stay_within_the_specification_4() {
    quarter(3);
}

/// The histories are worth something only if they get around.
#[test]
fn random_histories_reach_every_state_busy_and_idle() {
    let mut reached = std::collections::BTreeSet::new();
    for seed in 0..10_000 {
        let mut dice = Dice::new(seed);
        let mut instance = Instance::default();
        for round in 0..EVENTS {
            let rules = random_rules(&mut dice);
            let event = random_event(&mut dice, &instance, fresh(seed, round));
            if let Ok(Transition {
                instance: Some(next),
                ..
            }) = transition(&instance, event, &rules)
            {
                instance = next;
            }
            let kind = instance.operation().map(|operation| operation.kind);
            reached.insert((instance.update_state(), kind, instance.software().is_some()));
        }
    }
    // INITIAL 6, DOWNLOAD STARTED 4, DOWNLOADED 4, DELIVERED 6, INSTALLED 6.
    assert_eq!(reached.len(), 26, "{reached:#?}");
}
