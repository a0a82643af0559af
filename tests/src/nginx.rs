//! nginx as an origin, as real ones are.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
};

use crate::{folder::Folder, process::Process, waiting::wait_until};

/// A running nginx. A drop ends it.
#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    process: Process,
    folder: Folder,
}

impl Nginx {
    /// An nginx that requires this user name and password.
    pub fn new(user_name: &str, password: &str) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, user_name, password)
    }

    /// The same at this address of the machine.
    pub fn at(address: Ipv4Addr, user_name: &str, password: &str) -> Self {
        let folder = Folder::new();
        folder.make("served");
        let users = format!("{user_name}:{{PLAIN}}{password}\n");
        fs::write(folder.join("users"), users).expect("a file of users");
        let address = free_address(address);
        let configuration = folder.join("nginx.conf");
        fs::write(&configuration, configured(&folder, address)).expect("a configuration");
        let mut process = Process::spawn(
            Command::new("nginx")
                .arg("-c")
                .arg(&configuration)
                .args(["-e", "stderr"]),
        );
        wait_until("nginx", || {
            assert!(process.is_running(), "nginx: {:?}", process.errors().all());
            TcpStream::connect(address).ok()
        });
        Self {
            address,
            process,
            folder,
        }
    }

    /// Serves `content` at `path`, and returns its URI.
    pub fn serve(&self, path: &str, content: impl AsRef<[u8]>) -> String {
        let file = self.served().join(path.trim_start_matches('/'));
        fs::write(&file, content).unwrap_or_else(|error| panic!("no {file:?}: {error}"));
        self.uri(path)
    }

    /// The URI of `path`.
    pub fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Kills it with all running downloads.
    pub fn stop(&mut self) {
        self.process.terminate();
    }

    /// The folder of all files that it serves.
    pub fn served(&self) -> PathBuf {
        self.folder.join("served")
    }
}

fn configured(folder: &Folder, address: SocketAddr) -> String {
    let here = folder.path().display();
    format!(
        "daemon off;
master_process off;
pid {here}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    server {{
        listen {address};
        root {here}/served;
        auth_basic packages;
        auth_basic_user_file {here}/users;
    }}
}}
"
    )
}

/// A port that was free a moment ago: nginx cannot report the port of a socket.
fn free_address(address: Ipv4Addr) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    listener.local_addr().expect("its address")
}
