//! Why there is no session. The words are for whoever has to correct it.

use std::fmt;

use openssl::{error::ErrorStack, ssl};

/// Why a handshake, or what followed it, failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing came back.
    #[error(
        "no answer to the handshake: is there a DTLS server at this address and port, and does every firewall let UDP \
         through?"
    )]
    Unanswered,
    /// The server answered until it saw what the key makes of the handshake.
    #[error(
        "the server answered, and fell silent where the key is checked: does it know the identity {identity:?}, and is \
         the key of identity {identity:?} the same on both sides?"
    )]
    Unconfirmed {
        /// What the server was told.
        identity: String,
    },
    /// The server said no.
    #[error("the server refuses: {alert}{}", advice(*alert, identity))]
    Refused {
        /// Its words.
        alert: Alert,
        /// What it was told.
        identity: String,
    },
    /// OpenSSL refuses, here.
    #[error("OpenSSL refuses: {0}")]
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
                ": the key of identity {identity:?} is another one there, or it does not know the identity"
            )
        }
        Alert::HANDSHAKE_FAILURE | Alert::INSUFFICIENT_SECURITY => format!(
            ": it must know the identity {identity:?}, and speak TLS_PSK_WITH_AES_128_CCM_8 or \
             TLS_PSK_WITH_AES_128_CBC_SHA256"
        ),
        Alert::PROTOCOL_VERSION => ": it must speak DTLS 1.2".to_owned(),
        Alert(_) => String::new(),
    }
}

/// `SSL_AD_REASON_OFFSET`: OpenSSL's reason for a failure by an alert is this and the alert's number.
const ALERT_REASONS: i32 = 1000;

impl Failure {
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

impl From<ErrorStack> for Failure {
    fn from(errors: ErrorStack) -> Self {
        Self::Library(errors.to_string())
    }
}
