//! The real program against a scripted origin on loopback.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by them"
)]

mod end;
mod failures;
mod https;
mod redirects;
mod resume;
mod room;
mod secrets;
mod signature;
mod support;
mod whole;
