//! The frames of wharf-fetch's socket: one [`FetchRequest`] with a write-only descriptor, then [`FetchEvent`]s. The last
//! event is [`FetchEvent::Complete`] or [`FetchEvent::Failed`].

use minicbor::{Decode, Encode, bytes::ByteVec};

use crate::{Failure, OperationId, PackageName, Secret};

/// The longest accepted detached signature.
pub const MAX_SIGNATURE: usize = 64 * 1024;

/// The request for one download attempt.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FetchRequest {
    /// The Package URI. A presigned URL is a secret, so that it is never logged whole.
    #[n(0)]
    pub uri: Secret,
    /// User Name (resource 14).
    #[n(1)]
    pub user_name: Option<Secret>,
    /// Password (resource 15).
    #[n(2)]
    pub password: Option<Secret>,
    /// The point to resume at. `None` starts at byte 0.
    #[n(3)]
    pub resume: Option<Resume>,
    /// The largest allowed package. A larger one fails with [`crate::Cause::Quota`].
    #[n(4)]
    pub max_size: u64,
    /// The timeouts.
    #[n(5)]
    pub limits: FetchTimeouts,
    /// The instance and operation of the download, for the fields of log lines.
    #[n(6)]
    pub subject: Option<FetchSubject>,
}

/// The fields of log lines about a download.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FetchSubject {
    /// The instance of Object 9.
    #[n(0)]
    pub instance: u16,
    /// The operation.
    #[n(1)]
    pub operation: OperationId,
    /// The expected package, if known.
    #[n(2)]
    pub package: Option<PackageName>,
}

/// The point where an earlier attempt stopped.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Resume {
    /// The number of bytes in the file, which are not requested again.
    #[n(0)]
    pub offset: u64,
    /// The validator of these bytes.
    #[n(1)]
    pub validator: Validator,
}

/// A validator of the origin (RFC 9110 8.8).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Validator {
    /// A strong entity tag, with its quotes.
    #[n(0)]
    ETag(#[n(0)] String),
    /// The Last-Modified date, as received.
    #[n(1)]
    LastModified(#[n(0)] String),
}

/// The timeouts, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FetchTimeouts {
    /// The time to connect, with TLS.
    #[n(0)]
    pub connect_ms: u64,
    /// The time without a byte.
    #[n(1)]
    pub stall_ms: u64,
}

