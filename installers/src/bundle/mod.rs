//! Bundles: several packages in one signed file, which are one software for the server. A bundle is judged as a whole. From
//! then on its packages are files of their own beside the staged file, and a job works on them: package managers and services
//! know no bundle.
//!
//! - [`members`]: the packages as files. [`member_stream`]: how wharf-inspect hands them over. [`expansion`]: the steps of a job. [`installed`]: the ledger of bundles. [`found`]: a
//!   bundle on the device. [`seal`]: the judgement. [`permission`]: whether a bundle may be installed. [`requests`]: the
//!   requests about a bundle. [`work`]: the work of a job.

pub(crate) mod expansion;
pub(crate) mod found;
pub mod installed;
pub(crate) mod member_stream;
pub(crate) mod members;
pub(crate) mod permission;
mod requests;
pub(crate) mod seal;
pub mod work;
