//! The frames between root's programs and wharf-inspect, their child without privileges. Root sends any number of
//! [`Question::KeyFile`], then one question. The child answers with one [`Finding`], in a packet of fixed length.

use minicbor::{Decode, Encode, bytes::ByteVec};

use crate::{
    Cause, Failure, FrameError, PackageName, PackageVersion, Text, encode, packed::WantedFiles,
};

/// The length of each finding's packet.
pub const FINDING_LENGTH: usize = 4096;

/// The most files of a keyring, each a [`Question::KeyFile`].
pub const MAX_KEY_FILES: usize = 64;

/// The longest accepted packet of one signature. One by an RSA key of 8192 bits has 1.1 kB.
pub const MAX_SIGNATURE_PACKET: usize = 2048;

/// The most bytes of signatures around a package in a message: one of the longest, or several shorter ones.
pub const MAX_SIGNATURES_AROUND: usize = 3 * 1024;

/// The format of a package, as the package manager of the device has it. The first bytes of a file do not decide it: an
/// .ipk may begin exactly as a .deb does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Format {
    /// .deb. A question of an older program names no format, and means this one.
    #[default]
    #[n(0)]
    Deb,
    /// .rpm, versions 4 and 6.
    #[n(1)]
    Rpm,
    /// .ipk, of opkg.
    #[n(2)]
    Ipk,
    /// The format of the simulated package manager. No shipped wharf-inspect reads it.
    #[n(15)]
    Simulated,
}

