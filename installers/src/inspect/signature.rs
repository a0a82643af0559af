//! OpenPGP (RFC 9580): who signed these bytes, and whether that may be believed at a given time. A signature holds when
//! sequoia's StandardPolicy says so AND its certificate is neither expired nor revoked now, whenever it was made:
//! the time in a signature is what its maker wrote there.

use std::{
    collections::BTreeMap,
    io::Read,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sequoia_openpgp::{
    Cert, Error, Fingerprint, KeyHandle, PacketPile, anyhow,
    cert::{CertParser, amalgamation::ValidAmalgamation},
    packet::{Packet, Signature},
    parse::{
        Parse,
        stream::{
            DetachedVerifierBuilder, MessageLayer, MessageStructure, VerificationError,
            VerificationHelper, VerificationResult,
        },
    },
    policy::{Policy, StandardPolicy},
    types::RevocationStatus,
};
use wharf_frames::{Cause, Failure, Text, inspect::Certificate};

use super::keyring;
use crate::clock::{date, unix};

/// More signatures than this are no signature.
const MAX_SIGNATURES: usize = 16;

/// The certificates of those who may sign, each once, with whether its secret key came along.
#[derive(Debug, Default)]
pub(super) struct Certificates(BTreeMap<Fingerprint, (Cert, bool)>);

impl Certificates {
    /// Adds those of a file. The same certificate in two files is one with what both say: a revocation may come on its own.
    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let unusable = |why: String| {
            keyring::unusable(&format!("{name} is not an OpenPGP certificate: {why}"))
        };
        let certs = CertParser::from_bytes(bytes)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unusable(error.to_string()))?;
        if certs.is_empty() {
            return Err(unusable("it is empty".into()));
        }
        for cert in certs {
            let fingerprint = cert.fingerprint();
            let secret = cert.is_tsk();
            let (merged, secret) = match self.0.remove(&fingerprint) {
                Some((other, before)) => (other.merge_public(cert), secret || before),
                None => (Ok(cert.strip_secret_key_material()), secret),
            };
            let merged = merged.map_err(|error| unusable(error.to_string()))?;
            self.0.insert(fingerprint, (merged, secret));
        }
        Ok(())
    }

    fn of_issuers(&self, issuers: &[KeyHandle]) -> Vec<Cert> {
        let issued = |cert: &&Cert| {
            cert.keys().any(|key| {
                issuers
                    .iter()
                    .any(|issuer| issuer.aliases(key.key().key_handle()))
            })
        };
        let certs = self.0.values().map(|(cert, _)| cert);
        certs.filter(issued).cloned().collect()
    }
}

/// A signature that holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Good {
    /// The certificate's fingerprint.
    pub(super) certificate: Fingerprint,
    /// When it says it was made, in Unix seconds.
    pub(super) signed_at: u64,
}

/// Judges the signatures over the content: one that holds is enough; else the most telling failure.
pub(super) fn judge(
    certificates: &Certificates,
    signatures: &[u8],
    content: impl Read + Send + Sync,
    at: u64,
) -> Result<Good, Failure> {
    check_packets(signatures)?;
    let at = time(at)?;
    let policy = StandardPolicy::at(at);
    let judge = Judge {
        certificates,
        policy: &policy,
        at,
        verdicts: Vec::new(),
    };
    let mut verifier = DetachedVerifierBuilder::from_bytes(signatures)
        .and_then(|builder| builder.with_policy(&policy, at, judge))
        .map_err(|error| no_signature(&error.to_string()))?;
    verifier
        .verify_reader(content)
        .map_err(|error| bad(&error.to_string()))?;
    verifier.into_helper().verdict()
}

/// Whether a certificate may still sign at this time.
pub(super) fn standing(
    certificates: &Certificates,
    certificate: &str,
    at: u64,
) -> Result<(), Failure> {
    let at = time(at)?;
    let judge = Judge {
        certificates,
        policy: &StandardPolicy::at(at),
        at,
        verdicts: Vec::new(),
    };
    let mut certs = certificates.0.iter();
    match certs.find(|(fingerprint, _)| fingerprint.to_hex() == certificate) {
        Some((fingerprint, (cert, _))) => judge.standing(cert, fingerprint),
        None => {
            let detail = format!("the certificate {certificate} is not in the keyring");
            Err(Failure::new(Cause::UntrustedSigner, detail))
        }
    }
}

/// What a person wants to know of the certificate of this number.
pub(super) fn look(
    certificates: &Certificates,
    number: usize,
    at: u64,
) -> Result<Option<Certificate>, Failure> {
    let at = time(at)?;
    let policy = StandardPolicy::at(at);
    let judge = Judge {
        certificates,
        policy: &policy,
        at,
        verdicts: Vec::new(),
    };
    let Some((fingerprint, (cert, secret))) = certificates.0.iter().nth(number) else {
        return Ok(None);
    };
    let valid = cert.with_policy(&policy, at).ok();
    let primary = valid.as_ref().and_then(|valid| valid.primary_userid().ok());
    let user_id = primary.map(|primary| primary.userid().clone());
    let user_id = user_id.or_else(|| cert.userids().next().map(|any| any.userid().clone()));
    let expires = valid.and_then(|valid| valid.primary_key().key_expiration_time());
    Ok(Some(Certificate {
        fingerprint: fingerprint.to_hex().into(),
        user_id: user_id.map_or_else(Text::default, |id| {
            String::from_utf8_lossy(id.value()).into_owned().into()
        }),
        created_at: unix(cert.primary_key().key().creation_time()),
        expires_at: expires.map(unix),
        unusable: judge.unusable(cert).map(Text::from),
        secret: *secret,
    }))
}

