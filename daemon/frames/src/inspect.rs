//! What passes between wharf-installer and wharf-inspect, its child without privileges: any number of
//! [`Request::Certificate`], then one question; one [`Answer`] in a packet that is always equally long.

use minicbor::{Decode, Encode, bytes::ByteVec};

use crate::{Cause, Failure, FrameError, PackageName, PackageVersion, Text, encode};

/// Each answer is one packet of this length, whatever it says.
pub const ANSWER_LENGTH: usize = 4096;

/// The most [`Request::Certificate`] before a question: one for each file of the keyring.
pub const MAX_CERTIFICATE_FILES: usize = 64;

/// The longest accepted packet of one signature. One by an RSA key of 8192 bits has 1.1 kB.
pub const MAX_SIGNATURE_PACKET: usize = 2048;

/// The most bytes of signatures around a package in a message: one of the longest, or several shorter ones.
pub const MAX_SIGNATURES_AROUND: usize = 3 * 1024;

/// What the child is asked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Request {
    /// A file of the keyring. More questions follow.
    #[n(0)]
    Certificate {
        /// The name of the file, to be told when it is no certificate.
        #[n(0)]
        name: Text,
        /// OpenPGP certificates, armored or not.
        #[n(1)]
        bytes: ByteVec,
    },
    /// Asks who signed the package. Answer: [`Answer::Verified`], or [`Answer::Message`].
    #[n(1)]
    Verify {
        /// The time at which certificates and signatures are judged, in Unix seconds.
        #[n(0)]
        at: u64,
        /// What stood beside the package.
        #[n(1)]
        signature: Option<ByteVec>,
        /// A package without any signature is answered too, with no signer.
        #[n(2)]
        allow_unsigned: bool,
    },
    /// What is it? Answer: [`Answer::Described`].
    #[n(2)]
    Describe,
    /// Asks for the package inside this message. Answer: [`Answer::Unwrapped`], after the package is written to
    /// descriptor 2.
    #[n(6)]
    Unwrap,
    /// Does this signature still hold? Answer: [`Answer::Stands`].
    #[n(5)]
    Stands {
        /// The time at which it is judged, in Unix seconds.
        #[n(0)]
        at: u64,
        /// Fingerprint of the signing certificate's primary key, in upper-case hexadecimal digits.
        #[n(1)]
        certificate: Text,
        /// The signature.
        #[n(2)]
        signed: SignedDigest,
    },
    /// What is the certificate of this number, from 0, in the order of fingerprints? Answer: [`Answer::Certificate`].
    #[n(4)]
    Look {
        /// The time at which it is judged, in Unix seconds.
        #[n(0)]
        at: u64,
        /// The number.
        #[n(1)]
        number: u32,
    },
}

/// What the child found.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Answer {
    /// To [`Request::Verify`]: it holds.
    #[n(0)]
    Verified(#[n(0)] Verified),
    /// To [`Request::Describe`].
    #[n(1)]
    Described(#[n(0)] Described),
    /// It does not hold, or is no package.
    #[n(2)]
    Failed(#[n(0)] Failure),
    /// To [`Request::Stands`]: it holds.
    #[n(3)]
    Stands,
    /// The package could not be read, which says nothing about it.
    #[n(4)]
    Unread(#[n(0)] Text),
    /// To [`Request::Verify`]: the file is an OpenPGP message, which may contain a package.
    #[n(6)]
    Message,
    /// To [`Request::Unwrap`].
    #[n(7)]
    Unwrapped(#[n(0)] Unwrapped),
    /// To [`Request::Look`]; none where there are not so many.
    #[n(5)]
    Certificate(#[n(0)] Option<Certificate>),
}

/// The signatures around a package in a message, and the size of the package.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Unwrapped {
    /// The signatures over the package, at most [`MAX_SIGNATURES_AROUND`] bytes.
    #[n(0)]
    pub signatures: ByteVec,
    /// The package's length.
    #[n(1)]
    pub length: u64,
}

/// What a person wants to know of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Certificate {
    /// Fingerprint of its primary key, in upper-case hexadecimal digits.
    #[n(0)]
    pub fingerprint: Text,
    /// Whose it says it is.
    #[n(1)]
    pub user_id: Text,
    /// When it was made, in Unix seconds.
    #[n(2)]
    pub created_at: u64,
    /// From when on it is no longer valid, in Unix seconds.
    #[n(3)]
    pub expires_at: Option<u64>,
    /// Why no signature by it holds now.
    #[n(4)]
    pub unusable: Option<Text>,
    /// The secret key came with it.
    #[n(5)]
    pub secret: bool,
}

/// A file that may be looked into.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Verified {
    /// SHA-256 of the whole file.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// Length of the whole file.
    #[n(1)]
    pub length: u64,
    /// Who signed it; none only where that was allowed.
    #[n(2)]
    pub signed: Option<Signed>,
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Signed {
    /// Fingerprint of the certificate's primary key, in upper-case hexadecimal digits.
    #[n(0)]
    pub certificate: Text,
    /// When the signature says it was made, in Unix seconds.
    #[n(1)]
    pub signed_at: u64,
    /// Where the signature stood.
    #[n(2)]
    pub form: Form,
    /// The signature and its digest, with which it is judged again.
    #[n(3)]
    pub signed: SignedDigest,
}

/// A signature, with the digest that it signs: enough to judge it again without the file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SignedDigest {
    /// The signature's OpenPGP packet, at most [`MAX_SIGNATURE_PACKET`] bytes.
    #[n(0)]
    pub packet: ByteVec,
    /// The digest of the signed data, by the algorithm that the packet names.
    #[n(1)]
    pub digest: ByteVec,
}

/// Where a signature stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Form {
    /// The signature lies beside the file or around it, and covers all of it.
    #[n(0)]
    Beside,
    /// The signature lies inside the package, and covers the parts that the package's format says.
    #[n(1)]
    Inside,
}

/// What a package says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Described {
    /// Its name, within the grammar of its kind.
    #[n(0)]
    pub name: PackageName,
    /// Its full version, within the grammar of its kind.
    #[n(1)]
    pub version: PackageVersion,
    /// The architecture it is for.
    #[n(2)]
    pub architecture: Text,
}

