//! A gateway: a root with the real wharf-installer and the real wharfd, wharfd as its own user.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    debian_root::DebianRoot,
    network::Network,
    opkg_root::OpkgRoot,
    package::Package,
    process::Process,
    programs::{Reachable, programs},
    rpm_root::RpmRoot,
    scratch_root::{ScratchRoot, WHARFD},
    waiting::wait_until,
};

/// The endpoint name of gateways in tests.
pub const ENDPOINT: &str = "gateway";

/// A gateway. A drop ends all its programs.
#[derive(Debug)]
pub struct Gateway {
    daemon: Option<Process>,
    installer: Option<Process>,
    programs: Reachable,
    root: Root,
    place: Place,
}

/// The network of wharfd.
#[derive(Debug)]
enum Place {
    /// The network of the test.
    Here,
    /// In a network of its own.
    Network(Network),
    /// The network of the test, with this file as `/etc/hosts`.
    Hosts(PathBuf),
}

#[derive(Debug)]
enum Root {
    Debian(DebianRoot),
    Rpm(RpmRoot),
    Opkg(OpkgRoot),
    Scratch(ScratchRoot),
}

/// Settings in wharfd.toml for a server.
pub const SHORT_TIMES: &str = "\
[timing]
retry-first = 40
retry-longest = 400
connect = 10000
stall = 10000
";

impl Gateway {
    /// A gateway with apt on a Debian root, without running programs.
    pub fn debian() -> Self {
        Self::on(Root::Debian(DebianRoot::new()), "")
    }

    /// A gateway with the simulated package manager, without running programs.
    pub fn simulated() -> Self {
        let gateway = Self::on(Root::Scratch(ScratchRoot::new()), "");
        gateway.write("etc/wharfd/installer.toml", "backend = \"simulated\"\n");
        gateway
    }

    /// A gateway with dnf 4 or dnf 5 on this root, without running programs.
    pub fn rpm(root: RpmRoot) -> Self {
        Self::on(Root::Rpm(root), "backend = \"dnf\"\n")
    }

    /// A gateway with opkg on this root, without running programs.
    pub fn opkg(root: OpkgRoot) -> Self {
        Self::on(Root::Opkg(root), "backend = \"opkg\"\n")
    }

    fn on(root: Root, installer: &str) -> Self {
        let gateway = Self {
            daemon: None,
            installer: None,
            programs: Reachable::of(programs()),
            root,
            place: Place::Here,
        };
        gateway.write("etc/wharfd/installer.toml", installer);
        gateway
    }

    /// Configures wharfd for the server at `uri`, with short times, and these other settings of the server.
    pub fn configure(&self, uri: &str, server: &str) {
        let unprotected = uri.starts_with("coap://");
        let text = format!(
            "endpoint = \"{ENDPOINT}\"\n\n[[server]]\nuri = \"{uri}\"\nunprotected = {unprotected}\n{server}\n\
             {SHORT_TIMES}"
        );
        self.write("etc/wharfd/wharfd.toml", &text);
    }

    /// Allows User Name and Password over http for these origins only.
    pub fn allow_credentials_over_http(&self, origins: &[&str]) {
        let folder = "etc/wharfd/wharfd.toml.d";
        let path = self.path().join(folder);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let text = format!("[download]\ncredentials-over-http = {origins:?}\n");
        self.write(&format!("{folder}/download.toml"), &text);
    }

    /// Writes a file below the root.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    }

    /// Writes a file that only wharfd can read.
    pub fn write_key(&self, path: &str, key: &str) {
        self.write(path, &format!("{key}\n"));
        let file = self.path().join(path);
        let alone = fs::set_permissions(&file, fs::Permissions::from_mode(0o600));
        let owned = alone.and_then(|()| chown(&file, Some(WHARFD.id), Some(WHARFD.id)));
        owned.unwrap_or_else(|error| panic!("{file:?}: {error}"));
    }

    /// The path for `--root`.
    pub fn path(&self) -> PathBuf {
        match &self.root {
            Root::Debian(root) => root.path(),
            Root::Rpm(root) => root.path(),
            Root::Opkg(root) => root.path(),
            Root::Scratch(root) => root.path(),
        }
    }

    /// Builds a package for the package manager of this gateway.
    pub fn build(&self, package: &Package, into: &Path) -> PathBuf {
        match &self.root {
            Root::Debian(_) => package.build(into),
            Root::Rpm(_) => package.as_rpm().build(into),
            Root::Opkg(_) => package.build_ipk(into),
            Root::Scratch(_) => package.build_simulated(into),
        }
    }

