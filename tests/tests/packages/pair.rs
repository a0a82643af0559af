//! A gateway and its twin, which booted from the same untouched system.

use std::{fs, path::Path, thread, time::Duration};

use wharf_tests::{
    booted::{Booted, install_wharfd},
    container::Container,
    nginx::Nginx,
    waiting::{wait_at_most, wait_until},
};

use crate::{
    archive::Archive,
    debian::Real,
    device::{Device, Difference, differences},
};

/// The longest wait until the units of both are at rest.
const REST: Duration = Duration::from_secs(15);

/// The folder of both for packages under test.
const FOLDER: &str = "srv/given";

/// Two gateways. Both have wharfd's package, so that its files and users are no difference.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) archive: Archive,
    // Dropped first: its address is the container's network.
    nginx: Nginx,
    /// The gateway that uses wharfd.
    pub(crate) ours: Booted,
    /// The gateway that uses apt and systemctl. wharfd runs there and is not used.
    pub(crate) twin: Container,
    /// The differences of the last comparison.
    pub(crate) told: Vec<Difference>,
}

/// User name and password of the origin.
const USER: &str = "gateway";
const PASSWORD: &str = "s3cret";

impl Pair {
    pub(crate) fn boot(packages: &[&Real]) -> Self {
        let archive = Archive::of(packages);
        let base = archive.root.as_path();
        // A container ends with the thread that booted it.
        let mut twin = Container::over(base);
        twin.boot();
        let ours = thread::scope(|scope| {
            scope.spawn(|| install_wharfd(&twin));
            Booted::registered_on(Container::over(base))
        });
        let nginx = Nginx::at(ours.container.network().outside(), USER, PASSWORD);
        let pair = Self {
            archive,
            nginx,
            ours,
            twin,
            told: Vec::new(),
        };
        pair.configure();
        for container in [&pair.ours.container, &pair.twin] {
            fs::create_dir_all(container.path().join(FOLDER)).expect("a folder for packages");
        }
        pair
    }

    fn configure(&self) {
        let root = self.ours.container.path();
        let file = root.join("etc/wharfd/wharfd.toml");
        let text = fs::read_to_string(&file).expect("wharfd.toml");
        let origin = self.nginx.uri("");
        let more = format!("[download]\ncredentials-over-http = [\"{origin}\"]\n");
        fs::write(&file, format!("max-instances = 64\n{text}\n{more}")).expect("wharfd.toml");
        fs::write(root.join("root/password"), PASSWORD).expect("a password");
        self.ours.container.sh("systemctl reload wharfd");
        self.wait_for_wharfd();
    }

    pub(crate) fn wait_for_wharfd(&self) {
        wait_until("wharfd on the bus", || {
            let asked = self.ours.container.try_sh("wharfctl status");
            asked.status.success().then_some(())
        });
    }

    /// Puts the package into both. Returns its path there, and the argument for wharfctl.
    pub(crate) fn give(&self, package: &Path, by_nginx: bool) -> (String, String) {
        let name = package
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        for container in [&self.ours.container, &self.twin] {
            fs::copy(package, container.path().join(FOLDER).join(name)).expect("a copy");
        }
        let inside = format!("/{FOLDER}/{name}");
        let here = self.ours.container.path().join(FOLDER).join(name);
        self.ours.sign(&here);
        if !by_nginx {
            return (inside.clone(), inside);
        }
        let signature = here.with_file_name(format!("{name}.asc"));
        let signature = fs::read(signature).expect("the signature");
        // A version may have an epoch. The file's name writes its colon as %3a.
        let served = name.replace('%', "-");
        self.nginx.serve(&format!("/{served}.asc"), signature);
        let uri = self
            .nginx
            .serve(&format!("/{served}"), fs::read(package).expect("a package"));
        let from = format!("--user {USER} --password-file /root/password {uri}");
        (inside, from)
    }

    /// Shuts both down in order, and boots them again.
    pub(crate) fn reboot(&mut self) {
        self.twin.reboot();
        self.ours.container.reboot();
        self.wait_for_wharfd();
    }

    /// Does one thing to ours and another to the twin, at the same time.
    pub(crate) fn both<A: Send, B: Send>(
        &self,
        ours: impl FnOnce(&Container) -> A + Send,
        twins: impl FnOnce(&Container) -> B + Send,
    ) -> (A, B) {
        thread::scope(|scope| {
            let twins = scope.spawn(|| twins(&self.twin));
            let ours = ours(&self.ours.container);
            (ours, twins.join().expect("the twin"))
        })
    }

    /// Does the same to both.
    pub(crate) fn each(&self, line: &str) -> Result<(), String> {
        let run = |container: &Container| crate::units::run(container, line).map(drop);
        let (ours, twins) = self.both(run, run);
        ours.and(twins)
    }

    /// The differences once both are at rest, without the expected and the earlier ones.
    pub(crate) fn new_differences(
        &mut self,
        expected: impl Fn(&Difference) -> bool,
    ) -> Vec<Difference> {
        let mut last = Vec::new();
        wait_at_most(REST, || {
            let changes = [self.ours.container.changes(), self.twin.changes()];
            let look = |container: &Container| Device::look(container, &changes);
            let (ours, twins) = self.both(look, look);
            last = differences(&ours, &twins);
            last.retain(|difference| !expected(difference));
            // Only units settle by themselves.
            let is_new = |it: &&Difference| !self.told.contains(it);
            let mut new = last.iter().filter(is_new);
            let moves = new.any(|it| it.fact.starts_with("unit "));
            (!moves).then_some(())
        });
        let new = last.iter().filter(|it| !self.told.contains(it));
        let new = new.cloned().collect();
        self.told = last;
        new
    }
}
