//! The gate: every reason for which an operation waits or is refused. It decides before an operation starts, and again
//! after a restart. Pauses are not its part: protocols have them, by a monotonic clock.

use wharf_frames::{Action, Cause, Failure, OperationId, Text};

use crate::{
    Instance, InstanceId, Operation, OperationKind, UriOrigin,
    instance::{Delivery, Flow},
};

/// The facts at this moment.
#[derive(Debug, Clone, Copy)]
pub struct GateFacts<'a> {
    /// The wall clock is not before the build date.
    pub clock_is_set: bool,
    /// The operations of all instances that are accepted and have not ended, in the order of acceptance.
    pub accepted: &'a [(OperationId, OperationKind)],
    /// The number of other downloads that have a turn. A download that waits for its next attempt has none.
    pub downloading: usize,
    /// The number of downloads that may have a turn at once.
    pub parallel: usize,
    /// The number of attempts that did not end.
    pub attempts: u32,
    /// The largest number of attempts.
    pub attempt_limit: u32,
    /// Another instance that has the delivered package, or a package in it, in place.
    pub held_by: Option<InstanceId>,
    /// The origins that may get User Name and Password without TLS.
    pub credentials_over_http: &'a [UriOrigin],
}

/// Whether an operation may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Now,
    /// Not before the facts change. The reason goes into [`crate::Event::Waiting`].
    NotBefore(Text),
    /// It never may: the failure goes into [`crate::Event::Failed`].
    No(Failure),
}

/// Whether this operation of this instance may start.
pub fn may_start(operation: &Operation, instance: &Instance, facts: &GateFacts<'_>) -> Admission {
    if let Some(failure) = refused(operation, instance, facts) {
        return Admission::No(failure);
    }
    if !has_turn(operation, facts) {
        return Admission::NotBefore("its turn".into());
    }
    if !facts.clock_is_set && instance.delivery().is_some_and(needs_the_clock) {
        return Admission::NotBefore("the clock".into());
    }
    Admission::Now
}

fn refused(operation: &Operation, instance: &Instance, facts: &GateFacts<'_>) -> Option<Failure> {
    if facts.attempts >= facts.attempt_limit {
        return Some(Failure::new(
            Cause::GaveUp,
            format!(
                "{} was begun {} times and never ended: needs an operator, who looks into the journal and asks again",
                operation.kind.as_str(),
                facts.attempts
            ),
        ));
    }
    match operation.kind {
        OperationKind::Action(Action::Install) => another_package(instance, facts),
        OperationKind::Pull => credentials_in_the_clear(instance, facts.credentials_over_http),
        _ => None,
    }
}

/// Without TLS, anybody on the network path could read User Name and Password.
fn credentials_in_the_clear(instance: &Instance, allowed: &[UriOrigin]) -> Option<Failure> {
    let Flow::Pull { uri, .. } = &instance.delivery()?.flow else {
        return None;
    };
    let settings = instance.settings();
    let has_credentials = settings.user_name.is_some() || settings.password.is_some();
    let origin = uri.origin();
    if !has_credentials || uri.is_over_tls() || allowed.contains(&origin) {
        return None;
    }
    Some(Failure::new(
        Cause::Policy,
        format!(
            "{origin} would get User Name and Password in the clear: write an https URI, or allow it in wharfd.toml: \
             [download] credentials-over-http = [\"{origin}\"]"
        ),
    ))
}

/// An instance has one package, and a package has one instance.
fn another_package(instance: &Instance, facts: &GateFacts<'_>) -> Option<Failure> {
    let package = &instance.package()?.name;
    let why = match (instance.in_place(), facts.held_by) {
        (Some(known), _) if known.name != *package => {
            format!(
                "{package} cannot replace {}: Uninstall that first",
                known.name
            )
        }
        (_, Some(InstanceId(id))) => format!("{package} belongs to instance {id}: write it there"),
        _ => return None,
    };
    Some(Failure::new(Cause::AnotherPackage, why))
}

/// Pulls take the free turns, and jobs of the installer run one after the other. A push needs no turn: its server
/// decides when it comes. The agent asks in the order of acceptance, so free turns follow that order.
fn has_turn(operation: &Operation, facts: &GateFacts<'_>) -> bool {
    match operation.kind {
        OperationKind::Push => true,
        OperationKind::Pull => facts.downloading < facts.parallel,
        OperationKind::Action(_) => {
            let ahead = facts.accepted.iter();
            let mut ahead = ahead.take_while(|(id, _)| *id != operation.id);
            ahead.all(|(_, kind)| matches!(kind, OperationKind::Pull | OperationKind::Push))
        }
    }
}

/// A download over TLS needs the clock: for one that was never set, no certificate is valid yet.
fn needs_the_clock(delivery: &Delivery) -> bool {
    matches!(&delivery.flow, Flow::Pull { uri, .. } if uri.is_over_tls())
}

#[cfg(test)]
mod tests {
    use wharf_frames::{PackageName, PackageVersion, Secret, StageId, installer::SealedPackage};