impl Format {
    /// The end of the name of a file of this format.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Deb => ".deb",
            Self::Rpm => ".rpm",
            Self::Ipk => ".ipk",
            Self::Simulated => ".simulated",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A question to wharf-inspect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Question {
    /// A file of the keyring. More questions follow.
    #[n(0)]
    KeyFile {
        /// The name of the file, for the failure if it is no certificate.
        #[n(0)]
        name: Text,
        /// OpenPGP certificates, armored or not.
        #[n(1)]
        bytes: ByteVec,
    },
    /// Asks who signed the package. Answer: [`Finding::Verified`], or [`Finding::Message`].
    #[n(1)]
    Verify {
        /// The time at which certificates and signatures are judged, in Unix seconds.
        #[n(0)]
        at: u64,
        /// The signature beside the package.
        #[n(1)]
        signature: Option<ByteVec>,
        /// A package without any signature is answered too, with no signer.
        #[n(2)]
        allow_unsigned: bool,
        /// The format of the package.
        #[n(3)]
        #[cbor(default, skip_if = "Format::is_default")]
        format: Format,
    },
    /// Asks for name, version and architecture of the package. Answer: [`Finding::Described`].
    #[n(2)]
    Describe {
        /// The format of the package.
        #[n(0)]
        #[cbor(default, skip_if = "Format::is_default")]
        format: Format,
    },
    /// Asks for the package inside this message. Answer: [`Finding::Unwrapped`], after the package is written to
    /// descriptor 2.
    #[n(6)]
    Unwrap,
    /// Asks for the files of the package that are wanted. Answer: [`Finding::Files`], after each of them is written to
    /// descriptor 2 as a [`crate::packed::PackedFile`].
    #[n(7)]
    Files {
        /// The format of the package.
        #[n(0)]
        #[cbor(default, skip_if = "Format::is_default")]
        format: Format,
        /// The wanted files.
        #[n(1)]
        wanted: Vec<WantedFiles>,
    },
    /// Asks for the digest of each file of the package. Answer: [`Finding::Files`], after each of them is written to
    /// descriptor 2 as a [`crate::packed::FileDigest`].
    #[n(8)]
    Digests {
        /// The format of the package.
        #[n(0)]
        #[cbor(default, skip_if = "Format::is_default")]
        format: Format,
    },
    /// Asks for the manifest of the bundle. Answer: [`Finding::Files`] of one file, after the manifest is written to
    /// descriptor 2 as a frame of `wharf-bundle`.
    #[n(9)]
    Manifest,
    /// Asks for the packages of the bundle. Answer: [`Finding::Files`], after each of them is written to descriptor 2: its
    /// length as eight bytes, the most significant one first, and its bytes. Each has the digest of the manifest.
    #[n(10)]
    Members,
    /// Asks whether this signature still holds. Answer: [`Finding::StillHolds`].
    #[n(5)]
    StillHolds {
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
    /// Asks for the certificate of this number, from 0, in the order of fingerprints. Answer: [`Finding::Certificate`].
    #[n(4)]
    Certificate {
        /// The time at which it is judged, in Unix seconds.
        #[n(0)]
        at: u64,
        /// The number.
        #[n(1)]
        number: u32,
    },
}

/// An answer of wharf-inspect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Finding {
    /// To [`Question::Verify`]: it holds.
    #[n(0)]
    Verified(#[n(0)] Verified),
    /// To [`Question::Describe`].
    #[n(1)]
    Described(#[n(0)] Described),
    /// It does not hold, or is no package.
    #[n(2)]
    Failed(#[n(0)] Failure),
    /// To [`Question::StillHolds`]: it holds.
    #[n(3)]
    StillHolds,
    /// The device failed to read the package. This is no judgement of the package.
    #[n(4)]
    Unread(#[n(0)] Text),
    /// To [`Question::Verify`]: the file is an OpenPGP message, which may contain a package.
    #[n(6)]
    Message,
    /// To [`Question::Unwrap`].
    #[n(7)]
    Unwrapped(#[n(0)] Unwrapped),
    /// The number of files that were written. Only with it, the bytes on descriptor 2 count.
    #[n(8)]
    Files(#[n(0)] u32),
    /// To [`Question::Certificate`]; none if the keyring has fewer certificates.
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

/// A certificate, for a person to read.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Certificate {
    /// Fingerprint of its primary key, in upper-case hexadecimal digits.
    #[n(0)]
    pub fingerprint: Text,
    /// The user ID: its owner, as the certificate says.
    #[n(1)]
    pub user_id: Text,
    /// When it was made, in Unix seconds.
    #[n(2)]
    pub created_at: u64,
    /// When it expires, in Unix seconds.
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
    /// It is a bundle, and no package.
    #[n(3)]
    #[cbor(default, skip_if = "is_false")]
    pub bundle: bool,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "minicbor passes a reference"
)]
const fn is_false(it: &bool) -> bool {
    !*it
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
    /// The place of the signature.
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

/// The place of a signature.
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

/// The name, version and architecture of a package, as its control data says.
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

impl Finding {
    /// The finding's packet: its CBOR, then zeros.
    pub fn to_packet(&self) -> Result<[u8; FINDING_LENGTH], FrameError> {
        let bytes = encode(self)?;
        let mut packet = [0; FINDING_LENGTH];
        packet
            .get_mut(..bytes.len())
            .ok_or(FrameError::TooLong(bytes.len()))?
            .copy_from_slice(&bytes);
        Ok(packet)
    }

    /// The finding of a packet; anything but zeros after it is refused.
    pub fn from_packet(packet: &[u8; FINDING_LENGTH]) -> Result<Self, FrameError> {
        let mut decoder = minicbor::Decoder::new(packet);
        let finding = decoder
            .decode()
            .map_err(|e| FrameError::Malformed(e.to_string()))?;
        let rest = packet.get(decoder.position()..).unwrap_or_default();
        match rest.iter().all(|&byte| byte == 0) {
            true => Ok(finding),
            false => Err(FrameError::Trailing(rest.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, names::MAX_NAME};

    fn longest() -> [Finding; 6] {
        let name = "n".repeat(MAX_NAME);
        [
            Finding::Verified(Verified {
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
                bundle: true,
            }),
            Finding::Described(Described {
                name: PackageName::new(&name).unwrap(),
                version: PackageVersion::new(&name).unwrap(),
                architecture: "a".repeat(Text::MAX).into(),
            }),
            Finding::Failed(Failure::new(Cause::Unavailable, "x".repeat(Text::MAX))),
            Finding::Unread("x".repeat(Text::MAX).into()),
            Finding::Unwrapped(Unwrapped {
                signatures: vec![0xff; MAX_SIGNATURES_AROUND].into(),
                length: u64::MAX,
            }),
            Finding::Certificate(Some(Certificate {
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
        for finding in longest() {
            let packet = finding.to_packet().unwrap();
            assert_eq!(Finding::from_packet(&packet).unwrap(), finding);
        }
    }

    #[test]
    fn an_answer_followed_by_anything_is_refused() {
        for finding in longest() {
            let mut packet = finding.to_packet().unwrap();
            packet[FINDING_LENGTH - 1] = 1;
            assert!(Finding::from_packet(&packet).is_err(), "{finding:?}");
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn signed() -> SignedDigest {
        SignedDigest {
            packet: vec![1, 2].into(),
            digest: vec![3].into(),
        }
    }

    /// During an upgrade a running installer starts the newer wharf-inspect. The bytes are those of an earlier version.
    #[test]
    fn questions_are_those_of_older_programs() {
        for (hex, question) in [
            (
                "8200a2006161014109",
                Question::KeyFile {
                    name: "a".into(),
                    bytes: vec![9].into(),
                },
            ),
            (
                "8201a3000701410802f5",
                Question::Verify {
                    at: 7,
                    signature: Some(vec![8].into()),
                    allow_unsigned: true,
                    format: Format::Deb,
                },
            ),
            (
                "8202a0",
                Question::Describe {
                    format: Format::Deb,
                },
            ),
            (
                "8202a10001",
                Question::Describe {
                    format: Format::Rpm,
                },
            ),
            (
                "8202a1000f",
                Question::Describe {
                    format: Format::Simulated,
                },
            ),
            ("8206a0", Question::Unwrap),
            ("8209a0", Question::Manifest),
            ("820aa0", Question::Members),
            (
                "8207a10181a30062612f01f402f5",
                Question::Files {
                    format: Format::Deb,
                    wanted: vec![WantedFiles {
                        folder: "a/".into(),
                        anywhere: false,
                        text: true,
                    }],
                },
            ),
            (
                "8205a3000701614602a200420102014103",
                Question::StillHolds {
                    at: 7,
                    certificate: "F".into(),
                    signed: signed(),
                },
            ),
            ("8204a200070105", Question::Certificate { at: 7, number: 5 }),
        ] {
            assert_eq!(encode(&question).unwrap(), bytes(hex), "{question:?}");
            assert_eq!(decode::<Question>(&bytes(hex)).unwrap(), question);
        }
    }

    #[test]
    fn findings_are_those_of_older_programs() {
        let verified = [
            "8200a100a3005820",
            &"05".repeat(32),
            "010602a40061460104020103a200420102014103",
        ];
        for (hex, finding) in [
            (
                &*verified.concat(),
                Finding::Verified(Verified {
                    digest: [5; 32],
                    length: 6,
                    signed: Some(Signed {
                        certificate: "F".into(),
                        signed_at: 4,
                        form: Form::Inside,
                        signed: signed(),
                    }),
                    bundle: false,
                }),
            ),
            (
                "8201a100a30061610161310263616c6c",
                Finding::Described(Described {
                    name: PackageName::new("a").unwrap(),
                    version: PackageVersion::new("1").unwrap(),
                    architecture: "all".into(),
                }),
            ),
            (
                "8202a100a200181a016178",
                Finding::Failed(Failure::new(Cause::Weak, "x")),
            ),
            ("8203a0", Finding::StillHolds),
            ("8204a1006178", Finding::Unread("x".into())),
            ("8206a0", Finding::Message),
            (
                "8207a100a20041010102",
                Finding::Unwrapped(Unwrapped {
                    signatures: vec![1].into(),
                    length: 2,
                }),
            ),
            ("8208a10005", Finding::Files(5)),
            ("8205a0", Finding::Certificate(None)),
        ] {
            assert_eq!(encode(&finding).unwrap(), bytes(hex), "{finding:?}");
            assert_eq!(decode::<Finding>(&bytes(hex)).unwrap(), finding);
        }
    }

    #[test]
    fn the_error_of_a_file_does_not_mention_the_keyring() {
        let what = "new.asc is not an OpenPGP certificate: it is empty";
        assert_eq!(unusable_file(&unusable_keyring(what)), what);
        let other = Failure::new(Cause::Unavailable, "no memory");
        assert_eq!(unusable_file(&other), "no memory");
    }

    proptest::proptest! {
        #[test]
        fn no_packet_is_too_strange_to_be_refused(bytes: Vec<u8>) {
            let mut packet = [0; FINDING_LENGTH];
            let length = bytes.len().min(FINDING_LENGTH);
            packet[..length].copy_from_slice(&bytes[..length]);
            let _ = Finding::from_packet(&packet);
        }
    }
}
