//! The requests of the server in their order, and the state in which the gateway rests after each.

use std::{collections::BTreeMap, fs};

use wharf_tests::{
    folder::Folder,
    keys::{GnupgKeys, Signer},
    manager::Manager,
    origin::Origin,
    package::{Package, Script, incompressible},
    server::{Client, Response, format},
};

/// The name of the package.
pub(crate) const NAME: &str = "hello";
/// User Name at the origin.
pub(crate) const USER_NAME: &str = "fleet-of-lighthouses";
/// Password at the origin.
pub(crate) const PASSWORD: &str = "correct-horse-battery";
/// The ports of the server and the origin, in each world.
pub(crate) const SERVER: u16 = 5683;
pub(crate) const ORIGIN: u16 = 8080;

/// One request that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Write the URI of this release, with User Name and Password.
    Pull(usize),
    /// Write the package of this release.
    Push(usize),
    Install,
    ForUpdate,
    Uninstall,
}

use Ask::{ForUpdate, Install, Pull, Push, Uninstall};

/// All requests.
pub(crate) const ASKS: [Ask; 7] = [
    Pull(0),
    Install,
    ForUpdate,
    Pull(1),
    Install,
    Uninstall,
    Push(2),
];

/// Some of the requests, under one name.
pub(crate) struct Story {
    pub(crate) name: &'static str,
    pub(crate) asks: usize,
}

pub(crate) const STORIES: [Story; 5] = [
    story("pull", 1),
    story("install", 1),
    story("upgrade", 3),
    story("removal", 1),
    story("push", 1),
];

const fn story(name: &'static str, asks: usize) -> Story {
    Story { name, asks }
}

/// A state without a running operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Update State and Update Result.
    pub(crate) update: &'static str,
    /// PkgVersion of the package; none if PkgName is empty.
    pub(crate) told: Option<usize>,
    /// The release that the device has.
    pub(crate) device: Option<usize>,
}

/// Before the first request, and after each one.
pub(crate) const RESTS: [Rest; ASKS.len() + 1] = [
    rest("0/0", None, None),
    rest("3/0", Some(0), None),
    rest("4/2", Some(0), Some(0)),
    rest("0/0", Some(0), Some(0)),
    rest("3/0", Some(1), Some(0)),
    rest("4/2", Some(1), Some(1)),
    rest("0/0", None, None),
    rest("3/0", Some(2), None),
];

const fn rest(update: &'static str, told: Option<usize>, device: Option<usize>) -> Rest {
    Rest {
        update,
        told,
        device,
    }
}

impl Rest {
    /// Whether a server that reads these values sees this state.
    pub(crate) fn is(&self, update: &str, name: &str, version: &str) -> bool {
        let release = self.told;
        let (of_name, of_version) = release.map_or(("", ""), |release| (NAME, VERSIONS[release]));
        (self.update, of_name, of_version) == (update, name, version)
    }
}

/// Update State, Update Result and Status Reason of a push without its last blocks. No other request may fail: the
/// origin serves each package again, and the packages cannot fail by themselves.
pub(crate) const CUT_OFF: (&str, &str) = (
    "0/52",
    "20: the server stopped sending the package: write it again from its first block",
);

impl Ask {
    pub(crate) fn send(self, client: &Client<'_>, vendor: &Vendor) -> Response {
        match self {
            Pull(release) => {
                let uri = format!("http://127.0.0.1:{ORIGIN}/{release}");
                let user = (14, USER_NAME.as_bytes());
                let order = [(3, uri.as_bytes()), user, (15, PASSWORD.as_bytes())];
                client.write_instance("/9/0", &order)
            }
            Push(release) => {
                let package = &vendor.releases[release].pushed;
                client.push("/9/0/2", format::OPAQUE, package, 1024)
            }
            Install => client.execute("/9/0/4", ""),
            ForUpdate => client.execute("/9/0/6", "1"),
            Uninstall => client.execute("/9/0/6", ""),
        }
    }
}

