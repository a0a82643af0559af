//! The paths of our files. All are below one root: `/`, or another folder in a container or a test.

use std::path::{Path, PathBuf};

use wharf_frames::{OperationId, StageId};

/// A path without its leading `/` or `./`, and with `lib/systemd` as `usr/lib/systemd`: after the merge of `/usr` both are
/// the same folder.
pub fn merged(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_start_matches('/');
    match path.strip_prefix("lib/systemd/") {
        Some(rest) => format!("usr/lib/systemd/{rest}"),
        None => path.to_owned(),
    }
}

/// The root of all our paths. Package managers run in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The root at this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Whether it is the root of the machine.
    pub fn is_system(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// A path below the root, from outside of it.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.0.join(below)
    }

    /// The same path, for a program that runs in the root.
    pub fn seen_inside(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(&self.0).unwrap_or(path))
    }

    /// The job socket.
    pub fn socket(&self) -> PathBuf {
        self.path("run/wharf-installer.sock")
    }

    /// Files that need not survive a boot: the progress of jobs, configuration and output of package managers.
    pub fn run(&self) -> PathBuf {
        self.path("run/wharf-installer")
    }

    /// The progress of a running job.
    pub fn progress(&self, operation: OperationId) -> PathBuf {
        self.run().join(operation.to_string())
    }

    /// The lock (flock) of the running job.
    pub fn job_lock(&self) -> PathBuf {
        self.state().join("job.lock")
    }

    /// The lock (flock) of the wharf-installer of this root.
    pub fn service_lock(&self) -> PathBuf {
        self.state().join("installer.lock")
    }

    /// Files that survive a boot.
    pub fn state(&self) -> PathBuf {
        self.path("var/lib/wharf-installer")
    }

    /// Staged files and their verdicts.
    pub fn staged(&self) -> PathBuf {
        self.state().join("staged")
    }

    /// A staged file.
    pub fn stage(&self, stage: StageId) -> PathBuf {
        self.staged().join(stage.to_string())
    }

    /// Records of jobs.
    pub fn jobs(&self) -> PathBuf {
        self.state().join("jobs")
    }

    /// The ledger of installed packages.
    pub fn ledger(&self) -> PathBuf {
        self.state().join("ledger")
    }

    /// The kept files of packages: the way back from a job that fails, and from the version in place.
    pub fn back(&self) -> PathBuf {
        self.state().join("back")
    }

    /// Records of the units of packages.
    pub fn units(&self) -> PathBuf {
        self.state().join("units")
    }

    /// Flags of packages whose units are held.
    pub fn held(&self) -> PathBuf {
        self.state().join("held")
    }

    /// The certificates of signers.
    pub fn keys(&self) -> PathBuf {
        self.path("etc/wharfd/keys")
    }

    /// Root's policy.
    pub fn policy(&self) -> PathBuf {
        self.path("etc/wharfd/installer.toml")
    }

    /// The users of the root.
    pub fn passwd(&self) -> PathBuf {
        self.path("etc/passwd")
    }
}
