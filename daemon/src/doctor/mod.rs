//! `wharfd --doctor`: those checks of `wharfctl doctor` that need the settings of wharfd, or its key. Changes nothing, and
//! also works while wharfd runs, or cannot run.

mod handshake;
mod machine_id;

use std::{io::ErrorKind, net::ToSocketAddrs as _, path::Path};

use wharf_bus::{Finding, Verdict, bad, ok};

use self::machine_id::machine_id;
use crate::{
    as_wharfd::as_wharfd,
    config::{ConfigError, Server, Settings},
};

/// All findings. The first one is about the configuration.
pub async fn findings(root: &Path) -> Vec<Finding> {
    let settings = as_wharfd(root, || Settings::read(root));
    let mut findings = vec![configuration(&settings)];
    if let Ok(settings) = &settings {
        findings.extend(the_server(settings).await);
        findings.extend(machine_id(root, &settings.endpoint));
    }
    findings
}

fn configuration(settings: &Result<Settings, ConfigError>) -> Finding {
    let check = "configuration";
    match settings {
        Ok(settings) => ok(check, format!("sound; endpoint name {}", settings.endpoint)),
        Err(ConfigError::Read { file, source })
            if source.kind() == ErrorKind::PermissionDenied
                && !nix::unistd::geteuid().is_root() =>
        {
            let found = format!("{} is for root and wharfd alone", file.display());
            bad(check, Verdict::Warn, found, "ask as root")
        }
        Err(error @ ConfigError::Value { key, .. }) if key == "psk-identity" => bad(
            check,
            Verdict::Fail,
            error.to_string(),
            "correct that, unless it is a credential, which is seen here only while wharfd runs; then: systemctl \
             reload-or-restart wharfd",
        ),
        Err(error) => bad(
            check,
            Verdict::Fail,
            error.to_string(),
            "correct that, then: systemctl reload-or-restart wharfd",
        ),
    }
}

/// A missing server is no failure.
async fn the_server(settings: &Settings) -> Vec<Finding> {
    let Some(server) = &settings.server else {
        let found = "none is configured: packages are managed here alone";
        return vec![ok("server", found)];
    };
    let name = name_service(server);
    let is_known = name.verdict == Verdict::Ok;
    let mut findings = vec![name];
    if is_known {
        findings.extend(handshake(server, settings).await);
    }
    findings
}

fn name_service(server: &Server) -> Finding {
    let check = "server's name";
    let address = &server.address;
    match (address.host(), address.port()).to_socket_addrs() {
        Ok(mut found) => {
            let first = found.next().map(|first| first.ip().to_string());
            ok(
                check,
                format!("{} is {}", address.host(), first.unwrap_or_default()),
            )
        }
        Err(error) => bad(
            check,
            Verdict::Fail,
            format!("{} has no address: {error}", address.host()),
            "look at the name in wharfd.toml, at /etc/resolv.conf, and whether the network is up",
        ),
    }
}

async fn handshake(server: &Server, settings: &Settings) -> Option<Finding> {
    let check = "handshake";
    let psk = server.psk.as_ref()?;
    let server = &server.address;
    let tried = handshake::try_with(server, psk, settings.timing.ack_timeout).await;
    Some(match tried {
        Ok(()) => ok(
            check,
            format!("{server} takes the key of {:?}", psk.identity()),
        ),
        Err(why) => bad(
            check,
            Verdict::Fail,
            why,
            "\"When the server is not reached\" in /usr/share/doc/wharfd/operator.md has each",
        ),
    })
}
