//! A root with the real wharf-installer, and clients on its job socket with the user ids of wharfd, root and others.

use std::{
    fs::{self, File},
    io::{IoSlice, IoSliceMut, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

use nix::{
    libc,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
        connect, recvmsg, sendmsg, socket,
    },
};
use wharf_frames::{
    Cause, Failure, MAX_FRAME, OperationId, PackageName, StageId, Step, decode, encode,
    installer::{Found, InstallerReply, InstallerRequest, JobStatus, Outcome, SealedPackage},
};
use wharf_tests::{
    container::Container,
    debian_root::DebianRoot,
    folder::Folder,
    opkg_root::{OpkgRoot, add_opkg},
    process::Process,
    programs::{Reachable, program, workspace},
    rpm_root::{RpmRoot, is_dnf5},
    scratch_root::{ScratchRoot, WHARFD, add_folders, add_users},
    waiting::wait_until,
};

pub(crate) use wharf_tests::{
    keys::{GnupgKeys, Signer},
    package::{Package as Deb, Script},
};

/// The root of one test.
pub(crate) enum Place {
    Debian(DebianRoot),
    Rpm(RpmRoot),
    Opkg(OpkgRoot),
    Scratch(ScratchRoot),
    Booted(Container),
    BootedRpm(Container),
    BootedOpkg(Container),
}

impl Place {
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Debian(root) => root.path(),
            Self::Rpm(root) => root.path(),
            Self::Opkg(root) => root.path(),
            Self::Scratch(root) => root.path(),
            Self::Booted(container) | Self::BootedRpm(container) | Self::BootedOpkg(container) => {
                container.path()
            }
        }
    }

    /// A package for the package manager of this place.
    pub(crate) fn build(&self, package: &Deb, into: &Path) -> PathBuf {
        match self {
            Self::Scratch(_) => package.build_simulated(into),
            Self::Rpm(_) | Self::BootedRpm(_) => package.as_rpm().build(into),
            Self::Opkg(_) | Self::BootedOpkg(_) => package.build_ipk(into),
            _ => package.build(into),
        }
    }

    /// The root for rpm and dnf by hand.
    pub(crate) fn rpm(&self) -> &RpmRoot {
        match self {
            Self::Rpm(root) => root,
            _ => panic!("there is no rpm"),
        }
    }

    /// The root for opkg by hand.
    pub(crate) fn opkg(&self) -> &OpkgRoot {
        match self {
            Self::Opkg(root) => root,
            _ => panic!("there is no opkg"),
        }
    }

    /// The root for apt and dpkg by hand.
    pub(crate) fn debian(&self) -> &DebianRoot {
        match self {
            Self::Debian(root) => root,
            _ => panic!("there is no dpkg"),
        }
    }
}

/// Puts our programs and the unit of a job where the package has them, and boots.
fn switched_on(mut container: Container) -> Container {
    let root = container.path();
    add_users(&root);
    add_folders(&root);
    let folder = root.join("usr/libexec/wharfd");
    fs::create_dir_all(&folder).unwrap();
    copy_programs(&folder);
    let unit = "wharf-job@.service";
    let shipped = workspace().join("systemd").join(unit);
    fs::copy(shipped, root.join("usr/lib/systemd/system").join(unit)).unwrap();
    container.boot();
    container
}

/// A root with wharf-installer on it.
pub(crate) struct Machine {
    pub(crate) place: Place,
    pub(crate) keys: GnupgKeys,
    pub(crate) packages: Folder,
    installer: Option<Process>,
    programs: Reachable,
    next: AtomicU8,
    starts: u32,
}

impl Machine {
    /// With the simulated package manager.
    pub(crate) fn simulated() -> Self {
        Self::on(
            Place::Scratch(ScratchRoot::new()),
            "backend = \"simulated\"\n",
        )
    }

    /// With apt.
    pub(crate) fn debian() -> Self {
        Self::on(Place::Debian(DebianRoot::new()), "")
    }

    /// With dnf 4, or dnf 5 if `WHARF_DNF5` is set.
    pub(crate) fn dnf() -> Self {
        let root = match is_dnf5() {
            true => RpmRoot::dnf5(),
            false => RpmRoot::dnf4(),
        };
        Self::on(Place::Rpm(root), "backend = \"dnf\"\n")
    }

