//! Calls of libssl that the openssl crate does not wrap: the retransmission timer of a handshake, and resumption. All
//! `unsafe` of this crate is here.
//!
//! OpenSSL asks for the length of the timer by a callback, which records it. The session counts it on the monotonic
//! clock. OpenSSL's own timer uses the wall clock, and its `timeval` differs between 32-bit systems.

#![allow(unsafe_code, reason = "calls of libssl, each with its reason")]

use std::{
    ffi::{c_int, c_long, c_uint},
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use foreign_types::ForeignTypeRef;
use openssl::{
    error::ErrorStack,
    ex_data::Index,
    ssl::{Ssl, SslRef, SslSession},
};
use openssl_sys::{SSL, SSL_ctrl};

unsafe extern "C" {
    fn DTLS_set_timer_cb(
        ssl: *mut SSL,
        callback: Option<unsafe extern "C" fn(*mut SSL, c_uint) -> c_uint>,
    );
}

/// `DTLS_CTRL_HANDLE_TIMEOUT` of openssl/ssl.h.
const HANDLE_TIMEOUT: c_int = 74;

/// The longest retransmission timeout (RFC 6347 4.2.4.1).
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The records of OpenSSL's callbacks in one handshake.
#[derive(Debug, Default)]
pub(super) struct Notes {
    first_wait: u32,
    /// The timeout of a flight that was just sent, in microseconds. 0 if none was sent.
    wait: AtomicU32,
    key_asked: AtomicBool,
}

static NOTES: OnceLock<Index<Ssl, Notes>> = OnceLock::new();

fn index() -> Result<Index<Ssl, Notes>, ErrorStack> {
    match NOTES.get() {
        Some(index) => Ok(*index),
        None => {
            let index = Ssl::new_ex_index()?;
            Ok(*NOTES.get_or_init(|| index))
        }
    }
}

fn notes(ssl: &SslRef) -> Option<&Notes> {
    ssl.ex_data(*NOTES.get()?)
}

/// Sets the retransmission timeout of this handshake: first `first_wait`, doubled each time.
pub(super) fn set_timer(ssl: &mut SslRef, first_wait: Duration) -> Result<(), ErrorStack> {
    let notes = Notes {
        first_wait: micros(first_wait.min(LONGEST_WAIT)).max(1),
        ..Notes::default()
    };
    ssl.set_ex_data(index()?, notes);
    // SAFETY: the pointer is of a live SSL, and the callback does not keep it.
    unsafe { DTLS_set_timer_cb(ssl.as_ptr(), Some(next_wait)) };
    Ok(())
}

/// `previous` is 0 for the first wait of a flight.
unsafe extern "C" fn next_wait(ssl: *mut SSL, previous: c_uint) -> c_uint {
    // SAFETY: OpenSSL passes the SSL of the callback, which lives during the call.
    let ssl = unsafe { SslRef::from_ptr(ssl) };
    let Some(notes) = notes(ssl) else {
        return micros(LONGEST_WAIT);
    };
    let wait = match previous {
        0 => notes.first_wait,
        _ => previous.saturating_mul(2).min(micros(LONGEST_WAIT)),
    };
    notes.wait.store(wait, Relaxed);
    wait
}

/// The timeout of the flight that was sent since the last call, if one was.
pub(super) fn take_wait(ssl: &SslRef) -> Option<Duration> {
    let wait = notes(ssl)?.wait.swap(0, Relaxed);
    (wait > 0).then(|| Duration::from_micros(wait.into()))
}

/// Retransmits the last flight.
pub(super) fn handle_timeout(ssl: &SslRef) -> Result<(), ErrorStack> {
    // SAFETY: the pointer is of a live SSL that has one owner. This control takes no argument.
    let done: c_long = unsafe { SSL_ctrl(ssl.as_ptr(), HANDLE_TIMEOUT, 0, ptr::null_mut()) };
    match done {
        0.. => Ok(()),
        _ => Err(ErrorStack::get()),
    }
}

/// Records that the handshake asked for the key, which happens after an answer of the server.
pub(super) fn note_key_asked(ssl: &SslRef) {
    if let Some(notes) = notes(ssl) {
        notes.key_asked.store(true, Relaxed);
    }
}

pub(super) fn is_key_asked(ssl: &SslRef) -> bool {
    notes(ssl).is_some_and(|notes| notes.key_asked.load(Relaxed))
}

/// Offers a session for resumption.
pub(super) fn resume(ssl: &mut SslRef, session: &SslSession) -> Result<(), ErrorStack> {
    // SAFETY: the session is a new copy from `SslSession::from_der`, and no context holds it.
    unsafe { ssl.set_session(session) }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
