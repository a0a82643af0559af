//! The reasons why there is no session. Each text says what to check.

use std::fmt;

use openssl::{error::ErrorStack, ssl};

/// The reason why a handshake or a session failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DtlsFailure {
    /// The server did not answer.
    #[error(
        "no answer to the handshake: is there a DTLS server at this address and port, and does every firewall let UDP \
         through?"
    )]
    Unanswered,
    /// The server stopped answering after the message that proves the key.
    #[error(
        "the server stopped answering when it checked the key: does it know the identity {identity:?}, and is the key \
         of identity {identity:?} the same on both sides?"
    )]
    Unconfirmed {
        /// The identity that the server got.
        identity: String,
    },
    /// The server rejected the handshake.
    #[error("the server rejects the handshake: {alert}{}", advice(*alert, identity))]
    Refused {
        /// The alert of the server.
        alert: Alert,
        /// The identity that the server got.
        identity: String,
    },
    /// OpenSSL failed on this side.
    #[error("OpenSSL failed: {0}")]
    Library(String),
}

/// A fatal alert, by its number (RFC 5246 7.2, RFC 4279 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert(pub u8);

impl Alert {
    const BAD_RECORD_MAC: Self = Self(20);
    const HANDSHAKE_FAILURE: Self = Self(40);
    const DECRYPT_ERROR: Self = Self(51);
    const PROTOCOL_VERSION: Self = Self(70);
    const INSUFFICIENT_SECURITY: Self = Self(71);
    const UNKNOWN_PSK_IDENTITY: Self = Self(115);
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::BAD_RECORD_MAC => "bad_record_mac",
            Self::HANDSHAKE_FAILURE => "handshake_failure",
            Self::DECRYPT_ERROR => "decrypt_error",
            Self::PROTOCOL_VERSION => "protocol_version",
            Self::INSUFFICIENT_SECURITY => "insufficient_security",
            Self::UNKNOWN_PSK_IDENTITY => "unknown_psk_identity",
            Self(number) => return write!(f, "alert {number}"),
        };
        f.write_str(name)
    }
}

fn advice(alert: Alert, identity: &str) -> String {
    match alert {
        Alert::UNKNOWN_PSK_IDENTITY => format!(": it does not know the identity {identity:?}"),
        Alert::BAD_RECORD_MAC | Alert::DECRYPT_ERROR => {
            format!(
                ": the key of identity {identity:?} differs at the server, or the server does not know it"
            )
        }
        Alert::HANDSHAKE_FAILURE | Alert::INSUFFICIENT_SECURITY => format!(
            ": it must know the identity {identity:?}, and support TLS_PSK_WITH_AES_128_CCM_8 or \
             TLS_PSK_WITH_AES_128_CBC_SHA256"
        ),
        Alert::PROTOCOL_VERSION => ": it must support DTLS 1.2".to_owned(),
        Alert(_) => String::new(),
    }
}

/// `SSL_AD_REASON_OFFSET`: OpenSSL adds it to the number of an alert to make a reason code.
const ALERT_REASONS: i32 = 1000;

impl DtlsFailure {
    pub(super) fn of(error: &ssl::Error, identity: &str) -> Self {
        error.ssl_error().map_or_else(
            || Self::Library(error.to_string()),
            |errors| Self::of_errors(errors, identity),
        )
    }

    pub(super) fn of_errors(errors: &ErrorStack, identity: &str) -> Self {
        let alerts = errors.errors().iter().find_map(|error| {
            let number = error.reason_code().checked_sub(ALERT_REASONS)?;
            u8::try_from(number).ok()
        });
        match alerts {
            Some(number) => Self::Refused {
                alert: Alert(number),
                identity: identity.to_owned(),
            },
            None => Self::Library(errors.to_string()),
        }
    }
}

impl From<ErrorStack> for DtlsFailure {
    fn from(errors: ErrorStack) -> Self {
        Self::Library(errors.to_string())
    }
}