    /// With opkg; none where this machine has none.
    pub(crate) fn opkg() -> Option<Self> {
        let place = Place::Opkg(OpkgRoot::new()?);
        Some(Self::on(place, "backend = \"opkg\"\n"))
    }

    /// With apt, on a system that systemd runs. Our programs and the unit of a job are at their places of the package.
    pub(crate) fn booted() -> Self {
        let container = switched_on(Container::new());
        Self::on(Place::Booted(container), "").started()
    }

    /// As [`Machine::booted`], with dnf 4.
    pub(crate) fn booted_with_dnf() -> Self {
        let container = switched_on(Container::over(RpmRoot::system()));
        Self::on(Place::BootedRpm(container), "backend = \"dnf\"\n").started()
    }

    /// As [`Machine::booted`], with opkg; none where this machine has none.
    pub(crate) fn booted_with_opkg() -> Option<Self> {
        let container = Container::new();
        let place = match add_opkg(&container.path()) {
            true => Place::BootedOpkg(switched_on(container)),
            false => return None,
        };
        Some(Self::on(place, "backend = \"opkg\"\n").started())
    }

    pub(crate) fn container(&mut self) -> &mut Container {
        match &mut self.place {
            Place::Booted(container)
            | Place::BootedRpm(container)
            | Place::BootedOpkg(container) => container,
            _ => panic!("this machine does not boot"),
        }
    }

    fn on(place: Place, policy: &str) -> Self {
        let machine = Self {
            place,
            keys: GnupgKeys::new(),
            packages: Folder::new(),
            programs: Reachable::of(wharf_inspect().parent().unwrap()),
            installer: None,
            next: AtomicU8::new(1),
            starts: 0,
        };
        machine.keys.trust(Signer::Vendor, &machine.root());
        machine.policy(policy);
        machine
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.place.path()
    }

    /// Adds to root's policy, before the scopes of keys.
    pub(crate) fn policy(&self, text: &str) {
        let path = self.root().join("etc/wharfd/installer.toml");
        let before = fs::read_to_string(&path).unwrap_or_default();
        let keys = before.find("\n[[key]]").unwrap_or(before.len());
        let (settings, keys) = before.split_at(keys);
        fs::write(path, [settings, text, keys].concat()).unwrap();
    }

    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// With wharf-installer running.
    pub(crate) fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts wharf-installer with these variables, and waits until it can be connected to.
    pub(crate) fn start_with(&mut self, variables: &[(&str, &str)]) {
        match &self.place {
            Place::Booted(container)
            | Place::BootedRpm(container)
            | Place::BootedOpkg(container) => {
                container
                    .sh("systemd-run --quiet --unit=wharf-installer /usr/libexec/wharfd/wharf-installer");
                wait_until("the job socket", || self.try_wharfd().map(drop));
            }
            _ => self.start_program(&self.program("wharf-installer"), variables),
        }
    }

    pub(crate) fn start_program(&mut self, program: &Path, variables: &[(&str, &str)]) {
        let socket = self.root().join("run/wharf-installer.sock");
        let _ = fs::remove_file(&socket);
        self.starts += 1;
        let mut command = Command::new(program);
        command
            .arg("--root")
            .arg(self.root())
            .envs(variables.iter().copied());
        let mut process = Process::spawn(&mut command);
        wait_until("the job socket", || {
            (socket.exists() || process.exit_status().is_some()).then_some(())
        });
        self.installer = Some(process);
    }

