//! CoAP and the LwM2M 1.0 client as one pure engine: no socket, no clock, no file, no randomness,
//! no thread.
//!
//! What happens goes in as an [`Input`], with the time; what is to be done comes out as an
//! [`Output`]. One [`Engine`] serves one LwM2M server account. Whoever drives it passes in the
//! datagrams that came from that server's own address, and nothing else.
//!
//! ```
//! use lwm2m::{Answer, Content, Engine, Input, Output, Request, Time, Value};
//! # use lwm2m::{Config, ObjectDefinition, Objects, Operations, ResourceDefinition, Type};
//! # static DEVICE: [ObjectDefinition; 1] = [ObjectDefinition::new(
//! #     3, &[ResourceDefinition::new(0, Operations::READ, Type::String)])];
//! # let config = Config::new("gateway-17");
//! # let objects = Objects::new(&DEVICE, [(3, 0)]);
//! let mut engine = Engine::new(config, objects, 0x5eed /* from the system's randomness */);
//! # let now = Time::from_millis(0);
//! engine.handle(now, Input::Start);
//! // The loop: mutate once, then drain.
//! while let Some(output) = engine.poll_output() {
//!     match output {
//!         Output::Send(datagram) => { /* to the server */ drop(datagram) }
//!         Output::Request { id, request: Request::Read { path, .. } } => {
//!             // From committed state; at once or later, in any order.
//! #           drop(path);
//!             let answer = Answer::Content(Content::from(Value::from("Open Mobile Alliance")));
//!             engine.handle(now, Input::Answer { request: id, answer });
//!         }
//!         Output::Request { .. } => { /* … */ }
//!         Output::Save => { /* keep `engine.saved()`, for `Engine::restored` */ }
//!         Output::Event(event) => { /* journal, status */ drop(event) }
//!     }
//! }
//! // Then wait for a datagram, a local event, or this deadline: `handle(now, Input::Timeout)`.
//! let deadline: Option<Time> = engine.next_deadline();
//! # assert!(deadline.is_some());
//! ```
//!
//! | module | idea |
//! | --- | --- |
//! | `engine` | routes each input to the parts below, in files by direction |
//! | `input`, `output`, `request` | the values that pass in and out |
//! | `saved` | what of them outlives the program |
//! | `config`, `model`, `value`, `path`, `time` | what the caller says about itself and its objects |
//! | `registration` | when to Register, Update, Deregister, and what to do when that fails |
//! | `observe` | who observes what, and the queue of notifications |
//! | `numbers` | Message IDs and Observe numbers, which no later run uses again |
//! | `blockwise` | RFC 7959: bodies put together, handed on as a stream, or cut into blocks |
//! | `exchange` | RFC 7252 4: one message in flight, and none acted upon twice |
//! | [`coap`] | the bytes of a message; the only place that knows the CoAP library |
//! | `content`, [`tlv`], `text`, `link` | the representations of LwM2M 1.0 |

#![forbid(unsafe_code)]

mod blockwise;
pub mod coap;
mod config;
mod content;
mod engine;
mod exchange;
mod input;
mod link;
mod model;
mod numbers;
mod observe;
mod output;
mod path;
mod random;
mod registration;
mod request;
mod saved;
mod secret;
mod text;
mod time;
pub mod tlv;
mod value;

pub use config::{Backoff, Config, Limits, Transmission};
pub use engine::Engine;
pub use input::{Input, UpdateTiming};
pub use model::{ObjectDefinition, Objects, Operations, ResourceDefinition, Type, Version};
pub use output::{Event, Failure, Output};
pub use path::{InstanceId, ObjectId, Path, ResourceId};
pub use request::{
    Answer, Block, Content, Dimensions, ErrorCode, ReadPurpose, Request, RequestId, Resources,
    WriteMode,
};
pub use saved::{Answered, Saved, SavedObservation};
pub use secret::Secret;
pub use time::Time;
pub use value::{ResourceValue, Value};
