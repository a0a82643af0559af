//! A gateway's own system bus: the distribution's dbus-daemon with the distribution's policy and ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{process::Process, programs::workspace, waiting::wait_until};

/// Debian's configuration of every system bus.
const SYSTEM_CONF: &str = "/usr/share/dbus-1/system.conf";

/// In a mount namespace with the users of the root `$0`.
const IN_ROOT: &str = "for file in passwd group; do mount --bind \"$0/etc/$file\" /etc/$file || exit 1; done; \
                       exec dbus-daemon --config-file=\"$0/run/dbus/system.conf\" --nofork --nopidfile --print-address";

/// A running dbus-daemon. A drop ends the bus.
#[derive(Debug)]
pub struct SystemBus {
    root: PathBuf,
    daemon: Option<Process>,
}

impl SystemBus {
    /// The bus of the system below `root`, with wharfd's shipped policy.
    pub fn start(root: &Path) -> Self {
        Self::with_policy(root, &workspace().join("systemd/org.wharfd.Agent1.conf"))
    }

    /// The same, with a policy that allows every message.
    pub fn permissive(root: &Path) -> Self {
        let rules = root.join("etc/permissive.conf");
        let policy = "<busconfig><policy context=\"mandatory\"><allow own=\"*\"/>\
                      <allow send_type=\"method_call\"/></policy></busconfig>";
        fs::write(&rules, policy).expect("a policy");
        Self::with_policy(root, &rules)
    }

    fn with_policy(root: &Path, rules: &Path) -> Self {
        fs::create_dir_all(root.join("run/dbus")).expect("run/dbus");
        let mut bus = Self {
            root: root.to_owned(),
            daemon: None,
        };
        let configuration = root.join("run/dbus/system.conf");
        fs::write(configuration, system_conf(&bus.socket(), rules)).expect("the configuration");
        bus.start_again();
        bus
    }

    fn socket(&self) -> PathBuf {
        self.root.join("run/dbus/system_bus_socket")
    }

    /// Its address, as in `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    /// dbus-send, without its arguments.
    pub fn send(&self) -> Command {
        let mut command = Command::new("dbus-send");
        command.arg(format!("--bus={}", self.address()));
        command
    }

    /// Ends it with all connections.
    pub fn stop(&mut self) {
        self.daemon = None;
        let _ = fs::remove_file(self.socket());
    }

    /// Starts it after [`Self::stop`].
    pub fn start_again(&mut self) {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", IN_ROOT])
            .arg(&self.root);
        let daemon = Process::spawn(&mut command);
        daemon.output().wait_for("unix:path=");
        let socket = self.socket();
        wait_until("the socket of the bus", || socket.exists().then_some(()));
        self.daemon = Some(daemon);
    }
}

/// Debian's policies, without the settings that only a machine's own bus can have.
fn system_conf(socket: &Path, rules: &Path) -> String {
    let debian = fs::read_to_string(SYSTEM_CONF).expect(SYSTEM_CONF);
    let policies: Vec<&str> = debian
        .split_inclusive("</policy>")
        .filter_map(|part| part.find("<policy").map(|start| &part[start..]))
        .filter(|part| part.ends_with("</policy>"))
        .collect();
    format!(
        "<busconfig><type>system</type><auth>EXTERNAL</auth><listen>unix:path={}</listen>{}\
         <include>{}</include></busconfig>",
        socket.display(),
        policies.concat(),
        rules.display()
    )
}
