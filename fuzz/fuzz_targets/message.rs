//! A decoded CoAP message encodes to the same datagram.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lwm2m::coap::{BlockOption, Message, OptionNumber};

fuzz_target!(|datagram: &[u8]| {
    let Ok(message) = Message::decode(datagram) else {
        return;
    };
    assert_eq!(message.encode(), datagram);
    assert!(message.token().len() <= 8);
    for value in message.options(OptionNumber::BLOCK1) {
        if let Ok(block) = BlockOption::decode(value) {
            assert_eq!(BlockOption::decode(&block.encode()), Ok(block));
        }
    }
});
