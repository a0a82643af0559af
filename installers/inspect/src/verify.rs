//! The signer of a package, by the signature beside it, else by the one inside it.

use std::io::Read;

use wharf_bundle::MANIFEST;
use wharf_frames::{
    Cause, Failure,
    inspect::{Form, Signed, Verified},
};

use crate::{
    archive::Archive,
    bundle,
    format::{PackageFormat, PartDigest},
    openpgp::{
        certificates::Certificates,
        digests::{Digests, sha256, unhashed},
        signature::{self, Good},
    },
    part::{Part, Parts, ReadAt},
};

/// The parameters of a verification.
pub(crate) struct Trust {
    /// The trusted certificates.
    pub(crate) certificates: Certificates,
    /// The time at which they are judged, in Unix seconds.
    pub(crate) at: u64,
    /// A package without any signature is verified too, with no signer.
    pub(crate) allow_unsigned: bool,
}

impl Trust {
    /// Checks the framing first, so that a broken file is reported as malformed. A compressed archive is unpacked only after
    /// its signature holds: then its first file tells whether it is a bundle.
    pub(crate) fn verify(
        &self,
        package: &dyn ReadAt,
        length: u64,
        format: &dyn PackageFormat,
        beside: Option<&[u8]>,
    ) -> Result<Verified, Failure> {
        let archive = bundle::outer(package, length)?;
        let inside = match archive {
            Some(_) => None,
            None => format.signature_inside(package, length)?,
        };
        let whole = || Part::new(package, 0..length);
        let (digest, signed) = match (beside, inside) {
            (Some(signature), _) => {
                let mut digests = Digests::default();
                digests.add_sha256().map_err(|e| unhashed(&e))?;
                let good = self.judge(signature, &mut digests, whole())?;
                let digest = digests.sha256().map_err(|e| unhashed(&e))?;
                (digest, Some(signed(good, Form::Beside)))
            }
            (None, Some(inside)) => {
                let content = Parts::new(package, inside.covers);
                let good = self.judge(&inside.packets, &mut Digests::default(), content)?;
                check_digests(package, inside.digests)?;
                (sha256(whole())?, Some(signed(good, Form::Inside)))
            }
            (None, None) if self.allow_unsigned => (sha256(whole())?, None),
            (None, None) => {
                let detail = "there is no signature beside the package, and none in it";
                return Err(Failure::new(Cause::Unsigned, detail));
            }
        };
        let bundle = match archive {
            Some(archive) => is_bundle(package, length, &archive, format)?,
            None => false,
        };
        Ok(Verified {
            digest,
            length,
            signed,
            bundle,
        })
    }

    fn judge(
        &self,
        signature: &[u8],
        digests: &mut Digests,
        content: impl Read,
    ) -> Result<Good, Failure> {
        signature::judge(&self.certificates, signature, digests, content, self.at)
    }
}

/// Whether an archive is a bundle, and no package of this format.
fn is_bundle(
    package: &dyn ReadAt,
    length: u64,
    archive: &Archive,
    format: &dyn PackageFormat,
) -> Result<bool, Failure> {
    let first = bundle::first_name(package, archive);
    if first.as_deref() == Some(MANIFEST) {
        return Ok(true);
    }
    match (format.signature_inside(package, length), first) {
        (Ok(None), _) => Ok(false),
        (Ok(Some(_)), _) => Err(Failure::new(
            Cause::Malformed,
            "the file begins as an archive and as a signed package",
        )),
        (Err(failure), Some(first)) if failure.cause == Cause::WrongKind => {
            Err(bundle::without_manifest(&first))
        }
        (Err(failure), _) => Err(failure),
    }
}

/// Checks the parts whose digests a signature covers.
fn check_digests(package: &dyn ReadAt, digests: Vec<PartDigest>) -> Result<(), Failure> {
    for PartDigest {
        range,
        sha256: stated,
    } in digests
    {
        if sha256(Part::new(package, range))? != stated {
            let detail =
                "the signature does not hold: the package is not the one whose digest was signed";
            return Err(Failure::new(Cause::BadSignature, detail));
        }
    }
    Ok(())
}

fn signed(good: Good, form: Form) -> Signed {
    Signed {
        certificate: good.certificate.to_hex().into(),
        signed_at: good.signed_at,
        form,
        signed: good.signed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_does_not_have_its_signed_digest_is_a_bad_signature() {
        let package = &b"header, payload"[..];
        let digest = |range, of: &[u8]| PartDigest {
            range,
            sha256: sha256(of).unwrap(),
        };
        for (digests, expected) in [
            (vec![], None),
            (vec![digest(8..15, b"payload")], None),
            (vec![digest(8..15, b"paYload")], Some(Cause::BadSignature)),
            (vec![digest(8..14, b"payload")], Some(Cause::BadSignature)),
            (
                vec![digest(8..15, b"payload"), digest(0..6, b"Header")],
                Some(Cause::BadSignature),
            ),
            (vec![digest(8..16, b"payload")], Some(Cause::Unavailable)),
        ] {
            let got = check_digests(&package, digests.clone());
            assert_eq!(got.err().map(|it| it.cause), expected, "{digests:?}");
        }
    }
}
