//! Packages for tests: the same description always gives the same bytes.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    command::output_of,
    folder::Folder,
    rpm_package::{BUILT_AT, RpmPackage, Scriptlet},
};

/// The content of a package.
#[derive(Debug, Clone)]
pub struct Package {
    name: String,
    version: String,
    architecture: String,
    fields: Vec<(String, String)>,
    scripts: Vec<(Script, String)>,
    conffiles: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    links: Vec<(String, String)>,
    folders: Vec<String>,
}

/// A maintainer script (Debian Policy 6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Before the package is unpacked.
    Preinst,
    /// When it is configured.
    Postinst,
    /// Before it is removed or replaced.
    Prerm,
    /// After it was removed or replaced.
    Postrm,
}

impl Script {
    fn name(self) -> &'static str {
        match self {
            Self::Preinst => "preinst",
            Self::Postinst => "postinst",
            Self::Prerm => "prerm",
            Self::Postrm => "postrm",
        }
    }

    /// The script of an rpm that runs at the same moment.
    fn scriptlet(self) -> Scriptlet {
        match self {
            Self::Preinst => Scriptlet::Pre,
            Self::Postinst => Scriptlet::Post,
            Self::Prerm => Scriptlet::Preun,
            Self::Postrm => Scriptlet::Postun,
        }
    }
}

/// The first lines of each script that a test gives.
const SHELL: &str = "#!/bin/sh\nset -e\n";