const UNUSABLE_KEYRING: &str = "the keyring cannot be used: ";
const REMEDY: &str = "; correct or remove it";

/// The failure of a keyring with a file of which this is so.
pub fn unusable_keyring(what: &str) -> Failure {
    Failure::new(
        Cause::Unavailable,
        format!("{UNUSABLE_KEYRING}{what}{REMEDY}"),
    )
}

/// The part of [`unusable_keyring`] that is about the file, which may be in no keyring yet.
pub fn unusable_file(failure: &Failure) -> &str {
    let said = failure.detail.as_str();
    said.trim_start_matches(UNUSABLE_KEYRING)
        .trim_end_matches(REMEDY)
}

impl Answer {
    /// The answer's packet: its CBOR, then zeros.
    pub fn to_packet(&self) -> Result<[u8; ANSWER_LENGTH], FrameError> {
        let bytes = encode(self)?;
        let mut packet = [0; ANSWER_LENGTH];
        packet
            .get_mut(..bytes.len())
            .ok_or(FrameError::TooLong(bytes.len()))?
            .copy_from_slice(&bytes);
        Ok(packet)
    }

    /// The answer of a packet; anything but zeros after it is refused.
    pub fn from_packet(packet: &[u8; ANSWER_LENGTH]) -> Result<Self, FrameError> {
        let mut decoder = minicbor::Decoder::new(packet);
        let answer = decoder
            .decode()
            .map_err(|e| FrameError::Malformed(e.to_string()))?;
        let rest = packet.get(decoder.position()..).unwrap_or_default();
        match rest.iter().all(|&byte| byte == 0) {
            true => Ok(answer),
            false => Err(FrameError::Trailing(rest.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::MAX_NAME;

    fn longest() -> [Answer; 6] {
        let name = "n".repeat(MAX_NAME);
        [
            Answer::Verified(Verified {
                digest: [0xff; 32],
                length: u64::MAX,
                signed: Some(Signed {
                    certificate: "F".repeat(Text::MAX).into(),
                    signed_at: u64::MAX,
                    form: Form::Inside,
                    signed: SignedDigest {
                        packet: vec![0xff; MAX_SIGNATURE_PACKET].into(),
                        digest: vec![0xff; 64].into(),
                    },
                }),
            }),
            Answer::Described(Described {
                name: PackageName::new(&name).unwrap(),
                version: PackageVersion::new(&name).unwrap(),
                architecture: "a".repeat(Text::MAX).into(),
            }),
            Answer::Failed(Failure::new(Cause::Unavailable, "x".repeat(Text::MAX))),
            Answer::Unread("x".repeat(Text::MAX).into()),
            Answer::Unwrapped(Unwrapped {
                signatures: vec![0xff; MAX_SIGNATURES_AROUND].into(),
                length: u64::MAX,
            }),
            Answer::Certificate(Some(Certificate {
                fingerprint: "F".repeat(64).into(),
                user_id: "u".repeat(Text::MAX).into(),
                created_at: u64::MAX,
                expires_at: Some(u64::MAX),
                unusable: Some("x".repeat(Text::MAX).into()),
                secret: true,
            })),
        ]
    }

    #[test]
    fn the_longest_answers_fit_into_the_packet_and_come_back() {
        for answer in longest() {
            let packet = answer.to_packet().unwrap();
            assert_eq!(Answer::from_packet(&packet).unwrap(), answer);
        }
    }

    #[test]
    fn an_answer_followed_by_anything_is_refused() {
        for answer in longest() {
            let mut packet = answer.to_packet().unwrap();
            packet[ANSWER_LENGTH - 1] = 1;
            assert!(Answer::from_packet(&packet).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn what_is_so_of_a_file_is_told_without_the_keyring() {
        let what = "new.asc is not an OpenPGP certificate: it is empty";
        assert_eq!(unusable_file(&unusable_keyring(what)), what);
        let other = Failure::new(Cause::Unavailable, "no memory");
        assert_eq!(unusable_file(&other), "no memory");
    }

    proptest::proptest! {
        #[test]
        fn no_packet_is_too_strange_to_be_refused(bytes: Vec<u8>) {
            let mut packet = [0; ANSWER_LENGTH];
            let length = bytes.len().min(ANSWER_LENGTH);
            packet[..length].copy_from_slice(&bytes[..length]);
            let _ = Answer::from_packet(&packet);
        }
    }
}
