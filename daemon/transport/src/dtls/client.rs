//! What all sessions with one server share: the key, the suites, the session to take up again. Made only where a
//! server wants it: OpenSSL's context is the largest thing in an idle wharfd.

use std::time::{Duration, Instant};

use openssl::{
    error::ErrorStack,
    ssl::{
        Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslSession, SslSessionCacheMode,
        SslVersion,
    },
};
use zeroize::Zeroizing;

use super::{Failure, Psk, Session, libssl};

/// TLS_PSK_WITH_AES_128_CCM_8 (RFC 7925 4.2, TS Core 1.0 7.1.7: MUST), then TLS_PSK_WITH_AES_128_CBC_SHA256 (there:
/// SHOULD).
const SUITES: &str = "PSK-AES128-CCM8:PSK-AES128-CBC-SHA256";

/// The longest datagram of a handshake: IPv6 carries 1280 bytes everywhere (RFC 8200 5), 40 and 8 of them are
/// headers. A CoAP message of 1152 bytes (RFC 7252 4.6) fits under either suite.
pub(super) const MTU: u32 = 1232;

/// One DTLS client.
pub struct Client {
    context: SslContext,
    identity: String,
    first_wait: Duration,
    /// As DER: OpenSSL's own object stops being resumable when its connection ends without a goodbye.
    kept: Option<Zeroizing<Vec<u8>>>,
}

impl Client {
    /// A client with this key. A flight without an answer is sent again after `first_wait`, then after twice as
    /// long, and so on.
    pub fn new(psk: Psk, first_wait: Duration) -> Result<Self, Failure> {
        let identity = psk.identity().to_owned();
        Ok(Self {
            context: context(psk)?,
            identity,
            first_wait,
            kept: None,
        })
    }

    /// Begins a session: an earlier one is taken up again if there is one that was [kept](Self::keep).
    pub fn begin(&self, now: Instant) -> Result<Session, Failure> {
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_mtu(MTU)?;
        libssl::set_timer(&mut ssl, self.first_wait)?;
        if let Some(kept) = &self.kept {
            libssl::resume(&mut ssl, &SslSession::from_der(kept)?)?;
        }
        Session::begin(ssl, self.identity.clone(), now)
    }

    /// Keeps an open session for the next [`begin`](Self::begin).
    pub fn keep(&mut self, session: &Session) {
        self.kept = session.der();
    }

    /// Whether the next session takes up an earlier one.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Forgets the session that was kept: the next one is begun by a whole handshake. For a server that does not
    /// answer where it could resume.
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
        // 0 has OpenSSL end the handshake.
        Ok(if written { psk.key().len() } else { 0 })
    });
    Ok(builder.build())
}

/// Version, suites and bounds: all that is not about one side.
pub(super) fn profile(builder: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    builder.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    builder.set_max_proto_version(Some(SslVersion::DTLS1_2))?;
    // From OpenSSL 3.2 on, level 1 has no CCM_8. The list below is exact, so the level adds nothing.
    builder.set_security_level(0);
    builder.set_cipher_list(SUITES)?;
    builder.set_options(SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    Ok(())
}

/// Writes bytes, and the zero that ends an identity: the buffer is OpenSSL's and larger, or the answer is no.
fn write(buffer: &mut [u8], bytes: &[u8]) -> bool {
    let fits = bytes.len() < buffer.len();
    for (to, from) in buffer.iter_mut().zip(bytes.iter().chain([&0])) {
        *to = *from;
    }
    fits
}
