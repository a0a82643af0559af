//! What the administrator wrote, read and judged. `raw` is what a file may say, `settings` what the
//! agent runs by, `psk` who it is for a server; nothing else of wharfd reads a file of configuration.

mod psk;
mod raw;
mod settings;

pub use settings::{Activation, ConfigError, Device, Server, Settings, Timing};