    /// The Debian system.
    ///
    /// # Panics
    ///
    /// If the gateway is simulated.
    pub fn debian_root(&self) -> &DebianRoot {
        match &self.root {
            Root::Debian(root) => root,
            other => panic!("this gateway has no Debian root: {other:?}"),
        }
    }

    /// A command that runs `program` of the package manager inside.
    ///
    /// # Panics
    ///
    /// If the gateway is simulated.
    pub fn command_inside(&self, program: &str) -> Command {
        match &self.root {
            Root::Debian(root) => root.command(program),
            Root::Rpm(root) => root.command(program),
            Root::Opkg(root) => root.command(program),
            Root::Scratch(_) => panic!("a simulated gateway has no programs"),
        }
    }

    /// Starts both programs.
    pub fn start(&mut self) {
        self.start_installer(&[]);
        self.start_daemon(&[]);
    }

    /// Starts wharf-installer with these variables, and waits for its socket.
    pub fn start_installer(&mut self, variables: &[(&str, &str)]) {
        let mut command = self.command("wharf-installer", variables);
        self.installer = Some(Process::spawn(&mut command));
        let socket = self.path().join("run/wharf-installer.sock");
        wait_until("the installer's socket", || socket.exists().then_some(()));
    }

    /// Starts wharfd with these variables.
    pub fn start_daemon(&mut self, variables: &[(&str, &str)]) {
        let mut command = self.command("wharfd", variables);
        match &self.place {
            Place::Here => {
                command.uid(WHARFD.id).gid(WHARFD.id);
            }
            Place::Network(network) => command = as_wharfd(network.command("setpriv"), &command),
            Place::Hosts(file) => command = as_wharfd(among_hosts(file), &command),
        }
        self.daemon = Some(Process::spawn(&mut command));
    }

    /// Moves wharfd to this network at its next start. The other programs stay.
    pub fn move_daemon_to(&mut self, network: Network) {
        self.place = Place::Network(network);
    }

    /// The network of wharfd.
    ///
    /// # Panics
    ///
    /// If it has no network of its own.
    pub fn network(&mut self) -> &mut Network {
        match &mut self.place {
            Place::Network(network) => network,
            other => panic!("wharfd was not moved to a network: {other:?}"),
        }
    }

    /// From now on wharfd resolves only this name, to these addresses. The first name needs a restart of wharfd.
    pub fn name(&mut self, name: &str, addresses: &[Ipv4Addr]) {
        let lines = addresses
            .iter()
            .map(|address| format!("{address} {name}\n"));
        self.write("hosts", &lines.collect::<String>());
        self.place = Place::Hosts(self.path().join("hosts"));
    }

    /// A command that runs a program of wharfd on this root.
    pub fn command(&self, program: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(self.programs.path().join(program));
        command
            .arg("--root")
            .arg(self.path())
            .envs(variables.iter().copied())
            .env("RUST_BACKTRACE", "0")
            .current_dir("/");
        command
    }

    /// wharfd.
    pub fn daemon(&mut self) -> &mut Process {
        self.daemon.as_mut().expect("wharfd was started")
    }

    /// wharf-installer.
    pub fn installer(&mut self) -> &mut Process {
        self.installer
            .as_mut()
            .expect("wharf-installer was started")
    }

    /// Whether both programs are still running.
    pub fn is_running(&mut self) -> bool {
        self.daemon().is_running() && self.installer().is_running()
    }

    /// A copy of wharfd's database that no process has open.
    pub fn database(&self) -> PathBuf {
        self.path().join("var/lib/wharfd/wharfd.db")
    }
}

/// setpriv(1), with this file as `/etc/hosts`.
fn among_hosts(file: &Path) -> Command {
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" /etc/hosts && exec setpriv \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(file);
    command
}

/// By setpriv(1), since only root can enter another namespace.
fn as_wharfd(mut setpriv: Command, program: &Command) -> Command {
    setpriv
        .args([
            format!("--reuid={}", WHARFD.id),
            format!("--regid={}", WHARFD.id),
        ])
        .args(["--clear-groups", "--"])
        .arg(program.get_program())
        .args(program.get_args())
        .envs(
            program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir("/");
    setpriv
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // The programs end before the root, whose drop kills every process in it.
        self.daemon = None;
        self.installer = None;
    }
}
