//! How a package comes into root's file: fetched, or pushed by the server. Knows when to try again and where
//! to go on, and no package format.
//!
//! - [`pull`]: attempts, one after the other; [`attempt`]: one of them, by wharf-fetch.
//! - [`push`]: the blocks of a Write.
//! - [`seal`]: the question whether what came is what it should be.

pub mod attempt;
pub mod pull;
pub mod push;
pub mod seal;

pub use attempt::Fetcher;
