//! Name lookup by the C library, which honours nsswitch, hosts and the administrator's resolver. Unlike `std`, it
//! reports whether a name does not exist or cannot be resolved now.

use std::{fmt, io, net::SocketAddr};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The resolver of the C library.
#[derive(Debug)]
pub(crate) struct LibraryResolver;

/// The reason why a lookup failed.
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
    // Other address families are skipped.
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