/// An event of a download attempt.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum FetchEvent {
    /// A detached signature was found at `URI.asc` or `URI.sig`. It precedes [`FetchEvent::Started`].
    #[n(0)]
    Signature(#[n(0)] ByteVec),
    /// The origin answered, and the file is ready for the bytes.
    #[n(1)]
    Started {
        /// The first byte: the requested offset, or 0 if the origin has other bytes now or cannot resume.
        #[n(0)]
        offset: u64,
        /// The length of the whole package, if the origin sent it.
        #[n(1)]
        total: Option<u64>,
        /// The validator to resume with. `None` means that the download cannot be resumed.
        #[n(2)]
        validator: Option<Validator>,
    },
    /// This many bytes of the package, from byte 0, are on disk (fsync).
    #[n(2)]
    Durable(#[n(0)] u64),
    /// The whole package is on disk (fsync), and the descriptor is closed.
    #[n(3)]
    Complete {
        /// The length of the package.
        #[n(0)]
        length: u64,
    },
    /// The attempt failed.
    #[n(4)]
    Failed {
        /// The failure.
        #[n(0)]
        failure: Failure,
        /// Retry-After of the origin, in seconds.
        #[n(1)]
        retry_after: Option<u64>,
        /// The number of bytes on disk to resume after.
        #[n(2)]
        durable: u64,
    },
}

/// The bytes between two [`FetchEvent::Durable`].
pub const DURABLE_EVERY: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cause, MAX_FRAME, Text, codec::ROOM, decode, encode, names::MAX_NAME};
    use proptest::prelude::*;
    use wharf_uri::MAX_URI;

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

    fn subject() -> impl Strategy<Value = FetchSubject> {
        let package = prop::option::of("[a-z][a-z0-9+.-]{1,30}");
        (any::<u16>(), any::<[u8; 16]>(), package).prop_map(|(instance, operation, package)| {
            FetchSubject {
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
        ) -> FetchRequest {
            let limits = FetchTimeouts { connect_ms, stall_ms };
            FetchRequest { uri, user_name, password, resume, max_size, limits, subject }
        }
    }

    fn event() -> impl Strategy<Value = FetchEvent> {
        let signature = prop::collection::vec(any::<u8>(), 0..300);
        let started = (
            any::<u64>(),
            any::<Option<u64>>(),
            prop::option::of(validator()),
        );
        let failed = (".{0,600}", any::<Option<u64>>(), any::<u64>());
        prop_oneof![
            signature.prop_map(|bytes| FetchEvent::Signature(bytes.into())),
            started.prop_map(|(offset, total, validator)| FetchEvent::Started {
                offset,
                total,
                validator
            }),
            any::<u64>().prop_map(FetchEvent::Durable),
            any::<u64>().prop_map(|length| FetchEvent::Complete { length }),
            failed.prop_map(|(detail, retry_after, durable)| {
                let failure = Failure::new(Cause::Connection, detail);
                FetchEvent::Failed {
                    failure,
                    retry_after,
                    durable,
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_request_survives_its_encoding(request in request()) {
            let frame = encode(&request).unwrap();
            prop_assert_eq!(decode::<FetchRequest>(&frame).unwrap(), request);
        }

        #[test]
        fn an_event_survives_its_encoding(event in event()) {
            let frame = encode(&event).unwrap();
            prop_assert_eq!(decode::<FetchEvent>(&frame).unwrap(), event);
        }

        #[test]
        fn no_packet_makes_it_panic(packet in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<FetchRequest>(&packet);
            let _ = decode::<FetchEvent>(&packet);
        }

        #[test]
        fn a_truncated_frame_is_rejected(request in request(), cut in any::<prop::sample::Index>()) {
            let frame = encode(&request).unwrap();
            prop_assert!(decode::<FetchRequest>(&frame[..cut.index(frame.len())]).is_err());
        }
    }

    #[test]
    fn the_longest_signature_and_the_longest_request_fit_a_frame() {
        let signature = encode(&FetchEvent::Signature(vec![0; MAX_SIGNATURE].into())).unwrap();
        let validator = Validator::ETag("x".repeat(256));
        let request = FetchRequest {
            uri: Secret::new(vec![b'x'; MAX_URI]),
            user_name: Some(Secret::new(vec![b'x'; 255])),
            password: Some(Secret::new(vec![b'x'; 255])),
            resume: Some(Resume {
                offset: u64::MAX,
                validator,
            }),
            max_size: u64::MAX,
            limits: FetchTimeouts {
                connect_ms: u64::MAX,
                stall_ms: u64::MAX,
            },
            subject: Some(FetchSubject {
                instance: u16::MAX,
                operation: OperationId::from_bytes([u8::MAX; 16]),
                package: Some(PackageName::new(&"x".repeat(MAX_NAME)).unwrap()),
            }),
        };
        let frame = encode(&request).unwrap();
        for length in [signature.len(), frame.len()] {
            assert!(length <= MAX_FRAME, "{length} bytes");
        }
        assert_eq!(frame.capacity(), ROOM, "the buffer has grown");
    }

    #[test]
    fn the_debug_form_of_a_request_shows_no_secret() {
        let secret = || Secret::new(b"hunter2".to_vec());
        let request = FetchRequest {
            uri: secret(),
            user_name: Some(secret()),
            password: Some(secret()),
            resume: None,
            max_size: 0,
            limits: FetchTimeouts {
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
    fn a_field_of_a_newer_program_is_ignored() {
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
        let limits = decode::<FetchTimeouts>(&encode(&newer).unwrap()).unwrap();
        assert_eq!(
            limits,
            FetchTimeouts {
                connect_ms: 1,
                stall_ms: 2
            }
        );
    }
}
