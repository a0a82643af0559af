//! rpm packages as tests need them, built by rpmbuild: the same description gives the same bytes.

use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{command::output_of, folder::Folder};

/// The time of each package: before the clock of any test.
pub(crate) const BUILT_AT: &str = "1735689600";

/// The description of a package.
#[derive(Debug, Clone)]
pub struct RpmPackage {
    name: String,
    epoch: Option<String>,
    version: String,
    release: String,
    architecture: String,
    tags: Vec<(String, String)>,
    scripts: Vec<(Scriptlet, String)>,
    /// Each with the attributes of its line in `%files`.
    files: Vec<(String, Vec<u8>, &'static str)>,
    links: Vec<(String, String)>,
    folders: Vec<String>,
    triggers: Vec<(String, String)>,
}

/// A script of a package (rpm-spec(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scriptlet {
    /// Before the transaction.
    Pretrans,
    /// Before the package is unpacked.
    Pre,
    /// After it was unpacked.
    Post,
    /// Before it is removed, after another version was unpacked.
    Preun,
    /// After it was removed.
    Postun,
    /// After the transaction.
    Posttrans,
}

impl Scriptlet {
    fn section(self) -> &'static str {
        match self {
            Self::Pretrans => "%pretrans",
            Self::Pre => "%pre",
            Self::Post => "%post",
            Self::Preun => "%preun",
            Self::Postun => "%postun",
            Self::Posttrans => "%posttrans",
        }
    }
}

impl RpmPackage {
    /// A package for any architecture, with one file that says its version: `[EPOCH:]VERSION[-RELEASE]`, release 1 if
    /// none is given.
    pub fn new(name: &str, version: &str) -> Self {
        let (epoch, rest) = match version.split_once(':') {
            Some((epoch, rest)) => (Some(epoch.to_owned()), rest),
            None => (None, version),
        };
        let (upstream, release) = rest.rsplit_once('-').unwrap_or((rest, "1"));
        let content = format!("{version}\n").into_bytes();
        Self {
            name: name.to_owned(),
            epoch,
            version: upstream.to_owned(),
            release: release.to_owned(),
            architecture: "noarch".to_owned(),
            tags: Vec::new(),
            scripts: Vec::new(),
            files: vec![(format!("/usr/share/{name}/version"), content, "")],
            links: Vec::new(),
            folders: Vec::new(),
            triggers: Vec::new(),
        }
    }

    /// For one architecture instead of all.
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.to_owned();
        self
    }

    /// With a line of the preamble: `Requires`, `Conflicts`, `Obsoletes`, `Provides`, …
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        self.tags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a script of `/bin/sh` that ends at the first command that fails.
    pub fn script(mut self, script: Scriptlet, commands: &str) -> Self {
        self.scripts.push((script, commands.to_owned()));
        self
    }

    /// With a trigger: the line that begins its section, and its commands.
    pub fn trigger(mut self, line: &str, commands: &str) -> Self {
        self.triggers.push((line.to_owned(), commands.to_owned()));
        self
    }

    /// With a file.
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.file_as(path, content, "")
    }

    /// With a file that the administrator may change.
    pub fn config(self, path: &str, content: &str) -> Self {
        self.file_as(path, content, "%config(noreplace) ")
    }

    fn file_as(
        mut self,
        path: &str,
        content: impl Into<Vec<u8>>,
        attributes: &'static str,
    ) -> Self {
        self.files
            .push((path.to_owned(), content.into(), attributes));
        self
    }

    /// With a folder that has nothing in it.
    pub fn folder(mut self, path: &str) -> Self {
        self.folders.push(path.to_owned());
        self
    }

    /// With a symbolic link.
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.links.push((path.to_owned(), target.to_owned()));
        self
    }

    /// Builds it as `NAME-VERSION-RELEASE.ARCHITECTURE.rpm` in the folder `into`.
    pub fn build(&self, into: &Path) -> PathBuf {
        let work = Folder::new();
        let tree = work.make("tree");
        self.lay_out(&tree);
        let spec = work.join("package.spec");
        fs::write(&spec, self.spec(&tree)).unwrap_or_else(|error| panic!("{spec:?}: {error}"));
        let macros = [
            ("_topdir", work.path().display().to_string()),
            ("_rpmdir", into.display().to_string()),
            (
                "_rpmfilename",
                "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm".to_owned(),
            ),
            ("_buildhost", "tests".to_owned()),
            ("_build_id_links", "none".to_owned()),
            ("_binary_payload", "w1.gzdio".to_owned()),
            ("__os_install_post", "%{nil}".to_owned()),
            ("use_source_date_epoch_as_buildtime", "1".to_owned()),
            ("clamp_mtime_to_source_date_epoch", "1".to_owned()),
        ];
        let mut rpmbuild = Command::new("rpmbuild");
        for (name, value) in macros {
            rpmbuild.arg("--define").arg(format!("{name} {value}"));
        }
        output_of(
            rpmbuild
                .args(["-bb", "--quiet", "--target", &self.architecture])
                .arg(&spec)
                .env("HOME", work.path())
                .env("LC_ALL", "C")
                .env("SOURCE_DATE_EPOCH", BUILT_AT),
        );
        let Self {
            name,
            version,
            release,
            architecture,
            ..
        } = self;
        into.join(format!("{name}-{version}-{release}.{architecture}.rpm"))
    }

    fn lay_out(&self, tree: &Path) {
        for (path, content, _) in &self.files {
            let file = made(tree, path);
            let mode = if path.contains("/bin/") { 0o755 } else { 0o644 };
            fs::write(&file, content)
                .and_then(|()| fs::set_permissions(&file, Permissions::from_mode(mode)))
                .unwrap_or_else(|error| panic!("{file:?} cannot be written: {error}"));
        }
        for (path, target) in &self.links {
            let link = made(tree, path);
            symlink(target, &link).unwrap_or_else(|error| panic!("{link:?}: {error}"));
        }
        for path in &self.folders {
            let folder = tree.join(path.trim_start_matches('/'));
            fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        }
    }

    fn spec(&self, tree: &Path) -> String {
        let mut spec = format!(
            "Name: {}\nVersion: {}\nRelease: {}\nSummary: A package of the tests\nLicense: none\nAutoReqProv: no\n",
            self.name, self.version, self.release
        );
        let epoch = self.epoch.as_ref().map(|epoch| ("Epoch", epoch.as_str()));
        let tags = self.tags.iter();
        let tags = tags.map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in epoch.into_iter().chain(tags) {
            let _ = writeln!(spec, "{name}: {value}");
        }
        let _ = writeln!(
            spec,
            "%description\nA package of the tests.\n%install\ncp -a {}/. %{{buildroot}}",
            tree.display()
        );
        for (script, commands) in &self.scripts {
            // In a spec, a percent sign begins a macro.
            let commands = commands.replace('%', "%%");
            let _ = writeln!(spec, "{}\nset -e\n{commands}", script.section());
        }
        for (line, commands) in &self.triggers {
            let _ = writeln!(spec, "{line}\n{commands}");
        }
        spec += "%files\n%defattr(-,root,root,-)\n";
        for (path, _, attributes) in &self.files {
            let _ = writeln!(spec, "{attributes}{path}");
        }
        for (path, _) in &self.links {
            let _ = writeln!(spec, "{path}");
        }
        for path in &self.folders {
            let _ = writeln!(spec, "%dir {path}");
        }
        spec
    }
}

/// The place of this path in a tree, in a folder that is there.
fn made(tree: &Path, path: &str) -> PathBuf {
    let place = tree.join(path.trim_start_matches('/'));
    let folder = place.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    place
}
