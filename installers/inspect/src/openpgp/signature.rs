//! OpenPGP (RFC 9580): who signed a digest, and whether the signature is valid at a given time. sequoia's
//! StandardPolicy must accept it, and its certificate and key must be neither expired nor revoked at that time. The
//! time in a signature is not trusted, since its signer chose it.

use std::{
    fmt,
    io::Read,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sequoia_openpgp::{
    Cert, Error, Fingerprint, KeyHandle, PacketPile, anyhow,
    cert::amalgamation::{ValidAmalgamation, ValidateAmalgamation, key::ErasedKeyAmalgamation},
    packet::{Packet, Signature, key::PublicParts},
    parse::Parse,
    policy::{HashAlgoSecurity, Policy, StandardPolicy},
    serialize::MarshalInto,
    types::{RevocationStatus, SignatureType},
};
use wharf_frames::{
    Cause, Failure, Text,
    calendar::day,
    inspect::{Certificate, MAX_SIGNATURE_PACKET, SignedDigest},
};

use super::{certificates::Certificates, digests::Digests};

/// Limits the work: each signature may cost a hash of the whole file.
const MAX_SIGNATURES: usize = 4;

/// A valid signature.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Good {
    /// The certificate's fingerprint.
    pub(crate) certificate: Fingerprint,
    /// Its creation time in Unix seconds, by its own word.
    pub(crate) signed_at: u64,
    /// The signature and its digest, for a later check.
    pub(crate) signed: SignedDigest,
}

/// sequoia formats times by strftime(3), whose first call reads the file of the time zone. In the sandbox no
/// file can be read.
pub(crate) fn read_time_zone() {
    let _ = Error::Expired(UNIX_EPOCH).to_string();
}

/// Judges the signatures over the content: one valid signature is enough, else the most specific failure is returned.
/// The content is not read if no signature can be valid. `digests` may hold hashes for other purposes.
pub(crate) fn judge(
    certificates: &Certificates,
    signatures: &[u8],
    digests: &mut Digests,
    content: impl Read,
    at: u64,
) -> Result<Good, Failure> {
    let judge = Judge::new(certificates, at)?;
    let signatures = parse(signatures)?;
    let (mut candidates, mut failures) = (Vec::new(), Vec::new());
    for signature in signatures {
        let to_be_hashed = judge
            .could_hold(&signature)
            .and_then(|()| digests.add(&signature).map_err(|error| bad(&error)));
        match to_be_hashed {
            Ok(()) => candidates.push(signature),
            Err(failure) => failures.push(failure),
        }
    }
    if !candidates.is_empty() {
        digests.read(content).map_err(|error| bad(&error))?;
    }
    for signature in candidates {
        let digest = digests.of(&signature).map_err(|error| bad(&error))?;
        match judge.weigh(signature, digest) {
            Ok(good) => return Ok(good),
            Err(failure) => failures.push(failure),
        }
    }
    Err(most_telling(failures))
}

/// Whether a signature over this digest, by this certificate, is still valid at this time. The file is not needed.
pub(crate) fn still_holds(
    certificates: &Certificates,
    certificate: &str,
    signed: &SignedDigest,
    at: u64,
) -> Result<(), Failure> {
    let judge = Judge::new(certificates, at)?;
    let mut signatures = parse(&signed.packet)?;
    let (Some(signature), true) = (signatures.pop(), signatures.is_empty()) else {
        return Err(no_signature("it is not one packet"));
    };
    judge.could_hold(&signature)?;
    let good = judge.weigh(signature, signed.digest.to_vec())?;
    match good.certificate.to_hex() == certificate {
        true => Ok(()),
        false => Err(bad(&format!(
            "it is by {}, and the file was judged as signed by {certificate}",
            good.certificate
        ))),
    }
}

/// Describes the certificate with this number for a person.
pub(crate) fn certificate(
    certificates: &Certificates,
    number: usize,
    at: u64,
) -> Result<Option<Certificate>, Failure> {
    let judge = Judge::new(certificates, at)?;
    let Some((cert, secret)) = certificates.nth(number) else {
        return Ok(None);
    };
    let valid = cert.with_policy(&judge.policy, judge.at).ok();
    let primary = valid.as_ref().and_then(|valid| valid.primary_userid().ok());
    let user_id = primary.map(|primary| primary.userid().clone());
    let user_id = user_id.or_else(|| cert.userids().next().map(|any| any.userid().clone()));
    let expires = valid.and_then(|valid| valid.primary_key().key_expiration_time());
    Ok(Some(Certificate {
        fingerprint: cert.fingerprint().to_hex().into(),
        user_id: user_id.map_or_else(Text::default, |id| {
            String::from_utf8_lossy(id.value()).into_owned().into()
        }),
        created_at: unix(cert.primary_key().key().creation_time()),
        expires_at: expires.map(unix),
        unusable: judge.unusable(cert).map(Text::from),
        secret,
    }))
}

