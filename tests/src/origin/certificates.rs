//! A certificate authority of one origin, and the origin's certificate.

use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    ssl::{SslAcceptor, SslMethod},
    x509::{
        X509, X509Builder, X509Name, X509NameBuilder, X509NameRef,
        extension::{BasicConstraints, KeyUsage, SubjectAlternativeName},
    },
};

/// Two keys and their certificates, made for one test.
#[derive(Debug)]
pub(super) struct Certificates {
    authority: X509,
    certificate: X509,
    key: PKey<Private>,
}

impl Certificates {
    pub(super) fn new() -> Self {
        make().unwrap_or_else(|error| panic!("no certificates: {error}"))
    }

    pub(super) fn authority(&self) -> Vec<u8> {
        self.authority
            .to_pem()
            .expect("a certificate has a PEM form")
    }

    pub(super) fn acceptor(&self) -> SslAcceptor {
        let acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server());
        let mut acceptor = acceptor.expect("a TLS context");
        acceptor
            .set_private_key(&self.key)
            .and_then(|()| acceptor.set_certificate(&self.certificate))
            .expect("the certificate belongs to the key");
        acceptor.build()
    }
}

fn make() -> Result<Certificates, ErrorStack> {
    let authority_key = key()?;
    let name = named("the tests' authority")?;
    let mut authority = builder(&name, &authority_key)?;
    authority.set_issuer_name(&name)?;
    authority.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    authority.append_extension(KeyUsage::new().critical().key_cert_sign().build()?)?;
    authority.sign(&authority_key, MessageDigest::sha256())?;

    let key = key()?;
    let mut certificate = builder(&*named("localhost")?, &key)?;
    certificate.set_issuer_name(&name)?;
    let mut names = SubjectAlternativeName::new();
    names.dns("localhost").ip("127.0.0.1");
    let names = names.build(&certificate.x509v3_context(None, None))?;
    certificate.append_extension(names)?;
    certificate.sign(&authority_key, MessageDigest::sha256())?;

    Ok(Certificates {
        authority: authority.build(),
        certificate: certificate.build(),
        key,
    })
}

fn key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn named(name: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509NameBuilder::new()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}

fn builder(subject: &X509NameRef, key: &PKey<Private>) -> Result<X509Builder, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(subject)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(2)?)?;
    Ok(builder)
}
