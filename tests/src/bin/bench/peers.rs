//! Two that answer CoAP, each with a caller of its own: wharfd, and the server of libcoap.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::Command,
};

use wharf_tests::{gateway::Gateway, process::Process, waiting::wait_until};

use crate::caller::Caller;

/// Both.
pub(crate) struct Peers {
    pub(crate) gateway: Gateway,
    /// Calls wharfd, and is its server.
    pub(crate) agent: Caller,
    /// What runs of libcoap.
    pub(crate) libcoap: Process,
    /// Calls that.
    pub(crate) other: Caller,
}

impl Peers {
    /// The gateway is not started yet; libcoap's server answers.
    pub(crate) fn new() -> Self {
        let gateway = Gateway::debian();
        let dmi = gateway.path().join("sys/class/dmi/id");
        fs::create_dir_all(&dmi).expect("a folder for /3/0/0");
        fs::write(dmi.join("sys_vendor"), "Nov 21 00:00:00").expect("/3/0/0");
        let agent = Caller::new();
        gateway.configure(&format!("coap://{}", agent.address()), "");
        let (libcoap, address) = coap_server();
        let mut other = Caller::new();
        other.call(address);
        wait_until("libcoap's server", || {
            other.is_answered("/time").then_some(())
        });
        Self {
            gateway,
            agent,
            libcoap,
            other,
        }
    }
}

/// libcoap's server, which lets callers make resources.
fn coap_server() -> (Process, SocketAddr) {
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = free.local_addr().expect("its address");
    drop(free);
    let mut command = Command::new("coap-server-notls");
    command.args(["-A", "127.0.0.1", "-d", "8", "-p"]);
    command.arg(address.port().to_string());
    (Process::spawn(&mut command), address)
}
