//! The settings: every value is valid, every default is filled in.

use std::{collections::BTreeMap, time::Duration};

use lwm2m::Backoff;
use serde::Deserialize;
use wharf_frames::PackageName;
use wharf_software::{ShortId, UriOrigin};
use wharf_transport::{Psk, ServerAddress};

use crate::random::random;

/// All that can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name this gateway registers under.
    pub endpoint: String,
    /// The number of instances of Object 9 from the factory.
    pub instances: u16,
    /// The largest number of instances.
    pub max_instances: u16,
    /// Whether a plain package is shown as one component in Object 14.
    pub components: bool,
    /// The server that manages the software; none if only local users manage it.
    pub server: Option<ServerSettings>,
    /// The activation of single packages. It overrides the one of the server.
    pub activations: BTreeMap<PackageName, Activation>,
    /// Facts about the device, for a machine that does not name its own.
    pub device: DeviceSettings,
    /// Number of downloads that may run at once.
    pub parallel_downloads: usize,
    /// The origins that may get User Name and Password without TLS.
    pub credentials_over_http: Vec<UriOrigin>,
    /// Time limits and pauses.
    pub timing: Timing,
}

/// Facts about this gateway, used if the machine does not name them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceSettings {
    /// The maker of the gateway.
    pub manufacturer: Option<String>,
    /// The maker's model name.
    pub model_number: Option<String>,
}

/// A server account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Its Short Server ID.
    pub id: ShortId,
    /// Its address.
    pub address: ServerAddress,
    /// The identity and key of this gateway; none for coap://.
    pub psk: Option<Psk>,
    /// The registration's lifetime, in seconds.
    pub lifetime: u32,
    /// In DELIVERED with Result 58, a Write of 2 or 3 drops the file and starts over.
    pub replace_failed: bool,
    /// Whether software is activated after its installation.
    pub activation: Activation,
}

/// Whether software is activated after its installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// It is INACTIVE until the server activates it (TS 5.2).
    #[default]
    Server,
    /// It is activated again if it was active before an upgrade.
    Keep,
    /// It is activated.
    Always,
}

/// Time limits and pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// CoAP's ACK_TIMEOUT (RFC 7252 4.8).
    pub ack_timeout: Duration,
    /// The pauses between retries of a registration, a connection, a download or a question to the installer.
    pub retry: Backoff,
    /// The time limit of a connection to an origin.
    pub connect: Duration,
    /// The time limit of a download that receives no byte.
    pub stall: Duration,
    /// The time limit of a push that receives no block.
    pub push_idle: Duration,
    /// Software that is installed in part counts as damaged after this time. Before that, a package manager may be at
    /// work.
    pub in_part: Duration,
    /// The time limit of the verdict on a package.
    pub verdict: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            retry: Backoff::default(),
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            push_idle: Duration::from_secs(247), // EXCHANGE_LIFETIME
            in_part: Duration::from_secs(60),
            verdict: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl Timing {
    /// The pause after this number of failures in a row.
    pub fn pause(&self, failures: u32) -> Duration {
        self.retry.pause(failures, u16::from_le_bytes(random()))
    }
}

impl Settings {
    /// The server's address for display; empty if there is none.
    pub fn server_uri(&self) -> String {
        let server = self.server.as_ref();
        server.map_or_else(String::new, |server| server.address.to_string())
    }
}
