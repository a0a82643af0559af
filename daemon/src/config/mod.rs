//! The configuration. `raw` parses the files, `settings` checks the values and fills in defaults, `psk` reads the
//! pre-shared key. No other module of wharfd reads a configuration file.

mod psk;
mod raw;
mod settings;

pub use settings::{Activation, ConfigError, Device, Server, Settings, Timing};
