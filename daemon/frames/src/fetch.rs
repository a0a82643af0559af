//! What passes over wharf-fetch's socket: one [`Request`] with a write-only descriptor, then [`Event`]s,
//! the last of which is [`Event::Complete`] or [`Event::Failed`].

use minicbor::{Decode, Encode, bytes::ByteVec};

use crate::{Failure, OperationId, PackageName, Secret};

/// The longest Package URI: presigned URLs are longer than the TS's 255 bytes.
pub const MAX_URI: usize = 2048;

/// The longest signature that is taken from beside a package.
pub const MAX_SIGNATURE: usize = 64 * 1024;

/// One download: from where, as whom, and how far it had come.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Request {
    /// The Package URI. May hold a secret (a presigned URL), so it is never logged whole.
    #[n(0)]
    pub uri: Secret,
    /// Resource 14.
    #[n(1)]
    pub user_name: Option<Secret>,
    /// Resource 15.
    #[n(2)]
    pub password: Option<Secret>,
    /// How to go on; none begins at the first byte.
    #[n(3)]
    pub resume: Option<Resume>,
    /// More bytes than this are refused as [`crate::Cause::Quota`].
    #[n(4)]
    pub max_size: u64,
    /// The limits of time.
    #[n(5)]
    pub limits: Limits,
    /// What it is for. Decides nothing: a journal's lines are found by it.
    #[n(6)]
    pub subject: Option<Subject>,
}

/// What a download is for, as the journal's fields name it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Subject {
    /// The instance of Object 9.
    #[n(0)]
    pub instance: u16,
    /// The operation.
    #[n(1)]
    pub operation: OperationId,
    /// The package, as far as it can be known before it is there.
    #[n(2)]
    pub package: Option<PackageName>,
}

/// Where an earlier attempt stopped.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Resume {
    /// The bytes that are in the file, and are not asked for again.
    #[n(0)]
    pub offset: u64,
    /// What tells that the origin still has the same bytes.
    #[n(1)]
    pub validator: Validator,
}

/// What an origin said to recognise its bytes by (RFC 9110 8.8).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Validator {
    /// A strong entity tag, with its quotes.
    #[n(0)]
    ETag(#[n(0)] String),
    /// The Last-Modified date as it was sent.
    #[n(1)]
    LastModified(#[n(0)] String),
}

/// Limits of time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Limits {
    /// Until the connection stands, TLS included.
    #[n(0)]
    pub connect_ms: u64,
    /// Without a single byte.
    #[n(1)]
    pub stall_ms: u64,
}