    /// A program of ours, in a folder that wharf-inspect's user can read.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.path().join(name)
    }

    /// Copies of our programs, which the test may change before it starts wharf-installer there.
    pub(crate) fn programs(&self) -> PathBuf {
        let folder = self.root().join("programs");
        fs::create_dir(&folder).unwrap();
        copy_programs(&folder);
        folder
    }

    /// The command lines of the programs that run in the root.
    pub(crate) fn programs_inside(&self) -> Vec<String> {
        let root = self.root().canonicalize().unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let processes = processes.map(|process| process.path());
        let inside =
            processes.filter(|it| fs::read_link(it.join("root")).is_ok_and(|it| it == root));
        inside
            .map(|it| fs::read_to_string(it.join("cmdline")).unwrap_or_default())
            .map(|words| words.replace('\0', " "))
            .filter(|words| !words.is_empty())
            .collect()
    }

    /// Cancels a job, and waits until its programs have ended.
    pub(crate) fn cancel_what_runs(&self, operation: OperationId) {
        assert_ne!(self.programs_inside(), [""; 0]);
        let cancel = InstallerRequest::Cancel { operation };
        assert_eq!(self.ask(&cancel), InstallerReply::Done);
        wait_until("the end of the programs", || {
            self.programs_inside().is_empty().then_some(())
        });
        let outcome = self.outcome(operation);
        let failure = outcome.failure.expect("it is cancelled");
        assert_eq!(failure.cause, Cause::GaveUp, "{failure}");
        assert_eq!(outcome.device, None);
    }

    pub(crate) fn installer(&mut self) -> &mut Process {
        self.installer.as_mut().expect("it was started")
    }

    /// A client with wharfd's uid.
    pub(crate) fn wharfd(&self) -> Client {
        self.try_wharfd().expect("wharfd may connect")
    }

    /// A client, if wharf-installer accepts one.
    pub(crate) fn try_wharfd(&self) -> Option<Client> {
        match &self.place {
            // Only root may enter a container from here (proc(5), /proc/PID/root).
            Place::Booted(container)
            | Place::BootedRpm(container)
            | Place::BootedOpkg(container) => {
                Client::connect_to(container.inside("/run/wharf-installer.sock"), 0).ok()
            }
            _ => Client::connect(&self.root(), WHARFD.id).ok(),
        }
    }

    /// Whether wharf-installer was started more than once.
    pub(crate) fn restarted(&self) -> bool {
        self.starts > 1
    }

    pub(crate) fn ask(&self, request: &InstallerRequest) -> InstallerReply {
        self.wharfd().ask(request)
    }

    pub(crate) fn stage_id(&self) -> StageId {
        StageId::from_bytes([self.next.fetch_add(1, Ordering::Relaxed); 16])
    }

    pub(crate) fn operation(&self) -> OperationId {
        OperationId::from_bytes([self.next.fetch_add(1, Ordering::Relaxed); 16])
    }

    /// A staged file, open for writing.
    pub(crate) fn stage(&self, stage: StageId) -> File {
        match self.wharfd().ask_for_descriptor(&InstallerRequest::Stage {
            stage,
            keep: 0,
            size: None,
        }) {
            (InstallerReply::Staged { .. }, Some(file)) => file.into(),
            (other, _) => panic!("stage: {other:?}"),
        }
    }

    /// A package on disk, and its signature if it has a signer.
    pub(crate) fn build(&self, package: &Deb, signer: Option<Signer>) -> Built {
        let path = self.place.build(package, self.packages.path());
        let signature =
            signer.map(|signer| fs::read(self.keys.sign_beside(signer, &path)).unwrap());
        Built { path, signature }
    }

    /// A package inside a message by this signer.
    pub(crate) fn build_inside(&self, package: &Deb, signer: Signer) -> Built {
        let path = self.place.build(package, self.packages.path());
        Built {
            path: self.keys.sign_around(signer, &path),
            signature: None,
        }
    }

    /// Stages, writes and seals it.
    pub(crate) fn put(&self, stage: StageId, built: &Built) -> InstallerReply {
        let mut file = self.stage(stage);
        file.write_all(&fs::read(&built.path).unwrap()).unwrap();
        drop(file);
        self.seal(stage, built)
    }

    pub(crate) fn seal(&self, stage: StageId, built: &Built) -> InstallerReply {
        let signature = built.signature.clone().map(Into::into);
        self.ask(&InstallerRequest::Seal { stage, signature })
    }

    /// A sealed package of this name and version by a trusted signer.
    pub(crate) fn sealed(&self, package: &Deb) -> (StageId, SealedPackage) {
        self.sealed_file(&self.build(package, Some(Signer::Vendor)))
    }

    fn sealed_file(&self, built: &Built) -> (StageId, SealedPackage) {
        let stage = self.stage_id();
        match self.put(stage, built) {
            InstallerReply::Sealed(package) => (stage, package),
            other => panic!("seal: {other:?}"),
        }
    }

    /// Seals a package and requests its install. Returns the job and the file.
    pub(crate) fn accepted(&self, package: &Deb) -> (OperationId, StageId) {
        let ((stage, _), operation) = (self.sealed(package), self.operation());
        let request = perform(operation, Step::Install(stage));
        assert_eq!(self.ask(&request), InstallerReply::Accepted);
        (operation, stage)
    }

    /// Makes the simulated package manager wait in the middle of its next work.
    pub(crate) fn gate(&self) -> Gate {
        let path = self.tell("wait");
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        Gate(path)
    }

    /// Requests the job and waits for its end.
    pub(crate) fn run(&self, request: &InstallerRequest) -> Outcome {
        match self.ask(request) {
            InstallerReply::Accepted => {}
            other => panic!("{request:?}: {other:?}"),
        }
        self.outcome(operation_of(request))
    }

    /// Waits for the end of a job, on one connection: those of earlier questions fill the places of their user, until the
    /// service has seen that they are closed.
    pub(crate) fn outcome(&self, operation: OperationId) -> Outcome {
        let client = self.wharfd();
        client.send(
            &encode(&InstallerRequest::Watch { operation }).unwrap(),
            &[],
        );
        loop {
            match client.receive().expect("reports until the end").0 {
                InstallerReply::Job(JobStatus::Open { .. }) => {}
                InstallerReply::Job(JobStatus::Ended(outcome)) => return *outcome,
                other => panic!("watch: {other:?}"),
            }
        }
    }

    /// Installs a new package of this name and version.
    pub(crate) fn install(&self, package: &Deb) -> Outcome {
        self.install_built(&self.build(package, Some(Signer::Vendor)))
    }

    /// Installs this file, with its signature.
    pub(crate) fn install_built(&self, built: &Built) -> Outcome {
        let (stage, _) = self.sealed_file(built);
        self.run(&perform(self.operation(), Step::Install(stage)))
    }

    pub(crate) fn remove(&self, name: &str) -> Outcome {
        self.run(&perform(
            self.operation(),
            Step::Uninstall(PackageName::new(name).unwrap()),
        ))
    }

    pub(crate) fn purge(&self, name: &str) -> Outcome {
        self.run(&perform(
            self.operation(),
            Step::Purge(PackageName::new(name).unwrap()),
        ))
    }

    pub(crate) fn state(&self, name: &str) -> Option<Found> {
        let package = PackageName::new(name).unwrap();
        match self.ask(&InstallerRequest::State { package }) {
            InstallerReply::State(state) => state,
            other => panic!("state: {other:?}"),
        }
    }

    pub(crate) fn version(&self, name: &str) -> Option<String> {
        self.state(name)
            .filter(Found::is_whole)
            .map(|found| found.version.to_string())
    }

    pub(crate) fn open_jobs(&self) -> Vec<OperationId> {
        match self.ask(&InstallerRequest::List) {
            InstallerReply::List { open, .. } => open,
            other => panic!("list: {other:?}"),
        }
    }

    /// The log of effects of the simulated package manager.
    pub(crate) fn effects(&self) -> Vec<String> {
        let history = fs::read_to_string(self.root().join("var/lib/wharf-simulated/history"));
        history
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Makes the simulated package manager fail.
    pub(crate) fn tell(&self, fault: &str) -> PathBuf {
        let folder = self.root().join("etc/wharf-simulated");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(fault);
        if !path.exists() {
            fs::write(&path, "").unwrap();
        }
        path
    }
}

