//! CoAP and the LwM2M 1.0 client as one pure engine: no socket, no clock, no file, no randomness,
//! no thread.
//!
//! The caller passes each event in as an [`Input`], with the time, and carries out each [`Output`].
//! One [`Engine`] serves one LwM2M server account. The caller must pass in only the datagrams that
//! came from that server's address.
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
//!             // Answer from committed state; now or later, in any order.
//! #           drop(path);
//!             let answer = Answer::Content(Content::from(Value::from("Open Mobile Alliance")));
//!             engine.handle(now, Input::Answer { request: id, answer });
//!         }
//!         Output::Request { .. } => { /* … */ }
//!         Output::Save => { /* store `engine.saved()`, for `Engine::restored` */ }
//!         Output::Event(event) => { /* journal, status */ drop(event) }
//!     }
//! }
//! // Wait for a datagram, a local event or this deadline, then call `handle` again.
//! let deadline: Option<Time> = engine.next_deadline();
//! # assert!(deadline.is_some());
//! ```
//!
//! | module | idea |
//! | --- | --- |
//! | `engine` | routes each input to the modules below |
//! | `input`, `output`, `request` | the values that the caller exchanges with the engine |
//! | `saved` | the state that the caller stores over restarts |
//! | `config`, `model`, `value`, `path`, `time` | the configuration and the object model |
//! | `registration` | when to Register, Update and Deregister, and the retries |
//! | `observe` | the observations and the queue of notifications |
//! | `numbers` | Message IDs and Observe numbers, unique over restarts |
//! | `blockwise` | block-wise transfers (RFC 7959): assemble a body, stream it, or split it |
//! | `exchange` | the message layer (RFC 7252 4): retransmission and deduplication |
//! | [`coap`] | encoding of messages; the only module that uses the CoAP library |
//! | `content`, [`tlv`], `text`, `link` | the data formats of LwM2M 1.0 |

#![forbid(unsafe_code)]

mod backoff;
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
mod text;
mod time;
pub mod tlv;
mod value;

pub use backoff::Backoff;
pub use config::{Config, Limits, Transmission};
pub use engine::Engine;
pub use input::{Input, UpdateTiming};
pub use model::{ObjectDefinition, Objects, Operations, ResourceDefinition, Type, Version};
pub use output::{EngineEvent, Output, RegistrationFailure};
pub use path::{ObjectId, ObjectInstanceId, Path, ResourceId};
pub use request::{
    Answer, Content, Dimensions, ErrorCode, ReadPurpose, Request, RequestId, Resources,
    StreamedBlock, WriteMode,
};
pub use saved::{Answered, Saved, SavedObservation};
pub use time::Time;
pub use value::{ResourceValue, Value};
pub use wharf_secret::Secret;
