//! How a package comes into root's file: fetched, or pushed by the server. Knows when to try again and where
//! to go on, and no package format.
//!
//! - [`pull`]: attempts, while a download has its turn; [`attempt`]: one of them, by wharf-fetch.
//! - [`room`]: the disk space that parallel downloads leave to each other.
//! - [`push`]: the blocks of a Write; [`copy`]: a file that a local user hands over.
//! - [`seal`]: the question whether what came is what it should be.

pub mod attempt;
pub mod copy;
pub mod pull;
pub mod push;
pub mod room;
pub mod seal;

pub use attempt::Fetcher;

/// How far a download is.
fn percent(bytes: u64, total: u64) -> u8 {
    let percent = u128::from(bytes) * 100 / u128::from(total.max(1));
    percent.min(100) as u8
}