/// In seconds since 1970; no certificate is older.
fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn time(at: u64) -> Result<SystemTime, Failure> {
    UNIX_EPOCH
        .checked_add(Duration::from_secs(at))
        .ok_or_else(|| bad(&"the time at which it is judged is out of range"))
}

/// Parses signature packets. Other packets, and more signatures than may be tried, are errors.
fn parse(bytes: &[u8]) -> Result<Vec<Signature>, Failure> {
    let pile = PacketPile::from_bytes(bytes).map_err(|error| no_signature(&error.to_string()))?;
    let mut signatures = Vec::new();
    for packet in pile.into_children() {
        match packet {
            Packet::Signature(signature) => signatures.push(signature),
            _ => return Err(no_signature("it has packets that are not signatures")),
        }
    }
    match signatures.len() {
        0 => Err(no_signature("it is empty")),
        1..=MAX_SIGNATURES => Ok(signatures),
        count => Err(no_signature(&format!(
            "it has {count} signatures, and at most {MAX_SIGNATURES} are tried"
        ))),
    }
}

/// The failure of a known signer comes first: it is more specific than that of an unknown one.
fn most_telling(mut failures: Vec<Failure>) -> Failure {
    failures.sort_by_key(|failure| failure.cause == Cause::UntrustedSigner);
    let first = failures.into_iter().next();
    first.unwrap_or_else(|| no_signature("it has no signature packet"))
}

struct Judge<'a> {
    certificates: &'a Certificates,
    policy: StandardPolicy<'a>,
    at: SystemTime,
}

impl<'a> Judge<'a> {
    fn new(certificates: &'a Certificates, at: u64) -> Result<Self, Failure> {
        let at = time(at)?;
        Ok(Self {
            certificates,
            policy: StandardPolicy::at(at),
            at,
        })
    }

    /// Checks all that needs no hash of the content.
    fn could_hold(&self, signature: &Signature) -> Result<(), Failure> {
        let issuers = signature.get_issuers();
        let Some(cert) = self.certificates.of_issuers(&issuers).next() else {
            return Err(untrusted(signature));
        };
        match signature.typ() {
            SignatureType::Binary => {}
            // A signature in text mode lets line ends change (RFC 9580 5.2.1.2).
            SignatureType::Text => {
                return Err(bad(
                    &"it is in text mode, which lets line ends change: sign without --textmode",
                ));
            }
            other => return Err(bad(&format!("it is a {other}, not one over a file"))),
        }
        let packet = Packet::from(signature.clone());
        if packet.serialized_len() > MAX_SIGNATURE_PACKET {
            return Err(bad(&format!(
                "its packet is longer than {MAX_SIGNATURE_PACKET} bytes"
            )));
        }
        self.policy
            .packet(&packet)
            .and_then(|()| {
                self.policy
                    .signature(signature, HashAlgoSecurity::default())
            })
            .map_err(|error| self.explain(cert, &error))
    }

    /// Whether the signature is a valid one over this digest.
    fn weigh(&self, signature: Signature, digest: Vec<u8>) -> Result<Good, Failure> {
        let made = signature
            .signature_creation_time()
            .ok_or_else(|| bad(&"it has no creation time"))?;
        let issuers = signature.get_issuers();
        let mut failure = untrusted(&signature);
        for cert in self.certificates.of_issuers(&issuers) {
            for key in cert.keys().key_handles(issuers.iter()) {
                match self.holds(&signature, &digest, made, &key) {
                    Ok(()) => return self.good(cert, signature, digest, made),
                    Err(why) => failure = why,
                }
            }
        }
        Err(failure)
    }

    fn good(
        &self,
        cert: &Cert,
        signature: Signature,
        digest: Vec<u8>,
        made: SystemTime,
    ) -> Result<Good, Failure> {
        let packet = Packet::from(signature)
            .to_vec()
            .map_err(|error| bad(&error))?;
        Ok(Good {
            certificate: cert.fingerprint(),
            signed_at: unix(made),
            signed: SignedDigest {
                packet: packet.into(),
                digest: digest.into(),
            },
        })
    }

    /// Whether this key made the signature, could sign then, and still may.
    fn holds(
        &self,
        signature: &Signature,
        digest: &[u8],
        made: SystemTime,
        key: &ErasedKeyAmalgamation<'_, PublicParts>,
    ) -> Result<(), Failure> {
        let cert = key.cert();
        self.may_sign(key, self.at)?;
        self.may_sign(key, made)?;
        signature
            .signature_alive(self.at, Duration::ZERO)
            .and_then(|()| signature.verify_digest(key.key(), digest))
            .map_err(|error| self.explain(cert, &error))
    }

