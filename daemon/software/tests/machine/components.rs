//! The components of a bundle: their state, their activation, and their ids in Object 14 (TS 5.3, 7).

use wharf_frames::{
    Action, Cause, Failure, PackageName, Step,
    installer::{Component, Found, SealedPackage},
};
use wharf_software::{
    ComponentIds, ComponentSwitch, ComponentValues, Effect, Event, Instance, InstanceId,
    InstanceRecord, OperationKind, RefusalCode, UpdateState,
    record::{RecordError, StoredProgress},
    transition,
};

use crate::{cells::*, steps::*};

const ID: InstanceId = InstanceId(3);

/// The bundle of these components, as it is delivered.
fn stack(components: &[&str]) -> SealedPackage {
    let component = |it: &&str| Component {
        name: name(it),
        version: package().version,
    };
    SealedPackage {
        components: components.iter().map(component).collect(),
        ..package()
    }
}

fn delivered_stack(components: &[&str]) -> InstanceRecord {
    InstanceRecord {
        package: Some(stack(components)),
        ..delivered()
    }
}

fn installing_stack(components: &[&str]) -> InstanceRecord {
    running(
        OperationKind::Action(Action::Install),
        StoredProgress::Running,
        delivered_stack(components),
    )
}

/// The bundle on the device, each component with whether it runs.
fn found_stack(version: &str, components: &[(&str, bool)]) -> Found {
    let component = |(it, active): &(&str, bool)| found_component(it, version, *active).into();
    let components: Vec<_> = components.iter().map(component).collect();
    Found {
        components,
        ..found(version, false)
    }
}

fn found_component(component: &str, version: &str, active: bool) -> Found {
    Found {
        name: name(component),
        ..found(version, active)
    }
}

fn switch(component: &str, wanted: bool) -> Event {
    Event::Switch(ComponentSwitch {
        component: name(component),
        wanted,
        arguments: Vec::new(),
        starts: starts(),
    })
}

/// The name and Activation State of each component.
fn shown(instance: &Instance) -> Vec<(String, bool)> {
    let components = instance.components().into_iter();
    let shown = components.map(|ComponentValues { name, active, .. }| (name.to_string(), active));
    shown.collect()
}

fn states(expected: &[(&str, bool)]) -> Vec<(String, bool)> {
    let expected = expected.iter();
    expected.map(|(it, is)| ((*it).to_owned(), *is)).collect()
}

#[test]
fn a_bundle_is_installed_with_its_components_and_active_if_all_of_them_are() {
    let made = then(
        installing_stack(&["php", "web"]),
        ended(
            None,
            Some(found_stack("2.0", &[("php", false), ("web", false)])),
        ),
    );
    assert_eq!(at(&made), (4, 2));
    assert!(!left(&made).activation_state());
    assert_eq!(
        shown(left(&made)),
        states(&[("php", false), ("web", false)])
    );
    for (php, web) in [(true, false), (false, true), (true, true)] {
        let device = Found {
            active: php && web,
            ..found_stack("2.0", &[("php", php), ("web", web)])
        };
        let next = transition(left(&made), Event::DeviceHas(Some(device)), &rules()).unwrap();
        assert_eq!(left(&next).activation_state(), php && web, "{php}, {web}");
        let expected = states(&[("php", php), ("web", web)]);
        assert_eq!(shown(left(&next)), expected);
    }
}

#[test]
fn an_install_that_left_a_component_out_or_in_part_has_failed() {
    let damaged = {
        let mut found = found_stack("2.0", &[("php", true), ("web", true)]);
        found.components[1].damage = Some("half-configured".into());
        found
    };
    let older = {
        let mut found = found_stack("2.0", &[("php", true), ("web", true)]);
        found.components[0].version = found_component("php", "1.0", true).version;
        found
    };
    for device in [
        found_stack("2.0", &[("php", true)]),
        found("2.0", true),
        damaged,
        older,
    ] {
        let event = ended(None, Some(device.clone()));
        let made = then(installing_stack(&["php", "web"]), event);
        assert_eq!(at(&made), (3, 58), "{device:?}");
    }
}

