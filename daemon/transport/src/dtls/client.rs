//! The DTLS client of one server: the key, the suites and the session to resume. It is created only for coaps, since
//! the OpenSSL context uses most memory of an idle wharfd.

use std::time::{Duration, Instant};

use openssl::{
    error::ErrorStack,
    ssl::{
        Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslSession, SslSessionCacheMode,
        SslVersion,
    },
};
use wharf_secret::Secret;

use super::{DtlsFailure, Psk, Session, libssl};

/// TLS_PSK_WITH_AES_128_CCM_8 (MUST, RFC 7925 4.2 and TS Core 1.0 7.1.7), then TLS_PSK_WITH_AES_128_CBC_SHA256
/// (SHOULD, TS Core 1.0 7.1.7).
const SUITES: &str = "PSK-AES128-CCM8:PSK-AES128-CBC-SHA256";

/// The longest datagram of a handshake: the IPv6 minimum MTU of 1280 bytes (RFC 8200 5) without 40 and 8 bytes of
/// headers. A CoAP message of 1152 bytes (RFC 7252 4.6) fits with either suite.
pub(super) const MTU: u32 = 1232;

/// One DTLS client.
pub struct DtlsClient {
    context: SslContext,
    identity: String,
    first_wait: Duration,
    /// As DER, since an OpenSSL session object cannot be resumed after a connection without close_notify.
    kept: Option<Secret>,
}

impl DtlsClient {
    /// A client with this key. A flight is retransmitted after `first_wait`, and the wait doubles each time.
    pub fn new(psk: Psk, first_wait: Duration) -> Result<Self, DtlsFailure> {
        let identity = psk.identity().to_owned();
        Ok(Self {
            context: context(psk)?,
            identity,
            first_wait,
            kept: None,
        })
    }

    /// Begins a session. It resumes an earlier one that was [kept](Self::keep).
    pub fn begin(&self, now: Instant) -> Result<Session, DtlsFailure> {
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_mtu(MTU)?;
        libssl::set_timer(&mut ssl, self.first_wait)?;
        if let Some(kept) = &self.kept {
            libssl::resume(&mut ssl, &SslSession::from_der(kept.expose())?)?;
        }
        Session::begin(ssl, self.identity.clone(), now)
    }

    /// Keeps an open session for the next [`begin`](Self::begin).
    pub fn keep(&mut self, session: &Session) {
        self.kept = session.der();
    }

    /// Whether the next session resumes an earlier one.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Forgets the kept session, so that the next one needs a full handshake. Some servers do not answer a
    /// resumption.
    pub fn forget(&mut self) {
        self.kept = None;
    }
}

fn context(psk: Psk) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContext::builder(SslMethod::dtls_client())?;
    profile(&mut builder)?;
    builder.set_psk_client_callback(move |ssl, _hint, identity, key| {
        libssl::note_key_asked(ssl);
        let written = write(identity, psk.identity().as_bytes()) && write(key, psk.key());
        // A length of 0 makes OpenSSL end the handshake.
        Ok(if written { psk.key().len() } else { 0 })
    });
    Ok(builder.build())
}

/// Sets the version, suites and limits, which client and server share in tests.
pub(super) fn profile(builder: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    builder.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    builder.set_max_proto_version(Some(SslVersion::DTLS1_2))?;
    // Since OpenSSL 3.2, level 1 forbids CCM_8. Level 0 allows no other suite, since the list below is exact.
    builder.set_security_level(0);
    builder.set_cipher_list(SUITES)?;
    builder.set_options(SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    Ok(())
}

/// Writes bytes with a terminating zero into OpenSSL's buffer. Returns whether they fit.
fn write(buffer: &mut [u8], bytes: &[u8]) -> bool {
    let fits = bytes.len() < buffer.len();
    for (to, from) in buffer.iter_mut().zip(bytes.iter().chain([&0])) {
        *to = *from;
    }
    fits
}
