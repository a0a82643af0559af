//! A certificate authority for one test.

use std::path::Path;

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    ssl::{SslAcceptor, SslMethod},
    x509::{
        X509, X509Builder, X509Name,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};
use tempfile::{NamedTempFile, TempDir};

/// A CA, and the file that makes OpenSSL trust it.
pub(crate) struct Authority {
    key: PKey<Private>,
    certificate: X509,
    file: NamedTempFile,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = key();
        let mut builder = begin("wharfd test CA", &key, 0);
        builder
            .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
            .unwrap();
        let name = name("wharfd test CA");
        builder.set_issuer_name(&name).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.to_pem().unwrap()).unwrap();
        Self {
            key,
            certificate,
            file,
        }
    }

    /// The CA's certificate, for SSL_CERT_FILE.
    pub(crate) fn file(&self) -> &Path {
        self.file.path()
    }

    /// The CA's certificate in a folder of hashed links (openssl-rehash(1)), for SSL_CERT_DIR.
    pub(crate) fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("{:08x}.0", self.certificate.subject_name_hash());
        std::fs::copy(self.file(), folder.path().join(name)).unwrap();
        folder
    }

    /// A certificate of an origin, valid for a year since `days_ago`.
    pub(crate) fn issue(&self, host: &str, days_ago: i64) -> SslAcceptor {
        let key = key();
        let mut builder = begin(host, &key, days_ago);
        let names = SubjectAlternativeName::new()
            .dns(host)
            .build(&builder.x509v3_context(Some(&self.certificate), None))
            .unwrap();
        builder.append_extension(names).unwrap();
        builder
            .set_issuer_name(self.certificate.subject_name())
            .unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor.set_certificate(&builder.build()).unwrap();
        acceptor.build()
    }
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn name(name: &str) -> X509Name {
    let mut builder = X509Name::builder().unwrap();
    builder.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    builder.build()
}

fn begin(subject: &str, key: &PKey<Private>, days_ago: i64) -> X509Builder {
    const DAY: i64 = 24 * 3600;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    let from = now - days_ago * DAY - 60;
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial
        .rand(120, openssl::bn::MsbOption::MAYBE_ZERO, false)
        .unwrap();
    builder
        .set_serial_number(&serial.to_asn1_integer().unwrap())
        .unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder
        .set_not_before(&Asn1Time::from_unix(from).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::from_unix(from + 365 * DAY).unwrap())
        .unwrap();
    builder
}
