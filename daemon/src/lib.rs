//! wharfd: being written.
pub mod config;
pub mod endpoint;