/// The program wharf-inspect of another crate, beside our programs.
pub(crate) fn wharf_inspect() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| program("wharf-inspect"))
}

fn copy_programs(folder: &Path) {
    for program in [
        Path::new(env!("CARGO_BIN_EXE_wharf-installer")),
        Path::new(env!("CARGO_BIN_EXE_wharf-job")),
        wharf_inspect(),
    ] {
        place(program, &folder.join(program.file_name().unwrap()));
    }
}

/// A FIFO for which the simulated package manager waits.
pub(crate) struct Gate(PathBuf);

impl Gate {
    /// Returns as soon as it waits: only then the FIFO can be opened.
    pub(crate) fn wait(&self) -> File {
        File::options().write(true).open(&self.0).unwrap()
    }

    /// Lets this work and all later work continue.
    pub(crate) fn open(self, waited: File) {
        fs::remove_file(self.0).unwrap();
        drop(waited);
    }
}

/// A package file and its signature.
pub(crate) struct Built {
    pub(crate) path: PathBuf,
    pub(crate) signature: Option<Vec<u8>>,
}

/// A job of one step.
pub(crate) fn perform(operation: OperationId, step: Step) -> InstallerRequest {
    InstallerRequest::Perform {
        operation,
        transaction: step.into(),
    }
}

