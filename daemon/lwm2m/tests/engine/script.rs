//! The requests of the server in the lossy-link tests.

use std::collections::VecDeque;

use lwm2m::coap::{BlockOption, CoapType, Code, Message, OptionNumber};

/// One request.
#[derive(Clone)]
pub(crate) enum Step {
    Observe,
    Execute(u8),
    Read,
    Block { number: usize, last: bool },
}

impl Step {
    pub(crate) fn message(&self, id: u16, token: &[u8]) -> Message {
        let request = |code, path: [&str; 3]| {
            let message = Message::new(CoapType::Confirmable, code, id, token);
            path.iter()
                .fold(message, |it, part| it.with(OptionNumber::URI_PATH, *part))
        };
        match self {
            Step::Observe => {
                request(Code::GET, ["9", "0", "7"]).with_uint(OptionNumber::OBSERVE, 0)
            }
            Step::Execute(argument) => {
                request(Code::POST, ["9", "0", "4"]).with_payload(vec![*argument])
            }
            Step::Read => request(Code::GET, ["9", "0", "9"]),
            Step::Block { number, last } => {
                let block = BlockOption::at(number * 16, !last, 0).unwrap();
                request(Code::PUT, ["9", "0", "2"])
                    .with(OptionNumber::BLOCK1, block.encode())
                    .with_payload(vec![*number as u8; 16])
            }
        }
    }
}

/// The requests in order.
pub(crate) fn script() -> VecDeque<Step> {
    let mut steps = vec![Step::Observe];
    for argument in 0..6 {
        steps.extend([Step::Execute(argument), Step::Read]);
    }
    steps.extend((0..5).map(|number| Step::Block {
        number,
        last: number == 4,
    }));
    steps.into()
}
