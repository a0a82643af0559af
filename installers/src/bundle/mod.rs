//! Bundles: several packages in one signed file. `members`: the packages as files.

pub(crate) mod members;
