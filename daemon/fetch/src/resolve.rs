//! Names to addresses, by the C library: so nsswitch, hosts and the administrator's resolver hold here as
//! everywhere. Keeps what `std` drops: whether a name does not exist, or cannot be resolved just now.

use std::{fmt, io, net::SocketAddr};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The resolver of the C library.
#[derive(Debug)]
pub(crate) struct LibraryResolver;

/// Why a name has no address.
#[derive(Debug)]
pub(crate) struct LookupFailed {
    pub(crate) kind: LookupErrorKind,
    pub(crate) error: io::Error,
}

impl Resolve for LibraryResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = tokio::task::spawn_blocking(move || addresses(name.as_str()));
        Box::pin(async move {
            let addresses: Addrs = Box::new(lookup.await??.into_iter());
            Ok(addresses)
        })
    }
}

fn addresses(name: &str) -> Result<Vec<SocketAddr>, LookupFailed> {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(hints))?;
    // Families that are no internet addresses are passed over.
    Ok(found.flatten().map(|found| found.sockaddr).collect())
}

impl From<LookupError> for LookupFailed {
    fn from(error: LookupError) -> Self {
        Self {
            kind: error.kind(),
            error: error.into(),
        }
    }
}

impl fmt::Display for LookupFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for LookupFailed {}