/// The versions of the releases.
pub(crate) const VERSIONS: [&str; 3] = ["1.0-1", "2.0-1", "3.0-1"];

/// The number of files that a release's postinst writes.
pub(crate) const MADE: usize = 12;
/// The folder of those files.
pub(crate) const MADE_IN: &str = "var/lib/hello";

/// The files of the postinst by their names: each is longer than the one before.
pub(crate) fn made(release: usize) -> BTreeMap<String, Vec<u8>> {
    let content = |file| {
        let line = format!("{} wrote file {file}\n", VERSIONS[release]);
        line.repeat(1 + file * 40).into_bytes()
    };
    (0..MADE)
        .map(|file| (file.to_string(), content(file)))
        .collect()
}

/// The folder of the files that are in the package.
pub(crate) const SHIPPED_IN: &str = "usr/share/hello";

/// The files in the package by their names.
pub(crate) fn shipped(release: usize) -> BTreeMap<String, Vec<u8>> {
    let version = format!("{}\n", VERSIONS[release]);
    let files = (0..5).map(|file| (file.to_string(), version.repeat(900).into_bytes()));
    let others = [
        ("version", version.clone().into_bytes()),
        ("padding", incompressible(PADDING)),
    ];
    let others = others.map(|(name, content)| (name.to_owned(), content));
    files.chain(others).collect()
}

/// The size of a file that no compression reduces.
const PADDING: usize = 200_000;

/// The vendor of the packages.
pub(crate) struct Vendor {
    /// The package manager of its customers.
    pub(crate) manager: Manager,
    pub(crate) keys: GnupgKeys,
    releases: Vec<Release>,
}

/// A package, in both ways that it is delivered.
struct Release {
    package: Vec<u8>,
    signature: Vec<u8>,
    /// With its signature in the same file.
    pushed: Vec<u8>,
}

impl Vendor {
    pub(crate) fn new(manager: Manager) -> Self {
        let keys = GnupgKeys::new();
        let folder = Folder::new();
        let build = |release| {
            let file = manager.build(&package(release), folder.path());
            let signature = keys.sign_beside(Signer::Vendor, &file);
            Release {
                package: fs::read(&file).unwrap(),
                signature: fs::read(signature).unwrap(),
                pushed: manager.signed(&keys, &file),
            }
        };
        let releases = (0..VERSIONS.len()).map(build).collect();
        Self {
            manager,
            keys,
            releases,
        }
    }

    /// An origin of the packages in the world of this thread.
    pub(crate) fn origin(&self) -> Origin {
        let origin = Origin::http_at_port(ORIGIN);
        origin.require(USER_NAME, PASSWORD);
        for (number, release) in self.releases.iter().enumerate() {
            origin.serve(&format!("/{number}"), release.package.clone());
            origin.serve(&format!("/{number}.asc"), release.signature.clone());
        }
        origin
    }
}

/// Its postinst writes files and syncs none, as real packages do. The first argument of a script is dpkg's word or rpm's number.
fn package(release: usize) -> Package {
    let version = VERSIONS[release];
    let write = format!(
        "mkdir -p /{MADE_IN}\nfor file in $(seq 0 {last}); do\n\
         for line in $(seq 0 $((file * 40))); do echo \"{version} wrote file $file\"; done >/{MADE_IN}/$file\ndone",
        last = MADE - 1
    );
    let package = Package::new(NAME, version)
        .folder(&format!("/{SHIPPED_IN}"))
        .padding(PADDING)
        .script(
            Script::Postinst,
            &format!("case $1 in configure|[1-9])\n{write}\nesac"),
        )
        .script(
            Script::Postrm,
            &format!("case $1 in remove|0) rm -rf /{MADE_IN}; esac"),
        );
    let files = shipped(release).into_iter();
    let files = files.filter(|(name, _)| !["version", "padding"].contains(&name.as_str()));
    files.fold(package, |package, (name, content)| {
        package.file(&format!("/{SHIPPED_IN}/{name}"), content)
    })
}
