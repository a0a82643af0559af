//! Digests of one content: it is read once, and hashed once for each algorithm and salt of all signatures.

use std::io::{self, Read};

use sequoia_openpgp::{
    anyhow,
    crypto::hash::{Context, Hash},
    packet::Signature,
    types::HashAlgorithm,
};
use wharf_frames::{Cause, Failure};

use crate::part::unreadable;

/// The hashes of a content.
#[derive(Default)]
pub(crate) struct Digests(Vec<Salted>);

struct Salted {
    algorithm: HashAlgorithm,
    salt: Vec<u8>,
    context: Context,
}

impl Digests {
    /// Prepares the hash that this signature is over.
    pub(crate) fn add(&mut self, signature: &Signature) -> anyhow::Result<()> {
        self.prepare(signature.hash_algo(), salt(signature))
    }

    /// Prepares SHA-256 of the content alone.
    pub(crate) fn add_sha256(&mut self) -> anyhow::Result<()> {
        self.prepare(HashAlgorithm::SHA256, &[])
    }

    fn prepare(&mut self, algorithm: HashAlgorithm, salt: &[u8]) -> anyhow::Result<()> {
        if self.context(algorithm, salt).is_some() {
            return Ok(());
        }
        let mut context = algorithm.context()?.for_digest();
        context.update(salt);
        self.0.push(Salted {
            algorithm,
            salt: salt.to_owned(),
            context,
        });
        Ok(())
    }

    /// Hashes the content to its end, and returns its length.
    pub(crate) fn read(&mut self, mut content: impl Read) -> io::Result<u64> {
        let (mut buffer, mut all) = (vec![0; 64 * 1024], 0);
        loop {
            let length = content.read(&mut buffer)?;
            match buffer.get(..length) {
                Some([]) | None => return Ok(all),
                Some(bytes) => self.update(bytes),
            }
            all += length as u64;
        }
    }

    /// Hashes more of the content.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for salted in &mut self.0 {
            salted.context.update(bytes);
        }
    }

    /// The digest that this signature signs: of the content and its own hashed part (RFC 9580 5.2.4).
    pub(crate) fn of(&self, signature: &Signature) -> anyhow::Result<Vec<u8>> {
        let mut context = self.finished(signature.hash_algo(), salt(signature))?;
        signature.hash(&mut context)?;
        context.into_digest()
    }

    /// SHA-256 of the content.
    pub(crate) fn sha256(&self) -> anyhow::Result<[u8; 32]> {
        let mut digest = [0; 32];
        let mut context = self.finished(HashAlgorithm::SHA256, &[])?;
        context.digest(&mut digest)?;
        Ok(digest)
    }

    fn finished(&self, algorithm: HashAlgorithm, salt: &[u8]) -> anyhow::Result<Context> {
        let context = self.context(algorithm, salt).cloned();
        context.ok_or_else(|| anyhow::anyhow!("the content was not hashed with {algorithm}"))
    }

    fn context(&self, algorithm: HashAlgorithm, salt: &[u8]) -> Option<&Context> {
        let mut contexts = self.0.iter();
        let found = contexts.find(|one| one.algorithm == algorithm && one.salt == salt);
        found.map(|salted| &salted.context)
    }
}

fn salt(signature: &Signature) -> &[u8] {
    match signature {
        Signature::V6(signature) => signature.salt(),
        _ => &[],
    }
}

/// SHA-256 of this content.
pub(crate) fn sha256(content: impl Read) -> Result<[u8; 32], Failure> {
    let mut digests = Digests::default();
    digests.add_sha256().map_err(|e| unhashed(&e))?;
    digests.read(content).map_err(|e| unreadable(&e))?;
    digests.sha256().map_err(|e| unhashed(&e))
}

/// The failure of a package that cannot be hashed, which says nothing about it.
pub(crate) fn unhashed(error: &anyhow::Error) -> Failure {
    let detail = format!("the package cannot be hashed: {error}");
    Failure::new(Cause::Unavailable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_hashed_once_for_one_algorithm_and_salt() {
        let mut digests = Digests::default();
        for (algorithm, salt, contexts) in [
            (HashAlgorithm::SHA256, &b""[..], 1),
            (HashAlgorithm::SHA256, b"", 1),
            (HashAlgorithm::SHA512, b"", 2),
            (HashAlgorithm::SHA256, b"salt", 3),
            (HashAlgorithm::SHA256, b"salt", 3),
            (HashAlgorithm::SHA256, b"other", 4),
        ] {
            digests.prepare(algorithm, salt).unwrap();
            assert_eq!(digests.0.len(), contexts, "{algorithm} {salt:?}");
        }
    }

    #[test]
    fn a_salt_comes_before_the_content() {
        let mut salted = Digests::default();
        salted.prepare(HashAlgorithm::SHA256, b"ab").unwrap();
        salted.read(&b"c"[..]).unwrap();
        let mut plain = Digests::default();
        plain.add_sha256().unwrap();
        plain.read(&b"abc"[..]).unwrap();
        let digest = salted.finished(HashAlgorithm::SHA256, b"ab").unwrap();
        assert_eq!(
            digest.into_digest().unwrap(),
            plain.sha256().unwrap().to_vec()
        );
        // FIPS 180-4, of "abc".
        assert_eq!(plain.sha256().unwrap()[..4], [0xba, 0x78, 0x16, 0xbf]);
    }
}
