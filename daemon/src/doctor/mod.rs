//! `wharfd --doctor`: the checks of `wharfctl doctor` that need the settings or the key of wharfd. It changes nothing,
//! and does not need a running wharfd.

mod handshake;
mod machine_id;

use std::{io::ErrorKind, net::ToSocketAddrs as _, path::Path};

use wharf_bus::{CheckResult, CheckVerdict, bad, ok};

use self::machine_id::machine_id;
use crate::{
    as_wharfd::as_wharfd,
    config::{ConfigError, ServerSettings, Settings},
};

/// All findings. The first one is about the configuration.
pub async fn findings(root: &Path) -> Vec<CheckResult> {
    let settings = as_wharfd(root, || Settings::read(root));
    let mut findings = vec![configuration(&settings)];
    if let Ok(settings) = &settings {
        findings.extend(the_server(settings).await);
        findings.extend(machine_id(root, &settings.endpoint));
    }
    findings
}

fn configuration(settings: &Result<Settings, ConfigError>) -> CheckResult {
    let check = "configuration";
    match settings {
        Ok(settings) => ok(check, format!("sound; endpoint name {}", settings.endpoint)),
        Err(ConfigError::Read { file, source })
            if source.kind() == ErrorKind::PermissionDenied
                && !nix::unistd::geteuid().is_root() =>
        {
            let found = format!("only root and wharfd may read {}", file.display());
            bad(check, CheckVerdict::Warn, found, "run this as root")
        }
        Err(error @ ConfigError::Value { key, .. }) if key == "psk-identity" => bad(
            check,
            CheckVerdict::Fail,
            error.to_string(),
            "correct it, and run: systemctl reload-or-restart wharfd. A key that is a credential can be read here only \
             while wharfd runs",
        ),
        Err(error) => bad(
            check,
            CheckVerdict::Fail,
            error.to_string(),
            "correct it, and run: systemctl reload-or-restart wharfd",
        ),
    }
}

/// A gateway without a server passes the check.
async fn the_server(settings: &Settings) -> Vec<CheckResult> {
    let Some(server) = &settings.server else {
        let found = "none is configured: only local users manage packages";
        return vec![ok("server", found)];
    };
    let name = name_service(server);
    let is_known = name.verdict == CheckVerdict::Ok;
    let mut findings = vec![name];
    if is_known {
        findings.extend(handshake(server, settings).await);
    }
    findings
}

fn name_service(server: &ServerSettings) -> CheckResult {
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
            CheckVerdict::Fail,
            format!("{} has no address: {error}", address.host()),
            "check the name in wharfd.toml, /etc/resolv.conf and the network",
        ),
    }
}

async fn handshake(server: &ServerSettings, settings: &Settings) -> Option<CheckResult> {
    let check = "handshake";
    let psk = server.psk.as_ref()?;
    let server = &server.address;
    let tried = handshake::try_with(server, psk, settings.timing.ack_timeout).await;
    Some(match tried {
        Ok(()) => ok(
            check,
            format!("{server} accepts the key of {:?}", psk.identity()),
        ),
        Err(why) => bad(
            check,
            CheckVerdict::Fail,
            why,
            "see \"When the server is not reached\" in /usr/share/doc/wharfd/operator.md",
        ),
    })
}
