//! A network namespace with one link to the test: the gateway has an address of its own.

use std::{net::Ipv4Addr, path::PathBuf, process::Command};

use crate::{command::output_of, folder::Folder};

/// A namespace that exists while its file is mounted.
#[derive(Debug)]
pub struct Network {
    namespace: PathBuf,
    link: String,
    outside: Ipv4Addr,
    inside: Ipv4Addr,
}

/// Addresses for tests between networks (RFC 2544), which no machine uses: four for each link, and as many in the other
/// half for links that change theirs.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const LINKS: u32 = (1 << 16) / 4;

impl Network {
    /// Makes one, mounted at a file in `folder`.
    pub fn new(folder: &Folder) -> Self {
        let namespace = folder.join("network");
        std::fs::write(&namespace, []).unwrap_or_else(|error| panic!("{namespace:?}: {error}"));
        let option = format!("--net={}", namespace.display());
        output_of(Command::new("unshare").args([&option, "ip", "link", "set", "lo", "up"]));
        let (link, number) = (0..LINKS)
            .find_map(|number| {
                let link = format!("wharf{number}");
                // The kernel gives a name only once, so this number is unique.
                let peer = ["type", "veth", "peer", "name", "host0", "netns"];
                let mut add = Command::new("ip");
                add.args(["link", "add", &link]).args(peer).arg(&namespace);
                let added = add.output().expect("ip of iproute2");
                added.status.success().then_some((link, number))
            })
            .expect("a link that nobody has");
        let address = |last| Ipv4Addr::from(u32::from(FIRST) + 4 * number + last);
        let network = Self {
            namespace,
            link,
            outside: address(1),
            inside: address(2),
        };
        network.set_up();
        network
    }

    fn set_up(&self) {
        let (outside, inside) = (
            format!("{}/30", self.outside),
            format!("{}/30", self.inside),
        );
        let link = self.link.as_str();
        output_of(Command::new("ip").args(["address", "add", &outside, "dev", link]));
        output_of(Command::new("ip").args(["link", "set", link, "up"]));
        output_of(
            self.command("ip")
                .args(["address", "add", &inside, "dev", "host0"]),
        );
        output_of(self.command("ip").args(["link", "set", "host0", "up"]));
    }

    /// Replaces the inner address, like a new lease.
    pub fn change_address(&mut self) {
        let old = format!("{}/30", self.inside);
        self.inside = Ipv4Addr::from(u32::from(self.inside) + (1 << 16));
        let new = format!("{}/32", self.inside);
        let outside = format!("{}/32", self.outside);
        output_of(Command::new("ip").args(["route", "add", &new, "dev", &self.link]));
        for change in [
            ["address", "delete", &old],
            ["address", "add", &new],
            ["route", "add", &outside],
        ] {
            output_of(self.command("ip").args(change).args(["dev", "host0"]));
        }
    }

    /// A command that runs `program` in this network on this machine.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace.display()))
            .arg(program);
        command
    }

    /// The file of the namespace.
    pub fn namespace(&self) -> &std::path::Path {
        &self.namespace
    }

    /// The address of this test, seen from inside.
    pub fn outside(&self) -> Ipv4Addr {
        self.outside
    }

    /// The inner address.
    pub fn inside(&self) -> Ipv4Addr {
        self.inside
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Removes both ends at once: processes inside may keep the namespace a moment longer.
        let _ = Command::new("ip")
            .args(["link", "delete", &self.link])
            .output();
    }
}