#[test]
fn the_damage_of_a_bundle_names_the_component() {
    let device = Found {
        damage: Some("web is not installed".into()),
        ..found_stack("1.0", &[("php", true)])
    };
    for record in [bundle(true, true), bundle_in_place(initial(), true, true)] {
        let made = then(record, Event::DeviceHas(Some(device.clone())));
        let reason = reason(&made);
        let expected = "nginx 1.0: web is not installed: repair it on the device";
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn the_components_of_a_delivered_bundle_are_shown_inactive() {
    let instance = built(delivered_stack(&["php", "web"]));
    assert!(instance.is_bundle());
    assert_eq!(shown(&instance), states(&[("php", false), ("web", false)]));
    let upgrade = InstanceRecord {
        package: Some(stack(&["web", "cache"])),
        ..bundle_in_place(delivered(), true, true)
    };
    assert_eq!(
        shown(&built(upgrade)),
        states(&[("web", false), ("cache", false)])
    );
    let waits = built(bundle_in_place(initial(), true, true));
    assert_eq!(shown(&waits), states(&[("php", false), ("web", false)]));
}

#[test]
fn a_plain_package_is_its_own_component() {
    for (record, expected) in [
        (initial(), vec![]),
        (delivered(), states(&[("nginx", false)])),
        (installed(true), states(&[("nginx", true)])),
        (with_software(initial()), states(&[("nginx", false)])),
    ] {
        let instance = built(record);
        assert!(!instance.is_bundle());
        assert_eq!(shown(&instance), expected, "{}", label(&instance));
    }
}

#[test]
fn one_component_is_activated_and_12_follows_when_all_are_active() {
    let accepted = then(bundle(true, false), switch("web", true));
    assert_eq!(accepted.effects, [Effect::Queue { operation: NEW }]);
    assert_eq!(at(&accepted), (4, 2));
    assert_eq!(reason(&accepted), "40: activating web of nginx 1.0");
    let started = transition(left(&accepted), Event::Started { operation: NEW }, &rules());
    let started = started.unwrap();
    let step = Step::on(Action::Activate, name("web")).unwrap();
    let expected = Effect::Perform {
        operation: NEW,
        transaction: step.into(),
    };
    assert_eq!(started.effects, [expected]);
    let end = Event::Ended {
        operation: NEW,
        failure: None,
        device: Some(found_component("web", "1.0", true)),
        next: NEXT,
    };
    let made = transition(left(&started), end, &rules()).unwrap();
    assert_eq!(shown(left(&made)), states(&[("php", true), ("web", true)]));
    assert!(left(&made).activation_state());
    assert_eq!(reason(&made), "40: nginx 1.0 is installed");
    assert!(!left(&made).is_busy());
}

#[test]
fn a_component_that_did_not_start_leaves_12_false_with_the_reason_in_16() {
    let failure = || Some(Failure::new(Cause::Script, "web.service failed"));
    let inactive = || Some(found_component("web", "1.0", false));
    let cases = [
        (failure(), inactive(), "40: web.service failed"),
        (
            None,
            inactive(),
            "40: the service manager reported success, but web does not run",
        ),
        (None, None, "40: the device does not have web any more"),
    ];
    for (failure, device, expected) in cases {
        let made = then(switching(StoredProgress::Running), ended(failure, device));
        assert_eq!(reason(&made), expected);
        assert_eq!(at(&made), (4, 2));
        assert_eq!(shown(left(&made)), states(&[("php", true), ("web", false)]));
        assert!(left(&made).last_failure().is_some());
    }
    let refused = then(switching(StoredProgress::Queued), failed(Cause::Policy));
    assert_eq!(reason(&refused), "40: it failed");
}

#[test]
fn the_end_of_a_component_is_not_the_end_of_its_bundle() {
    let device = Some(found("1.0", true));
    let made = then(switching(StoredProgress::Running), ended(None, device));
    assert_eq!(
        reason(&made),
        "40: the installer told about nginx instead of web"
    );
    assert_eq!(shown(left(&made)), states(&[("php", true), ("web", false)]));
}

#[test]
fn a_component_is_switched_in_installed_only() {
    for record in [
        initial(),
        bundle_in_place(initial(), true, false),
        bundle_in_place(pulling(StoredProgress::Receiving), true, false),
        delivered_stack(&["php", "web"]),
        bundle_in_place(delivered_stack(&["php", "web"]), true, false),
        installed(false),
    ] {
        for wanted in [true, false] {
            let refusal = refused(record.clone(), switch("web", wanted));
            assert_eq!(refusal.code, RefusalCode::MethodNotAllowed, "{refusal}");
        }
    }
    let refusal = refused(bundle(true, false), switch("cache", true));
    assert_eq!(
        refusal.to_string(),
        "4.05: Activate of cache has no effect in INSTALLED"
    );
}

#[test]
fn the_same_request_starts_no_second_job_and_another_one_is_refused() {
    unchanged(bundle(true, false), switch("php", true));
    unchanged(bundle(true, false), switch("web", false));
    let busy = || switching(StoredProgress::Running);
    unchanged(busy(), switch("web", true));
    for event in [
        switch("web", false),
        switch("php", true),
        switch("php", false),
        execute(Action::Activate, ""),
        execute(Action::Deactivate, ""),
        uninstall(""),
    ] {
        let refusal = refused(busy(), event.clone());
        assert_eq!(refusal.code, RefusalCode::MethodNotAllowed, "{event:?}");
    }
    let all = || {
        running(
            OperationKind::Action(Action::Activate),
            StoredProgress::Running,
            bundle(true, false),
        )
    };
    assert!(
        refused(all(), switch("web", true))
            .why
            .as_str()
            .contains("busy")
    );
}

#[test]
fn arguments_of_a_component_follow_the_grammar_of_execute() {
    let with = |arguments: &str| {
        Event::Switch(ComponentSwitch {
            component: name("web"),
            wanted: true,
            arguments: arguments.into(),
            starts: starts(),
        })
    };
    let accepted = then(bundle(true, false), with("0"));
    assert_eq!(accepted.effects, [Effect::Queue { operation: NEW }]);
    let refusal = refused(bundle(true, false), with("a"));
    assert_eq!(refusal.code, RefusalCode::BadRequest);
}

#[test]
fn activate_and_deactivate_of_a_bundle_act_as_long_as_one_component_is_not_as_wanted() {
    for (php, web, action, acts) in [
        (true, false, Action::Deactivate, true),
        (true, false, Action::Activate, true),
        (false, false, Action::Deactivate, false),
        (true, true, Action::Deactivate, true),
        (true, true, Action::Activate, false),
    ] {
        let made = then(bundle(php, web), execute(action, ""));
        let acted = made.effects == [Effect::Queue { operation: NEW }];
        assert_eq!(acted, acts, "{php}, {web}, {action:?}");
    }
    let deactivating = running(
        OperationKind::Action(Action::Deactivate),
        StoredProgress::Running,
        bundle(true, true),
    );
    let device = found_stack("1.0", &[("php", true), ("web", false)]);
    let made = then(deactivating, ended(None, Some(device)));
    assert_eq!(
        reason(&made),
        "40: the service manager reported success, but nginx still runs"
    );
}

#[test]
fn the_agent_in_a_bundle_is_neither_stopped_nor_removed() {
    let web = name("web");
    let own = || wharf_software::Rules {
        own_package: &web,
        ..rules()
    };
    for event in [
        switch("web", false),
        execute(Action::Deactivate, ""),
        uninstall(""),
        purge(),
    ] {
        let refusal = transition(&built(bundle(true, true)), event.clone(), &own()).unwrap_err();
        assert!(
            refusal.why.as_str().starts_with("web is the agent itself"),
            "{event:?}: {refusal}"
        );
    }
}

#[test]
fn a_component_that_starts_by_hand_after_a_failure_clears_the_reason() {
    let record = InstanceRecord {
        note: Some("web.service failed".into()),
        ..bundle(false, false)
    };
    let device = found_stack("1.0", &[("php", false), ("web", true)]);
    let made = then(record.clone(), Event::DeviceHas(Some(device)));
    assert_eq!(reason(&made), "40: nginx 1.0 is installed");
    let same = found_stack("1.0", &[("php", false), ("web", false)]);
    unchanged(record, Event::DeviceHas(Some(same)));
}

#[test]
fn a_component_keeps_its_id_over_an_upgrade_and_a_free_id_is_reused_after_it_is_gone() {
    let php_web = built(bundle(true, true));
    let upgrade = built(InstanceRecord {
        package: Some(stack(&["cache", "web"])),
        ..bundle_in_place(delivered(), true, true)
    });
    let cache_web = transition(
        &built(installing_stack(&["cache", "web"])),
        ended(
            None,
            Some(found_stack("2.0", &[("cache", true), ("web", true)])),
        ),
        &rules(),
    );
    let cache_web = cache_web.unwrap().instance.unwrap();
    let of = |ids: &ComponentIds| -> Vec<(u16, String)> {
        let own = ids.of(ID);
        own.map(|(id, name)| (id, name.to_string())).collect()
    };
    let expected = |ids: &[(u16, &str)]| -> Vec<(u16, String)> {
        let ids = ids.iter();
        ids.map(|(id, name)| (*id, (*name).to_owned())).collect()
    };
    let first = ComponentIds::default().after(ID, Some(&php_web));
    assert_eq!(of(&first), expected(&[(0, "php"), (1, "web")]));
    // The package of another instance does not get an id of these.
    let beside = first.after(InstanceId(0), Some(&built(installed(true))));
    assert_eq!(beside.id(InstanceId(0), &name("nginx")), Some(2));
    let both = beside.after(ID, Some(&upgrade));
    assert_eq!(of(&both), expected(&[(0, "php"), (1, "web"), (3, "cache")]));
    let after = both.after(ID, Some(&cache_web));
    assert_eq!(of(&after), expected(&[(1, "web"), (3, "cache")]));
    assert_eq!(after.get(3), Some((ID, &name("cache"))));
    let again = after.after(ID, Some(&php_web));
    assert_eq!(of(&again), expected(&[(0, "php"), (1, "web")]));
    assert_eq!(of(&again.after(ID, None)), []);
    let stored = again.of(ID).map(|(id, name)| (id, ID, name.clone()));
    let mut rebuilt = ComponentIds::new(stored);
    rebuilt = rebuilt.after(InstanceId(0), Some(&built(installed(true))));
    assert_eq!(rebuilt, again);
}

#[test]
fn a_package_is_held_alone_or_in_a_bundle() {
    let named = |name: PackageName| SealedPackage { name, ..package() };
    let holds = |record: InstanceRecord, package: &SealedPackage| built(record).holds(package);
    assert!(holds(bundle(true, true), &named(name("web"))));
    assert!(holds(installed(true), &named(name("nginx"))));
    let other = SealedPackage {
        name: name("stack"),
        ..stack(&["nginx"])
    };
    assert!(holds(installed(true), &other));
    let third = SealedPackage {
        name: name("third"),
        ..stack(&["cache"])
    };
    assert!(!holds(bundle(true, true), &third));
    assert!(!holds(initial(), &other));
}

#[test]
fn a_row_that_switches_a_component_has_that_component() {
    let record = switching(StoredProgress::Running);
    assert_eq!(InstanceRecord::from(&built(record.clone())), record);
    let other = InstanceRecord {
        component: Some(name("cache")),
        ..record.clone()
    };
    let idle = InstanceRecord {
        component: Some(name("web")),
        ..bundle(true, false)
    };
    let removes = running(
        OperationKind::Action(Action::Uninstall),
        StoredProgress::Running,
        idle.clone(),
    );
    for row in [other, idle, removes] {
        let error = Err(RecordError::Contradiction(UpdateState::Installed));
        assert_eq!(Instance::try_from(row.clone()), error, "{row:?}");
    }
}