    /// Whether the certificate, and this key of it, could sign at this time.
    fn may_sign(
        &self,
        key: &ErasedKeyAmalgamation<'_, PublicParts>,
        at: SystemTime,
    ) -> Result<(), Failure> {
        let cert = key.cert();
        let explain = |error: anyhow::Error| match is_unbound(&error) && at < self.at {
            true => self.renewed_since(cert, at),
            false => self.explain(cert, &error),
        };
        if let RevocationStatus::Revoked(_) = cert.revocation_status(&self.policy, at) {
            return Err(revoked(&format!("the certificate {}", cert.fingerprint())));
        }
        let valid = cert.with_policy(&self.policy, at).map_err(explain)?;
        valid.alive().map_err(explain)?;
        let key = key.clone().with_policy(&self.policy, at).map_err(explain)?;
        if let RevocationStatus::Revoked(_) = key.revocation_status() {
            let (key, cert) = (key.key().fingerprint(), cert.fingerprint());
            return Err(revoked(&format!("the key {key} of the certificate {cert}")));
        }
        key.alive().map_err(explain)?;
        match key.for_signing() {
            true => Ok(()),
            false => Err(bad(&format!(
                "the key {} of the certificate {} is not for signing",
                key.key().fingerprint(),
                cert.fingerprint()
            ))),
        }
    }

    /// The reason why no signature by this certificate is valid.
    fn unusable(&self, cert: &Cert) -> Option<String> {
        if let RevocationStatus::Revoked(_) = cert.revocation_status(&self.policy, self.at) {
            return Some("it was revoked".to_owned());
        }
        let valid = cert.with_policy(&self.policy, self.at);
        let alive = valid.and_then(|valid| valid.alive().map(|()| valid));
        let valid = match alive {
            Ok(valid) => valid,
            Err(error) => {
                let known = self.reason(&error).map(|(_, what)| what);
                return Some(known.unwrap_or_else(|| error.to_string()));
            }
        };
        let mut signing = valid
            .keys()
            .for_signing()
            .alive()
            .revoked(false)
            .supported();
        let none = signing.next().is_none();
        none.then(|| "it has no key that may sign now".to_owned())
    }

    /// gpg keeps only the newest of a certificate's own signatures.
    fn renewed_since(&self, cert: &Cert, at: SystemTime) -> Failure {
        let (cert, day) = (cert.fingerprint(), day(unix(at)));
        Failure::new(
            Cause::BadSignature,
            format!(
                "the signature by {cert} does not hold: it is of {day}, and the certificate was renewed after that: keep \
                 the certificate as it was beside the renewed one, or sign anew"
            ),
        )
    }

    fn explain(&self, cert: &Cert, error: &anyhow::Error) -> Failure {
        let unknown = || (Cause::BadSignature, "it does not fit the package".into());
        let (cause, what) = self.reason(error).unwrap_or_else(unknown);
        let detail = format!(
            "the signature by {} does not hold: {what}",
            cert.fingerprint()
        );
        Failure::new(cause, detail)
    }

    /// Shows times by our calendar, without the time of day.
    fn reason(&self, error: &anyhow::Error) -> Option<(Cause, String)> {
        Some(match error.chain().find_map(|error| error.downcast_ref()) {
            Some(Error::PolicyViolation(algorithm, _)) => {
                (Cause::Weak, format!("{algorithm} is no longer safe"))
            }
            Some(Error::Expired(since)) => (Cause::Expired, self.out_of_time("expired on", *since)),
            Some(Error::NotYetLive(until)) => {
                (Cause::Expired, self.out_of_time("not valid before", *until))
            }
            Some(Error::NoBindingSignature(_)) => (
                Cause::BadSignature,
                "its certificate has no self-signature that is valid now".to_owned(),
            ),
            Some(Error::InvalidKey(why)) => (Cause::BadSignature, why.clone()),
            _ => return None,
        })
    }

    fn out_of_time(&self, what: &str, when: SystemTime) -> String {
        format!(
            "{what} {}, and the date here is {}",
            day(unix(when)),
            day(unix(self.at))
        )
    }
}

fn is_unbound(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    causes.any(|cause| matches!(cause, Error::NoBindingSignature(_)))
}

fn untrusted(signature: &Signature) -> Failure {
    let issuers = signature.get_issuers();
    // Most signatures name their key twice, by its fingerprint and by its key ID.
    let fingerprint = issuers
        .iter()
        .find(|issuer| matches!(issuer, KeyHandle::Fingerprint(_)));
    let key = fingerprint
        .or(issuers.first())
        .map_or("an unnamed key".to_owned(), ToString::to_string);
    let detail = format!("signed by {key}, whose certificate is not in the keyring");
    Failure::new(Cause::UntrustedSigner, detail)
}

fn revoked(what: &str) -> Failure {
    Failure::new(Cause::Revoked, format!("{what} was revoked"))
}

fn no_signature(why: &str) -> Failure {
    bad(&format!("it is not an OpenPGP signature: {why}"))
}

fn bad(why: &dyn fmt::Display) -> Failure {
    Failure::new(Cause::BadSignature, format!("the signature is bad: {why}"))
}
