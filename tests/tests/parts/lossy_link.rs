use wharf_tests::{
    lossy_link::{Faults, LossyLink, Weather},
    server::{RegistrationEvent, TestServer},
};

use crate::server::libcoap_client;

const BAD: Faults = Faults {
    lost: 20,
    doubled: 10,
    late: 10,
};

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| {
        let mut weather = Weather::new(seed, BAD);
        let datagrams = (0..200_u8).flat_map(|datagram| weather.pass(&[datagram]));
        datagrams.collect::<Vec<_>>()
    };
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
}

#[test]
fn as_many_are_lost_and_doubled_as_was_asked() {
    let mut weather = Weather::new(1, BAD);
    let mut counts = [0; 10_000];
    for number in 0..10_000_u16 {
        for datagram in weather.pass(&number.to_be_bytes()) {
            counts[usize::from(u16::from_be_bytes([datagram[0], datagram[1]]))] += 1;
        }
    }
    let of = |count| counts.iter().filter(|counted| **counted == count).count();
    assert!((1_900..2_100).contains(&of(0)), "{} were lost", of(0));
    assert!((900..1_100).contains(&of(2)), "{} were doubled", of(2));
}

#[test]
fn a_registration_comes_through_once() {
    let server = TestServer::new();
    let link = LossyLink::to(server.address(), 3, BAD);
    let uri = format!("coap://{}/rd?ep=far&lt=60&lwm2m=1.0", link.address());
    libcoap_client(&["-m", "post", "-e", "</3/0>", &uri]);
    assert_eq!(
        server.events(),
        [RegistrationEvent::Registered("far".to_owned())]
    );
}