    use super::*;
    use crate::{
        PackageUri, Requester, ShortId,
        instance::{InPlace, InstallationState, InstanceState, PullProgress, Software},
        operation::{Work, WorkProgress},
        settings::InstanceSettings,
    };

    const ID: OperationId = OperationId::from_bytes([1; 16]);
    const OTHER: OperationId = OperationId::from_bytes([2; 16]);
    const STAGE: StageId = StageId::from_bytes([1; 16]);
    const SERVER: Requester = Requester::Server(ShortId(1));

    const FACTS: GateFacts<'_> = GateFacts {
        clock_is_set: true,
        accepted: &[],
        downloading: 0,
        parallel: 2,
        attempts: 0,
        attempt_limit: 3,
        held_by: None,
        credentials_over_http: &[],
    };

    fn pull(uri: &str) -> Instance {
        let delivery = Delivery {
            id: ID,
            requester: SERVER,
            stage: STAGE,
            flow: Flow::Pull {
                uri: PackageUri::parse(uri.as_bytes()).unwrap(),
                progress: PullProgress::Queued,
                waiting: None,
            },
        };
        Instance::default().with(InstanceState::DownloadStarted {
            in_place: None,
            delivery,
        })
    }

    fn install(in_place: Option<&str>) -> Instance {
        let name = |text: &str| PackageName::new(text).unwrap();
        let version = PackageVersion::new("1.0").unwrap();
        Instance::default().with(InstanceState::Delivered {
            in_place: in_place.map(|old| {
                InPlace::left(Software {
                    name: name(old),
                    version: version.clone(),
                    active: true,
                    damage: None,
                    no_services: false,
                    skipped: None,
                    components: Vec::new(),
                })
            }),
            stage: STAGE,
            package: SealedPackage {
                name: name("nginx"),
                version: version.clone(),
                architecture: "all".into(),
                length: 1,
                signer: None,
                components: Vec::new(),
            },
            installation: InstallationState::Installing(Work {
                id: ID,
                requester: SERVER,
                progress: WorkProgress::Queued(None),
            }),
        })
    }

    fn asked(instance: &Instance, facts: GateFacts<'_>) -> Admission {
        may_start(&instance.operation().unwrap(), instance, &facts)
    }

    fn waits(why: &str) -> Admission {
        Admission::NotBefore(why.into())
    }

    fn refusal(answer: Admission) -> (Cause, String) {
        match answer {
            Admission::No(failure) => (failure.cause, failure.detail.to_string()),
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn what_nothing_speaks_against_starts_now() {
        assert_eq!(asked(&pull("https://h"), FACTS), Admission::Now);
        assert_eq!(asked(&install(None), FACTS), Admission::Now);
        assert_eq!(asked(&install(Some("nginx")), FACTS), Admission::Now);
    }

    #[test]
    fn a_pull_over_tls_waits_for_the_clock() {
        let unset = GateFacts {
            clock_is_set: false,
            ..FACTS
        };
        assert_eq!(asked(&pull("https://h"), unset), waits("the clock"));
        assert_eq!(asked(&pull("http://h"), unset), Admission::Now);
        assert_eq!(asked(&install(None), unset), Admission::Now);
    }

    fn with(user_name: Option<&str>, password: Option<&str>, instance: Instance) -> Instance {
        let secret = |text: &str| Secret::new(text.into());
        Instance {
            settings: InstanceSettings {
                user_name: user_name.map(secret),
                password: password.map(secret),
                ..InstanceSettings::default()
            },
            ..instance
        }
    }

    #[test]
    fn user_name_and_password_go_in_the_clear_only_to_an_origin_that_is_allowed() {
        let allowed = ["http://h:8080".parse().unwrap()];
        let facts = GateFacts {
            credentials_over_http: &allowed,
            ..FACTS
        };
        let (both, user, password) = ((Some("u"), Some("p")), (Some("u"), None), (None, Some("p")));
        for (uri, (user_name, password), expected) in [
            ("http://h", (None, None), Ok(())),
            ("https://h", both, Ok(())),
            ("HTTPS://h:8080", both, Ok(())),
            ("http://h:8080", both, Ok(())),
            ("HTTP://H:8080/a.deb?b", both, Ok(())),
            ("http://h", both, Err("http://h")),
            ("http://h", user, Err("http://h")),
            ("http://h", password, Err("http://h")),
            ("http://h:8081/a.deb", both, Err("http://h:8081")),
            ("http://x.h:8080", both, Err("http://x.h:8080")),
            ("coap://h:8080", both, Err("coap://h:8080")),
        ] {
            let answer = asked(&with(user_name, password, pull(uri)), facts);
            let Err(origin) = expected else {
                assert_eq!(answer, Admission::Now, "{uri}");
                continue;
            };
            let why = format!(
                "{origin} would get User Name and Password in the clear: write an https URI, or allow it in \
                 wharfd.toml: [download] credentials-over-http = [\"{origin}\"]"
            );
            assert_eq!(refusal(answer), (Cause::Policy, why), "{uri}");
        }
    }

    #[test]
    fn user_name_and_password_keep_no_install_from_starting() {
        let install = with(Some("u"), Some("p"), install(None));
        assert_eq!(asked(&install, FACTS), Admission::Now);
    }

    #[test]
    fn jobs_go_one_at_a_time_in_the_order_of_acceptance() {
        for kind in Action::ALL.map(OperationKind::Action) {
            let behind = [(OTHER, kind), (ID, OperationKind::Action(Action::Install))];
            let ahead = [(ID, OperationKind::Action(Action::Install)), (OTHER, kind)];
            let facts = |accepted| GateFacts { accepted, ..FACTS };
            assert_eq!(asked(&install(None), facts(&behind)), waits("its turn"));
            assert_eq!(asked(&install(None), facts(&ahead)), Admission::Now);
        }
    }

    #[test]
    fn a_pull_waits_while_all_turns_are_taken() {
        for (downloading, parallel, starts) in [
            (0, 1, true),
            (1, 1, false),
            (0, 2, true),
            (1, 2, true),
            (2, 2, false),
            (3, 2, false), // a reload lowered the limit
            (15, 16, true),
        ] {
            let facts = GateFacts {
                downloading,
                parallel,
                ..FACTS
            };
            let expected = if starts {
                Admission::Now
            } else {
                waits("its turn")
            };
            let answer = asked(&pull("http://h"), facts);
            assert_eq!(answer, expected, "{downloading} of {parallel}");
            assert_eq!(asked(&install(None), facts), Admission::Now);
        }
    }

    #[test]
    fn what_is_accepted_and_has_no_turn_holds_up_no_pull() {
        let accepted = [
            (OTHER, OperationKind::Pull), // waits for its next attempt
            (OTHER, OperationKind::Push),
            (OTHER, OperationKind::Action(Action::Install)),
        ];
        let facts = GateFacts {
            accepted: &accepted,
            ..FACTS
        };
        assert_eq!(asked(&pull("http://h"), facts), Admission::Now);
        assert_eq!(asked(&install(None), facts), waits("its turn"));
        let deliveries = GateFacts {
            accepted: &accepted[..2],
            ..FACTS
        };
        assert_eq!(asked(&install(None), deliveries), Admission::Now);
    }

    #[test]
    fn a_push_comes_when_its_server_sends_it() {
        let push = Operation {
            id: ID,
            kind: OperationKind::Push,
            requester: SERVER,
        };
        let accepted = [(OTHER, OperationKind::Push), (OTHER, OperationKind::Pull)];
        let facts = GateFacts {
            accepted: &accepted,
            downloading: 2,
            ..FACTS
        };
        assert_eq!(
            may_start(&push, &Instance::default(), &facts),
            Admission::Now
        );
    }

    #[test]
    fn attempts_that_are_used_up_need_an_operator() {
        let after = |attempts| GateFacts { attempts, ..FACTS };
        assert_eq!(asked(&install(None), after(2)), Admission::Now);
        let (cause, detail) = refusal(asked(&install(None), after(3)));
        assert_eq!(cause, Cause::GaveUp);
        assert!(
            detail.contains("install was begun 3 times") && detail.contains("operator"),
            "{detail}"
        );
    }

    #[test]
    fn a_package_of_another_name_than_the_software_in_place_is_refused_naming_it() {
        assert_eq!(
            refusal(asked(&install(Some("apache2")), FACTS)),
            (
                Cause::AnotherPackage,
                "nginx cannot replace apache2: Uninstall that first".to_owned()
            )
        );
    }

    #[test]
    fn a_package_that_another_instance_holds_is_refused_naming_it() {
        let held = GateFacts {
            held_by: Some(InstanceId(7)),
            ..FACTS
        };
        for in_place in [None, Some("nginx")] {
            assert_eq!(
                refusal(asked(&install(in_place), held)),
                (
                    Cause::AnotherPackage,
                    "nginx belongs to instance 7: write it there".to_owned()
                )
            );
        }
        assert_eq!(asked(&pull("http://h"), held), Admission::Now);
    }

    #[test]
    fn a_refusal_comes_before_any_wait() {
        let accepted = [(OTHER, OperationKind::Action(Action::Install))];
        let facts = GateFacts {
            accepted: &accepted,
            attempts: 3,
            ..FACTS
        };
        assert_eq!(refusal(asked(&install(None), facts)).0, Cause::GaveUp);
    }

    #[test]
    fn only_an_install_is_about_another_package() {
        let held = GateFacts {
            held_by: Some(InstanceId(7)),
            ..FACTS
        };
        let instance = install(None);
        let operation = Operation {
            kind: OperationKind::Action(Action::Uninstall),
            ..instance.operation().unwrap()
        };
        assert_eq!(may_start(&operation, &instance, &held), Admission::Now);
    }
}
