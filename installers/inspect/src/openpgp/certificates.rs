//! The trusted certificates, as wharf-inspect parses them. It does not handle signatures over packages.

use std::collections::BTreeMap;

use sequoia_openpgp::{Cert, Fingerprint, KeyHandle, cert::CertParser, parse::Parse};
use wharf_frames::{Failure, inspect::unusable_keyring};

/// Each certificate once, and whether its secret key was in the file too.
#[derive(Debug, Default)]
pub(crate) struct Certificates(BTreeMap<Fingerprint, (Cert, bool)>);

impl Certificates {
    /// Adds the certificates of a file. Copies of a certificate in two files are merged: a revocation may come in a
    /// file of its own.
    pub(crate) fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let unusable =
            |why: String| unusable_keyring(&format!("{name} is not an OpenPGP certificate: {why}"));
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

    /// Those that have one of these keys.
    pub(crate) fn of_issuers(&self, issuers: &[KeyHandle]) -> impl Iterator<Item = &Cert> {
        let has_issuer = |cert: &&Cert| {
            cert.keys().any(|key| {
                let handle = key.key().key_handle();
                issuers.iter().any(|issuer| issuer.aliases(&handle))
            })
        };
        self.0.values().map(|(cert, _)| cert).filter(has_issuer)
    }

    /// The certificate with this number, in the order of fingerprints, and whether its secret key was in the file too.
    pub(crate) fn nth(&self, number: usize) -> Option<(&Cert, bool)> {
        let (cert, secret) = self.0.values().nth(number)?;
        Some((cert, *secret))
    }
}