fn operation_of(request: &InstallerRequest) -> OperationId {
    match request {
        InstallerRequest::Perform { operation, .. } => *operation,
        other => panic!("no job: {other:?}"),
    }
}

pub(crate) fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

/// The job has put the version before in place.
#[track_caller]
pub(crate) fn was_sent_back(failure: &Failure) {
    let detail = failure.detail.as_str();
    assert!(detail.starts_with("it was sent back: "), "{failure}");
}

/// The cause of a refusal.
pub(crate) fn refused(reply: InstallerReply) -> Cause {
    match reply {
        InstallerReply::Refused(failure) => failure.cause,
        other => panic!("not refused: {other:?}"),
    }
}

/// Copies a program there by another process. If this process wrote it, a child of another thread could hold it open
/// for writing, and the program could not start (ETXTBSY).
fn place(program: &Path, there: &Path) {
    let mut install = Command::new("install");
    assert!(install.args([program, there]).status().unwrap().success());
}

/// Writes this script to a program.
pub(crate) fn place_script(script: &str, there: &Path) {
    let source = there.with_extension("sh");
    fs::write(&source, script).unwrap();
    place(&source, there);
}

/// A connection to the job socket.
pub(crate) struct Client(OwnedFd);

impl Client {
    /// Connects as this user: the kernel tells the service who connected.
    pub(crate) fn connect(root: &Path, uid: u32) -> nix::Result<Self> {
        Self::connect_to(root.join("run/wharf-installer.sock"), uid)
    }

    fn connect_to(path: PathBuf, uid: u32) -> nix::Result<Self> {
        as_user(uid, move || {
            let socket = socket(
                AddressFamily::Unix,
                SockType::SeqPacket,
                SockFlag::SOCK_CLOEXEC,
                None,
            )?;
            connect(socket.as_raw_fd(), &UnixAddr::new(&path)?)?;
            Ok(Self(socket))
        })
    }

    pub(crate) fn ask(&self, request: &InstallerRequest) -> InstallerReply {
        self.ask_for_descriptor(request).0
    }

    pub(crate) fn ask_for_descriptor(
        &self,
        request: &InstallerRequest,
    ) -> (InstallerReply, Option<OwnedFd>) {
        self.send(&encode(request).unwrap(), &[]);
        self.receive().expect("an answer")
    }

    /// Sends any bytes.
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[RawFd]) {
        self.try_send(bytes, descriptors)
            .expect("the service takes packets");
    }

    pub(crate) fn try_send(&self, bytes: &[u8], descriptors: &[RawFd]) -> nix::Result<usize> {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() {
            &[][..]
        } else {
            &rights[..]
        };
        sendmsg::<()>(
            self.0.as_raw_fd(),
            &[IoSlice::new(bytes)],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
    }

    /// Makes a full socket an error instead of a wait.
    pub(crate) fn never_wait(&self) {
        let flags = nix::fcntl::OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(&self.0, nix::fcntl::FcntlArg::F_SETFL(flags)).unwrap();
    }

    /// The next answer; none if the service has closed the connection.
    #[allow(
        unsafe_code,
        reason = "the kernel made the descriptor for this message"
    )]
    pub(crate) fn receive(&self) -> Option<(InstallerReply, Option<OwnedFd>)> {
        let mut bytes = vec![0; MAX_FRAME];
        let mut control = nix::cmsg_space!([RawFd; 4]);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let message = recvmsg::<()>(
            self.0.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )
        .ok()?;
        let descriptor = message.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::ScmRights(rights) => rights.first().copied(),
            _ => None,
        });
        let descriptor = descriptor.map(|raw| unsafe { OwnedFd::from_raw_fd(raw) });
        let length = message.bytes;
        (length > 0).then(|| (decode(&bytes[..length]).expect("a frame"), descriptor))
    }
}

/// Runs in a thread with this user; glibc's own call would change the whole process.
#[allow(
    unsafe_code,
    reason = "only the kernel's calls change the ids of one thread"
)]
pub(crate) fn as_user<T: Send + 'static>(uid: u32, act: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::spawn(move || {
        for (call, id) in [(libc::SYS_setresgid, uid), (libc::SYS_setresuid, uid)] {
            assert_eq!(
                unsafe { libc::syscall(call, id, id, id) },
                0,
                "the tests run as root"
            );
        }
        act()
    });
    thread.join().unwrap()
}