fn time(at: u64) -> Result<SystemTime, Failure> {
    UNIX_EPOCH
        .checked_add(Duration::from_secs(at))
        .ok_or_else(|| bad("no calendar has the time at which it is to be judged"))
}

/// Signature packets, and no more of them than anybody needs.
fn check_packets(signatures: &[u8]) -> Result<(), Failure> {
    let pile =
        PacketPile::from_bytes(signatures).map_err(|error| no_signature(&error.to_string()))?;
    let mut count = 0;
    for packet in pile.children() {
        if !matches!(packet, Packet::Signature(_)) {
            return Err(no_signature("there is something else in it"));
        }
        count += 1;
    }
    match count {
        0 => Err(no_signature("it is empty")),
        1..=MAX_SIGNATURES => Ok(()),
        _ => Err(no_signature("there are too many in it")),
    }
}

struct Judge<'a> {
    certificates: &'a Certificates,
    policy: &'a dyn Policy,
    at: SystemTime,
    verdicts: Vec<Result<Good, Failure>>,
}

impl VerificationHelper for Judge<'_> {
    fn get_certs(&mut self, issuers: &[KeyHandle]) -> sequoia_openpgp::Result<Vec<Cert>> {
        Ok(self.certificates.of_issuers(issuers))
    }

    fn check(&mut self, structure: MessageStructure) -> sequoia_openpgp::Result<()> {
        for layer in structure {
            if let MessageLayer::SignatureGroup { results } = layer {
                let verdicts = results.into_iter().map(|result| self.weigh(result));
                let verdicts: Vec<_> = verdicts.collect();
                self.verdicts.extend(verdicts);
            }
        }
        Ok(())
    }
}

impl Judge<'_> {
    fn verdict(self) -> Result<Good, Failure> {
        let mut failures = Vec::new();
        for verdict in self.verdicts {
            match verdict {
                Ok(good) => return Ok(good),
                Err(failure) => failures.push(failure),
            }
        }
        // What happened to a signer who is known says more than that there is another one.
        failures.sort_by_key(|failure| failure.cause == Cause::UntrustedSigner);
        let first = failures.into_iter().next();
        Err(first.unwrap_or_else(|| no_signature("there is none in it")))
    }

    fn weigh(&self, result: VerificationResult<'_>) -> Result<Good, Failure> {
        use VerificationError as E;
        match result {
            Ok(good) => {
                self.standing(good.ka.cert(), &good.ka.key().fingerprint())?;
                Ok(Good {
                    certificate: good.ka.cert().fingerprint(),
                    signed_at: good.sig.signature_creation_time().map_or(0, unix),
                })
            }
            Err(E::MissingKey { sig }) => Err(untrusted(sig)),
            Err(E::UnboundKey { cert, error, .. }) => {
                self.standing(cert, &cert.fingerprint())?;
                Err(self.explain(cert, &error))
            }
            Err(E::BadKey { ka, error, .. } | E::BadSignature { ka, error, .. }) => {
                self.standing(ka.cert(), &ka.key().fingerprint())?;
                Err(self.explain(ka.cert(), &error))
            }
            Err(E::MalformedSignature { error, .. }) => Err(bad(&error.to_string())),
            Err(E::UnknownSignature { sig }) => Err(bad(&sig.error().to_string())),
            Err(other) => Err(bad(&other.to_string())),
        }
    }

    /// Whether the certificate, and its key that signed, are good at the reference time.
    fn standing(&self, cert: &Cert, key: &Fingerprint) -> Result<(), Failure> {
        if let RevocationStatus::Revoked(_) = cert.revocation_status(self.policy, self.at) {
            return Err(revoked(cert));
        }
        let valid = cert
            .with_policy(self.policy, self.at)
            .map_err(|error| self.explain(cert, &error))?;
        valid.alive().map_err(|error| self.explain(cert, &error))?;
        for key in valid.keys().key_handle(key.clone()) {
            if let RevocationStatus::Revoked(_) = key.revocation_status() {
                return Err(revoked(cert));
            }
            key.alive().map_err(|error| self.explain(cert, &error))?;
        }
        Ok(())
    }

    /// Why no signature by this certificate holds.
    fn unusable(&self, cert: &Cert) -> Option<String> {
        if let RevocationStatus::Revoked(_) = cert.revocation_status(self.policy, self.at) {
            return Some("it was revoked".to_owned());
        }
        let valid = cert.with_policy(self.policy, self.at);
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

    fn explain(&self, cert: &Cert, error: &anyhow::Error) -> Failure {
        let unknown = || (Cause::BadSignature, "it does not fit the package".into());
        let (cause, what) = self.reason(error).unwrap_or_else(unknown);
        let detail = format!(
            "the signature by {} does not hold: {what}",
            cert.fingerprint()
        );
        Failure::new(cause, detail)
    }

    /// sequoia's own words for a time would need the time zone's file, which is out of reach here.
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
                "its certificate has no signature of its own that holds now".to_owned(),
            ),
            Some(Error::InvalidKey(why)) => (Cause::BadSignature, why.clone()),
            _ => return None,
        })
    }

    fn out_of_time(&self, what: &str, when: SystemTime) -> String {
        format!("{what} {}, and here it is {}", date(when), date(self.at))
    }
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

fn revoked(cert: &Cert) -> Failure {
    let detail = format!("the certificate {} was revoked", cert.fingerprint());
    Failure::new(Cause::Revoked, detail)
}

fn no_signature(why: &str) -> Failure {
    bad(&format!("it is not an OpenPGP signature: {why}"))
}

fn bad(why: &str) -> Failure {
    Failure::new(Cause::BadSignature, format!("the signature is bad: {why}"))
}
