//! The configuration. `raw` parses the files, `read` checks the values and fills in defaults, `psk` reads the
//! pre-shared key, `settings` is the result. No other module of wharfd reads a configuration file.

mod error;
mod psk;
mod raw;
mod read;
mod settings;

pub use error::ConfigError;
pub use settings::{Activation, DeviceSettings, ServerSettings, Settings, Timing};
