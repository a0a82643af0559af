//! Delivers a package into the staged file: a download, a push of a server, or a local file. It decides when to retry
//! and where to resume. It knows no package format.
//!
//! - [`pull`]: the attempts of a download during its turn; [`attempt`]: one attempt by wharf-fetch, which [`fetcher`] starts.
//! - [`room`]: the disk space that parallel downloads share.
//! - [`push`]: the blocks of a Write; [`copy`]: the file of a local user.
//! - [`seal`]: asks for the verdict on the file.

pub mod attempt;
pub mod copy;
pub mod fetcher;
pub mod pull;
pub mod push;
pub mod room;
pub mod seal;

/// The progress of a download.
fn percent(bytes: u64, total: u64) -> u8 {
    let percent = u128::from(bytes) * 100 / u128::from(total.max(1));
    percent.min(100) as u8
}
