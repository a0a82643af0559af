//! What libssl has and the openssl crate does not wrap: the retransmission timer of a handshake, and taking a
//! session up again. All `unsafe` of this crate is here.
//!
//! The timer's length is asked for by a callback, which notes it; its end is counted on the monotonic clock by
//! whoever holds the session. OpenSSL's own count is by the wall clock and in a `timeval`, which differs between
//! the 32-bit systems: it is not asked for.

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

/// The longest wait for an answer to a flight (RFC 6347 4.2.4.1).
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What OpenSSL's callbacks say of one handshake.
#[derive(Debug, Default)]
pub(super) struct Notes {
    first_wait: u32,
    /// Of the flight that was just sent, in microseconds; 0 if none was.
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

/// Has the flights of this handshake repeated: first after `first_wait`, then after twice as long, and so on.
pub(super) fn set_timer(ssl: &mut SslRef, first_wait: Duration) -> Result<(), ErrorStack> {
    let notes = Notes {
        first_wait: micros(first_wait.min(LONGEST_WAIT)).max(1),
        ..Notes::default()
    };
    ssl.set_ex_data(index()?, notes);
    // SAFETY: the pointer is that of a live SSL; the callback keeps nothing of what it is given.
    unsafe { DTLS_set_timer_cb(ssl.as_ptr(), Some(next_wait)) };
    Ok(())
}

/// `previous` is 0 for the first wait of a flight.
unsafe extern "C" fn next_wait(ssl: *mut SSL, previous: c_uint) -> c_uint {
    // SAFETY: OpenSSL gives the SSL that the callback was set on, and it lives for the call.
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

/// How long an answer to the flight that was just sent is waited for; none if none was sent since the last call.
pub(super) fn take_wait(ssl: &SslRef) -> Option<Duration> {
    let wait = notes(ssl)?.wait.swap(0, Relaxed);
    (wait > 0).then(|| Duration::from_micros(wait.into()))
}

/// The wait is over: the last flight is sent again.
pub(super) fn handle_timeout(ssl: &SslRef) -> Result<(), ErrorStack> {
    // SAFETY: the pointer is that of a live SSL, which only its one owner speaks of; this control takes no argument.
    let done: c_long = unsafe { SSL_ctrl(ssl.as_ptr(), HANDLE_TIMEOUT, 0, ptr::null_mut()) };
    match done {
        0.. => Ok(()),
        _ => Err(ErrorStack::get()),
    }
}

/// The handshake came to where the key is needed: a server answered.
pub(super) fn note_key_asked(ssl: &SslRef) {
    if let Some(notes) = notes(ssl) {
        notes.key_asked.store(true, Relaxed);
    }
}

pub(super) fn is_key_asked(ssl: &SslRef) -> bool {
    notes(ssl).is_some_and(|notes| notes.key_asked.load(Relaxed))
}

/// Offers a session to be taken up again.
pub(super) fn resume(ssl: &mut SslRef, session: &SslSession) -> Result<(), ErrorStack> {
    // SAFETY: the session is a copy of its own, made by `SslSession::from_der`: no context holds it, so it is bound
    // to none yet.
    unsafe { ssl.set_session(session) }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