/// What wharf-fetch tells while it works.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Event {
    /// A signature stands beside the package: `URI.asc` or `URI.sig`. Comes before [`Event::Started`], if at all.
    #[n(0)]
    Signature(#[n(0)] ByteVec),
    /// The first byte is there.
    #[n(1)]
    Started {
        /// Where the bytes begin: the asked offset, or 0 when the origin has other bytes now or cannot go on.
        #[n(0)]
        offset: u64,
        /// The length of the whole package, where the origin says it.
        #[n(1)]
        total: Option<u64>,
        /// How to go on later; none means that this origin cannot.
        #[n(2)]
        validator: Option<Validator>,
    },
    /// So many bytes of the package are on disk (fsync), from its first byte on.
    #[n(2)]
    Durable(#[n(0)] u64),
    /// The whole package is written, fsynced, and the descriptor closed.
    #[n(3)]
    Complete {
        /// The length of the package.
        #[n(0)]
        length: u64,
    },
    /// The attempt is over.
    #[n(4)]
    Failed {
        /// Why.
        #[n(0)]
        failure: Failure,
        /// The origin asked to wait so long (Retry-After), in seconds.
        #[n(1)]
        retry_after: Option<u64>,
        /// So many bytes are on disk and worth keeping.
        #[n(2)]
        durable: u64,
    },
}

/// Bytes between two [`Event::Durable`].
pub const DURABLE_EVERY: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cause, MAX_FRAME, Text, decode, encode, names::MAX_NAME};
    use proptest::prelude::*;

    fn secret(longest: usize) -> impl Strategy<Value = Secret> {
        prop::collection::vec(any::<u8>(), 0..=longest).prop_map(Secret::new)
    }

    fn validator() -> impl Strategy<Value = Validator> {
        prop_oneof![
            "\"[a-z0-9]{0,30}\"".prop_map(Validator::ETag),
            "[A-Za-z0-9 :,]{0,30}".prop_map(Validator::LastModified),
        ]
    }

    fn resume() -> impl Strategy<Value = Resume> {
        (any::<u64>(), validator()).prop_map(|(offset, validator)| Resume { offset, validator })
    }

    fn subject() -> impl Strategy<Value = Subject> {
        let package = prop::option::of("[a-z][a-z0-9+.-]{1,30}");
        (any::<u16>(), any::<[u8; 16]>(), package).prop_map(|(instance, operation, package)| {
            Subject {
                instance,
                operation: OperationId::from_bytes(operation),
                package: package.map(|name| PackageName::new(&name).unwrap()),
            }
        })
    }

    prop_compose! {
        fn request()(
            uri in secret(MAX_URI),
            user_name in prop::option::of(secret(255)),
            password in prop::option::of(secret(255)),
            resume in prop::option::of(resume()),
            max_size: u64,
            connect_ms: u64,
            stall_ms: u64,
            subject in prop::option::of(subject()),
        ) -> Request {
            let limits = Limits { connect_ms, stall_ms };
            Request { uri, user_name, password, resume, max_size, limits, subject }
        }
    }

    fn event() -> impl Strategy<Value = Event> {
        let signature = prop::collection::vec(any::<u8>(), 0..300);
        let started = (
            any::<u64>(),
            any::<Option<u64>>(),
            prop::option::of(validator()),
        );
        let failed = (".{0,600}", any::<Option<u64>>(), any::<u64>());
        prop_oneof![
            signature.prop_map(|bytes| Event::Signature(bytes.into())),
            started.prop_map(|(offset, total, validator)| Event::Started {
                offset,
                total,
                validator
            }),
            any::<u64>().prop_map(Event::Durable),
            any::<u64>().prop_map(|length| Event::Complete { length }),
            failed.prop_map(|(detail, retry_after, durable)| {
                let failure = Failure::new(Cause::Connection, detail);
                Event::Failed {
                    failure,
                    retry_after,
                    durable,
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_request_comes_out_as_it_went_in(request in request()) {
            let frame = encode(&request).unwrap();
            prop_assert_eq!(decode::<Request>(&frame).unwrap(), request);
        }

        #[test]
        fn an_event_comes_out_as_it_went_in(event in event()) {
            let frame = encode(&event).unwrap();
            prop_assert_eq!(decode::<Event>(&frame).unwrap(), event);
        }

        #[test]
        fn no_packet_makes_it_panic(packet in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Request>(&packet);
            let _ = decode::<Event>(&packet);
        }

        #[test]
        fn a_frame_that_is_cut_short_is_refused(request in request(), cut in any::<prop::sample::Index>()) {
            let frame = encode(&request).unwrap();
            prop_assert!(decode::<Request>(&frame[..cut.index(frame.len())]).is_err());
        }
    }

    #[test]
    fn the_longest_signature_and_the_longest_request_fit_a_frame() {
        let signature = encode(&Event::Signature(vec![0; MAX_SIGNATURE].into())).unwrap();
        let validator = Validator::ETag("x".repeat(256));
        let request = Request {
            uri: Secret::new(vec![b'x'; MAX_URI]),
            user_name: Some(Secret::new(vec![b'x'; 255])),
            password: Some(Secret::new(vec![b'x'; 255])),
            resume: Some(Resume {
                offset: u64::MAX,
                validator,
            }),
            max_size: u64::MAX,
            limits: Limits {
                connect_ms: u64::MAX,
                stall_ms: u64::MAX,
            },
            subject: Some(Subject {
                instance: u16::MAX,
                operation: OperationId::from_bytes([u8::MAX; 16]),
                package: Some(PackageName::new(&"x".repeat(MAX_NAME)).unwrap()),
            }),
        };
        for length in [signature.len(), encode(&request).unwrap().len()] {
            assert!(length <= MAX_FRAME, "{length} bytes");
        }
    }

    #[test]
    fn the_debug_form_of_a_request_shows_no_secret() {
        let secret = || Secret::new(b"hunter2".to_vec());
        let request = Request {
            uri: secret(),
            user_name: Some(secret()),
            password: Some(secret()),
            resume: None,
            max_size: 0,
            limits: Limits {
                connect_ms: 0,
                stall_ms: 0,
            },
            subject: None,
        };
        let shown = format!("{request:?}");
        assert!(
            !shown.contains("hunter") && !shown.contains("104"),
            "{shown}"
        );
    }

    #[test]
    fn a_field_of_a_newer_program_is_passed_over() {
        #[derive(Encode)]
        #[cbor(map)]
        struct Newer {
            #[n(0)]
            connect_ms: u64,
            #[n(1)]
            stall_ms: u64,
            #[n(2)]
            newer: Text,
        }
        let newer = Newer {
            connect_ms: 1,
            stall_ms: 2,
            newer: Text::new("?"),
        };
        let limits = decode::<Limits>(&encode(&newer).unwrap()).unwrap();
        assert_eq!(
            limits,
            Limits {
                connect_ms: 1,
                stall_ms: 2
            }
        );
    }
}
