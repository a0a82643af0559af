//! Environment variables that configure long tests.

use std::env;

/// The number in this variable, or none if it is not set.
pub fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={value} is no number")))
}
