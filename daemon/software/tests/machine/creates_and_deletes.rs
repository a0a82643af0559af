//! The decisions about Create and Delete.

use wharf_frames::Secret;
use wharf_software::{
    Effect, Event, Instance, InstanceId, NewOperation, PackageSource, RefusalCode, Requester,
    Transition, Write,
    create::{WantedId, create, free_id},
    record::StoredProgress::Queued,
    transition,
};

use crate::{cells::*, steps::*};

#[test]
fn delete_is_the_cancel_that_a_server_has() {
    let stop = Effect::StopDelivery { stage: STAGE };
    let discard = Effect::Discard { stage: STAGE };
    for (record, expected) in [
        (initial(), vec![]),
        (pulling(Queued), vec![stop.clone(), discard.clone()]),
        (pushing(), vec![stop, discard.clone()]),
        (downloaded(), vec![discard.clone()]),
        (delivered(), vec![discard]),
    ] {
        let made = then(record, Event::Delete);
        assert_eq!(made.instance, None);
        let (last, before) = made.effects.split_last().unwrap();
        assert_eq!(before, expected);
        assert_eq!(*last, Effect::UpdateRegistration);
    }
}

#[test]
fn delete_while_busy_or_with_software_in_place_is_4_05_in_any_state() {
    for cell in cells() {
        let kept = cell.is_busy() || cell.software().is_some();
        let made = transition(&cell, Event::Delete, &rules());
        assert_eq!(made.is_err(), kept, "{}", label(&cell));
        if let Err(refusal) = made {
            assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
        }
    }
    let refusal = refused(installed(true), Event::Delete);
    assert_eq!(
        refusal.why.as_str(),
        "nginx 1.0 is in place: Uninstall first"
    );
    let refusal = refused(installing(), Event::Delete);
    assert_eq!(refusal.why.as_str(), "busy: install has not ended");
}

#[test]
fn create_takes_a_free_id_within_the_limit() {
    use WantedId::{Highest, Lowest, This};
    let taken = [InstanceId(0), InstanceId(2)];
    for (wanted, limit, id) in [
        (Lowest, 3, 1),
        (Highest, 3, 1),
        (Lowest, 5, 1),
        (Highest, 5, 4),
        (This(InstanceId(7)), 3, 7),
    ] {
        assert_eq!(free_id(wanted, &taken, limit), Ok(InstanceId(id)));
    }
    let above = [InstanceId(0), InstanceId(7)]; // the limit was higher then
    assert_eq!(free_id(Highest, &above, 3), Ok(InstanceId(2)));
    for (wanted, limit, code) in [
        (This(InstanceId(2)), 3, RefusalCode::BadRequest),
        (This(InstanceId(2)), 2, RefusalCode::BadRequest),
        (This(InstanceId(u16::MAX)), 3, RefusalCode::BadRequest),
        (This(InstanceId(7)), 2, RefusalCode::MethodNotAllowed),
        (Lowest, 2, RefusalCode::MethodNotAllowed),
        (Highest, 2, RefusalCode::MethodNotAllowed),
        (Highest, 1, RefusalCode::MethodNotAllowed),
    ] {
        assert_eq!(free_id(wanted, &taken, limit).unwrap_err().code, code);
    }
    assert_eq!(
        free_id(Lowest, &taken, 2).unwrap_err().why.as_str(),
        "there are 2 instances, and `max-instances` in wharfd.toml allows 2: Delete one, or allow more"
    );
}

#[test]
fn create_is_a_write_to_a_new_instance_and_always_causes_an_update() {
    let with = |uri: &[u8]| Write {
        source: Some(PackageSource::Uri(Secret::new(uri.to_vec()))),
        ..credentials(b"u", b"p")
    };
    let made = create(
        with(uri().as_str().as_bytes()),
        starts(),
        NEW_STAGE,
        &rules(),
    )
    .unwrap();
    assert_eq!(at(&made), (1, 1));
    assert_eq!(
        made.effects,
        [Effect::Queue { operation: NEW }, Effect::UpdateRegistration]
    );
    let empty = create(Write::default(), starts(), NEW_STAGE, &rules()).unwrap();
    assert_eq!(empty.instance, Some(Instance::default()));
    assert_eq!(empty.effects, [Effect::UpdateRegistration]);
    let by_user = NewOperation {
        requester: Requester::User(0),
        ..starts()
    };
    let local = create(Write::default(), by_user, NEW_STAGE, &rules()).unwrap();
    let is_local = |made: Transition| made.instance.unwrap().is_local();
    assert!(is_local(local) && !is_local(empty));
    let refusal = create(with(b""), starts(), NEW_STAGE, &rules()).unwrap_err();
    assert_eq!(
        (refusal.code, refusal.instance),
        (RefusalCode::BadRequest, None)
    );
}