impl Package {
    /// A package for any architecture, with one file that contains its version.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "all".to_owned(),
            fields: Vec::new(),
            scripts: Vec::new(),
            conffiles: Vec::new(),
            files: vec![(
                format!("/usr/share/{name}/version"),
                format!("{version}\n").into_bytes(),
            )],
            links: Vec::new(),
            folders: Vec::new(),
        }
    }

    /// Sets one architecture instead of all.
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.to_owned();
        self
    }

    /// Adds `Depends: depends`.
    pub fn depends(self, depends: &str) -> Self {
        self.field("Depends", depends)
    }

    /// Adds any other field of the control file.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a maintainer script. It begins with `#!/bin/sh` and `set -e`.
    pub fn script(mut self, script: Script, commands: &str) -> Self {
        let text = format!("{SHELL}{commands}\n");
        self.scripts.push((script, text));
        self
    }

    /// Appends commands to a script of the package.
    ///
    /// # Panics
    ///
    /// If it has no such script.
    pub fn then(mut self, script: Script, commands: &str) -> Self {
        let mut scripts = self.scripts.iter_mut();
        let of_this = scripts.find(|(other, _)| *other == script);
        let (_, text) = of_this.expect("a script to add to");
        *text += &format!("{commands}\n");
        self
    }

    /// Adds the scripts that debhelper generates for its current units.
    pub fn debhelper(mut self) -> Self {
        let source = Folder::new();
        let root = source.make(format!("debian/{}", self.name));
        self.lay_out(&root);
        let control = format!(
            "Source: {name}\nMaintainer: Tests <tests@example.org>\nBuild-Depends: debhelper-compat (= 13)\n\n\
             Package: {name}\nArchitecture: {}\n",
            self.architecture,
            name = self.name,
        );
        write(source.path(), "/debian/control", control, 0o644);
        for helper in ["dh_installsystemd", "dh_installdeb"] {
            output_of(Command::new(helper).current_dir(source.path()));
        }
        for script in [Script::Postinst, Script::Prerm, Script::Postrm] {
            if let Ok(text) = fs::read_to_string(root.join("DEBIAN").join(script.name())) {
                self.scripts.push((script, text));
            }
        }
        self
    }

    /// Adds a file.
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.to_owned(), content.into()));
        self
    }

    /// Adds a service with the name of the package, which runs until it is stopped. Its description is name and
    /// version.
    pub fn service(self) -> Self {
        let unit = format!(
            "[Unit]\nDescription={} {}\n\n[Service]\nExecStart=/bin/sleep infinity\n\n\
             [Install]\nWantedBy=multi-user.target\n",
            self.name, self.version
        );
        let path = format!("/lib/systemd/system/{}.service", self.name);
        self.file(&path, unit)
    }

    /// Adds an empty folder.
    pub fn folder(mut self, path: &str) -> Self {
        self.folders.push(path.to_owned());
        self
    }

    /// Adds a symbolic link.
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.links.push((path.to_owned(), target.to_owned()));
        self
    }

    /// Adds a configuration file.
    pub fn conffile(mut self, path: &str, content: &str) -> Self {
        self.conffiles.push(path.to_owned());
        self.file(path, content)
    }

    /// Adds a file of `size` bytes that no compression reduces: the package gets about this size.
    pub fn padding(self, size: usize) -> Self {
        let path = format!("/usr/share/{}/padding", self.name);
        self.file(&path, incompressible(size))
    }

    /// Builds it for the simulated package manager as `NAME_VERSION_ARCHITECTURE.simulated` in the folder `into`. It has no
    /// scripts, and no fields but `Depends`.
    pub fn build_simulated(&self, into: &Path) -> PathBuf {
        let Self {
            name,
            version,
            architecture,
            ..
        } = self;
        let header = format!(
            "wharf-simulated 1\nname: {name}\nversion: {version}\narchitecture: {architecture}\n\n"
        );
        let mut bytes = header.into_bytes();
        for (path, content) in &self.files {
            bytes.extend(format!("file: {path} {}\n", content.len()).as_bytes());
            bytes.extend(content);
        }
        for (path, target) in &self.links {
            bytes.extend(format!("link: {path} {target}\n").as_bytes());
        }
        for (_, needs) in self.fields.iter().filter(|(field, _)| field == "Depends") {
            for need in needs.split(", ") {
                let need = need.replace(['(', ')', '>', '='], "");
                let words: Vec<&str> = need.split_whitespace().collect();
                bytes.extend(format!("needs: {}\n", words.join(" ")).as_bytes());
            }
        }
        let package = into.join(format!("{name}_{version}_{architecture}.simulated"));
        fs::write(&package, bytes).unwrap_or_else(|error| panic!("{package:?}: {error}"));
        package
    }

    /// The same package as an rpm, release 1 if the version has none.
    ///
    /// # Panics
    ///
    /// If it has a field that an rpm does not have.
    pub fn as_rpm(&self) -> RpmPackage {
        let mut rpm = RpmPackage::new(&self.name, &self.version);
        if self.architecture != "all" {
            rpm = rpm.architecture(&self.architecture.replace("amd64", "x86_64"));
        }
        for (name, value) in &self.fields {
            let name = match name.as_str() {
                "Depends" => "Requires",
                "Conflicts" | "Breaks" => "Conflicts",
                "Provides" => "Provides",
                "Recommends" => "Recommends",
                "Replaces" => "Obsoletes",
                other => panic!("no rpm has the field {other}"),
            };
            let value = match value.contains(" (") {
                true => value.replace(['(', ')'], ""),
                false => value.clone(),
            };
            rpm = rpm.tag(name, &value.replace("<<", "<").replace(">>", ">"));
        }
        for (script, text) in &self.scripts {
            let commands = text.strip_prefix(SHELL).expect("a script of a shell");
            rpm = rpm.script(script.scriptlet(), commands);
        }
        for (path, content) in self.files.iter().skip(1) {
            rpm = match self.conffiles.contains(path) {
                true => rpm.config(path, &String::from_utf8_lossy(content)),
                false => rpm.file(path, content.clone()),
            };
        }
        for (path, target) in &self.links {
            rpm = rpm.link(path, target);
        }
        self.folders.iter().fold(rpm, |rpm, path| rpm.folder(path))
    }

    /// Builds it as `NAME_VERSION_ARCHITECTURE.deb` in the folder `into`, by dpkg-deb.
    pub fn build(&self, into: &Path) -> PathBuf {
        self.built(into, "deb", &["-Zxz"])
    }

    /// Builds it as `NAME_VERSION_ARCHITECTURE.ipk` in the folder `into`: opkg reads the same archives in an ar archive.
    pub fn build_ipk(&self, into: &Path) -> PathBuf {
        // opkg takes versions that dpkg does not.
        self.built(into, "ipk", &["-Zgzip", "--nocheck"])
    }

    fn built(&self, into: &Path, ending: &str, options: &[&str]) -> PathBuf {
        let tree = Folder::new();
        let root = tree.make("package");
        self.lay_out(&root);
        if ending == "ipk" {
            merge_usr(&root);
        }
        let Self {
            name,
            version,
            architecture,
            ..
        } = self;
        let package = into.join(format!("{name}_{version}_{architecture}.{ending}"));
        output_of(
            Command::new("dpkg-deb")
                .args(["--root-owner-group", "-z1", "--threads-max=1"])
                .args(options)
                .arg("--build")
                .arg(&root)
                .arg(&package)
                .env("SOURCE_DATE_EPOCH", BUILT_AT),
        );
        package
    }

    fn lay_out(&self, root: &Path) {
        write(root, "/DEBIAN/control", self.control(), 0o644);
        for (script, text) in &self.scripts {
            write(root, &format!("/DEBIAN/{}", script.name()), text, 0o755);
        }
        if !self.conffiles.is_empty() {
            let list = self.conffiles.join("\n") + "\n";
            write(root, "/DEBIAN/conffiles", list, 0o644);
        }
        for (path, content) in &self.files {
            let mode = if path.contains("/bin/") { 0o755 } else { 0o644 };
            write(root, path, content, mode);
        }
        for path in &self.folders {
            fs::create_dir_all(root.join(path.trim_start_matches('/')))
                .unwrap_or_else(|error| panic!("{path} cannot be made: {error}"));
        }
        for (path, target) in &self.links {
            let link = root.join(path.trim_start_matches('/'));
            fs::create_dir_all(link.parent().expect("a link lies in a folder"))
                .and_then(|()| symlink(target, &link))
                .unwrap_or_else(|error| panic!("{link:?} cannot be made: {error}"));
        }
    }

    fn control(&self) -> String {
        let Self {
            name,
            version,
            architecture,
            ..
        } = self;
        let mut control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n\
             Maintainer: Tests <tests@example.org>\nDescription: a package of the tests\n"
        );
        for (name, value) in &self.fields {
            control += &format!("{name}: {value}\n");
        }
        control
    }
}

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>, mode: u32) {
    let file = root.join(path.trim_start_matches('/'));
    let folder = file.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, content))
        .and_then(|()| fs::set_permissions(&file, Permissions::from_mode(mode)))
        .unwrap_or_else(|error| panic!("{file:?} cannot be written: {error}"));
}

/// `size` bytes of a xorshift generator, always the same ones.
pub fn incompressible(size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Moves /lib to /usr/lib, as builders of .ipk do for a system with a merged /usr: opkg deletes links of the system.
fn merge_usr(root: &Path) {
    let (lib, merged) = (root.join("lib"), root.join("usr/lib"));
    if lib.exists() && !merged.exists() {
        let moved = fs::create_dir_all(root.join("usr")).and_then(|()| fs::rename(lib, merged));
        moved.expect("lib in usr");
    }
}
