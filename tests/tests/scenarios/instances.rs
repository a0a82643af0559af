//! Create, Delete, Write of whole instances, several of them.

use wharf_tests::{package::Package, server::ReceivedNotification, waiting::wait_until};

use crate::stage_set::StageSet;

#[test]
fn a_server_creates_instances_up_to_the_limit() {
    let set = StageSet::simulated();
    let client = set.client();
    client.create("/9", Some(0), &[]).expect("4.00");
    client.create("/9", Some(7), &[]).expect("2.01");
    for _ in 0..14 {
        client.create("/9", None, &[]).expect("2.01");
    }
    client.create("/9", None, &[]).expect("4.05");
    client.delete("/9/7").expect("2.02");
    client.read("/9/7/7").expect("4.04");
    client.create("/9", Some(7), &[]).expect("2.01");
}

#[test]
fn who_observes_the_object_is_told_of_a_create_and_of_a_delete() {
    let set = StageSet::simulated();
    let client = set.client();
    client.observe("/9").expect("2.05");
    let told = || set.server.notifications().len();
    client.create("/9", Some(7), &[]).expect("2.01");
    wait_until("a notification of the Create", || {
        (told() == 1).then_some(())
    });
    client.delete("/9/7").expect("2.02");
    wait_until("a notification of the Delete", || {
        (told() == 2).then_some(())
    });
    let [created, deleted] = &set.server.notifications()[..] else {
        panic!("{:#?}", set.server.notifications());
    };
    let length = |told: &ReceivedNotification| told.response.payload.len();
    assert!(length(created) > length(deleted), "{created:?} {deleted:?}");
}

#[test]
fn a_create_with_a_uri_starts_the_download() {
    let set = StageSet::simulated();
    let uri = set.publish(&Package::new("hello", "1.0.1"));
    set.client()
        .create("/9", Some(3), &[(3, uri.as_bytes())])
        .expect("2.01");
    set.wait_for_instance(3, "3/0");
}

#[test]
fn a_write_of_a_whole_instance_is_one_unit() {
    let set = StageSet::simulated();
    let client = set.client();
    let uri = set.publish(&Package::new("hello", "1.0.1"));
    let with_read_only = [(3, uri.as_bytes()), (14, b"fleet"), (7, &[1])];
    client
        .write_instance("/9/0", &with_read_only)
        .expect("4.05");
    set.wait_for("0/0");
    client
        .write_instance("/9/0", &with_read_only[..2])
        .expect("2.04");
    set.wait_for("3/0");
}

#[test]
fn installs_of_several_instances_are_queued_in_the_order_of_acceptance() {
    let set = StageSet::simulated();
    let client = set.client();
    for (id, name) in [(0, "first"), (1, "second"), (2, "third")] {
        if id > 0 {
            client.create("/9", Some(id), &[]).expect("2.01");
        }
        let uri = set.publish(&Package::new(name, "1.0.1"));
        client
            .write_text(&format!("/9/{id}/3"), &uri)
            .expect("2.04");
    }
    for id in 0..3 {
        set.wait_for_instance(id, "3/0");
    }
    for id in [2, 0, 1] {
        client.execute(&format!("/9/{id}/4"), "").expect("2.04");
    }
    for id in 0..3 {
        set.wait_for_instance(id, "4/2");
    }
    let history = set.gateway.path().join("var/lib/wharf-simulated/history");
    let history = std::fs::read_to_string(history).unwrap();
    let order: Vec<&str> = ["third", "first", "second"].into_iter().collect();
    let found: Vec<&str> = history
        .lines()
        .filter_map(|line| order.iter().copied().find(|name| line.contains(name)))
        .collect();
    assert_eq!(found, order, "{history}");
}

#[test]
fn a_package_that_another_instance_holds_ends_57() {
    let set = StageSet::simulated();
    set.install(&Package::new("hello", "1.0.1"));
    let client = set.client();
    let uri = set.publish(&Package::new("hello", "2.0.1"));
    client
        .create("/9", Some(1), &[(3, uri.as_bytes())])
        .expect("2.01");
    set.wait_for_instance(1, "3/0");
    client.execute("/9/1/4", "").expect("2.04");
    set.wait_for_instance(1, "3/57");
    assert!(client.read_text("/9/1/16").contains("instance 0"));
}

#[test]
fn delete_cancels_a_running_download_and_tells_observers_4_04() {
    let set = StageSet::simulated();
    let client = set.client();
    let uri = set.publish(&Package::new("hello", "1.0.1").padding(200_000));
    let path = format!("/{}", uri.rsplit('/').next().unwrap());
    set.origin
        .fault(&path, wharf_tests::origin::Fault::StallAfter(1000));
    set.observe(&[7]);
    set.order(&uri);
    set.origin.wait_for_stall();
    client.delete("/9/0").expect("2.02");
    wait_until("4.04 to the observer", || {
        let told = set.server.notifications();
        told.iter()
            .any(|told| told.response.code == "4.04")
            .then_some(())
    });
    let staged = set.gateway.path().join("var/lib/wharf-installer/staged");
    wait_until("an empty staging folder", || {
        std::fs::read_dir(&staged)
            .unwrap()
            .next()
            .is_none()
            .then_some(())
    });
}
