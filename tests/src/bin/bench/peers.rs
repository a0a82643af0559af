//! Two programs that answer CoAP, each with a caller of its own: wharfd, and the server of libcoap.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::Command,
};

use wharf_tests::{gateway::Gateway, process::Process, waiting::wait_until};

use crate::{
    caller::CoapCaller,
    dtls::{IDENTITY, KEY},
};

/// Both programs with their callers.
pub(crate) struct Peers {
    pub(crate) gateway: Gateway,
    /// Calls wharfd as its server.
    pub(crate) agent: CoapCaller,
    /// The program of libcoap.
    pub(crate) libcoap: Process,
    /// Calls libcoap's server.
    pub(crate) other: CoapCaller,
}

impl Peers {
    /// Over plain UDP. The gateway is not started yet; libcoap's server runs.
    pub(crate) fn new() -> Self {
        let agent = CoapCaller::new();
        let gateway = gateway();
        gateway.configure(&format!("coap://{}", agent.address()), "");
        let (libcoap, other, _) = coap_server(&mut Command::new("coap-server-notls"));
        Self {
            gateway,
            agent,
            libcoap,
            other,
        }
    }

    /// Over DTLS with a pre-shared key. wharfd is registered.
    pub(crate) fn over_dtls() -> Self {
        let mut agent = CoapCaller::new();
        let mut gateway = gateway();
        let key: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
        gateway.write_key("etc/wharfd/psk", &key);
        gateway.configure(
            &format!("coaps://{}", agent.address()),
            &format!("psk-identity = \"{IDENTITY}\"\npsk-key-file = \"/etc/wharfd/psk\""),
        );
        gateway.start();
        agent.accept_secured_registration();
        let (libcoap, mut other, address) =
            coap_server(Command::new("coap-server-openssl").args(["-k", KEY]));
        let secured = address.port() + 1;
        other.call_secured((address.ip(), secured).into());
        Self {
            gateway,
            agent,
            libcoap,
            other,
        }
    }
}

/// A gateway whose `/3/0/0` is as long as `/time` of libcoap's server.
fn gateway() -> Gateway {
    let gateway = Gateway::debian();
    let dmi = gateway.path().join("sys/class/dmi/id");
    fs::create_dir_all(&dmi).expect("a folder for /3/0/0");
    fs::write(dmi.join("sys_vendor"), "Nov 21 00:00:00").expect("/3/0/0");
    gateway
}

/// libcoap's server, which lets callers create resources, with a caller and its address. It uses the next port for
/// DTLS.
fn coap_server(command: &mut Command) -> (Process, CoapCaller, SocketAddr) {
    let address = two_free_ports();
    command.args(["-A", "127.0.0.1", "-d", "8", "-p"]);
    command.arg(address.port().to_string());
    let server = Process::spawn(command);
    let mut caller = CoapCaller::new();
    caller.call(address);
    wait_until("libcoap's server", || {
        caller.is_answered("/time").then_some(())
    });
    (server, caller, address)
}

/// The first of two ports that are free.
fn two_free_ports() -> SocketAddr {
    wait_until("two free ports", || {
        let first = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        let address = first.local_addr().ok()?;
        let next = address.port().checked_add(1)?;
        UdpSocket::bind((Ipv4Addr::LOCALHOST, next)).ok()?;
        Some(address)
    })
}
