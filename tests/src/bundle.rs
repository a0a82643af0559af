//! Bundles for tests: a tar of a manifest and packages, as any tar program makes it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    command::{output_of, text_of},
    folder::Folder,
};

/// The content of a bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    name: String,
    version: String,
    lines: String,
    steps: String,
    files: Vec<PathBuf>,
    compressed: Option<&'static str>,
}

impl Bundle {
    /// A bundle without steps.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            lines: String::new(),
            steps: String::new(),
            files: Vec::new(),
            compressed: None,
        }
    }

    /// Adds lines to the manifest, before the steps.
    pub fn lines(mut self, lines: &str) -> Self {
        self.lines.push_str(lines);
        self.lines.push('\n');
        self
    }

    /// Installs this file.
    pub fn install(self, file: &Path) -> Self {
        let digest = text_of(Command::new("sha256sum").arg(file));
        let digest = digest.split(' ').next().unwrap_or_default().to_owned();
        self.install_as(file, &digest)
    }

    /// Installs this file, with this digest in the manifest.
    pub fn install_as(mut self, file: &Path, digest: &str) -> Self {
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.expect("a plain name");
        let step = format!("[[step]]\ninstall = \"{name}\"\nsha256 = \"{digest}\"\n");
        self.steps.push_str(&step);
        self.files.push(file.to_owned());
        self
    }

    /// Removes this package.
    pub fn remove(mut self, package: &str) -> Self {
        self.steps
            .push_str(&format!("[[step]]\nremove = \"{package}\"\n"));
        self
    }

    /// Adds a file that no step has.
    pub fn file(mut self, file: &Path) -> Self {
        self.files.push(file.to_owned());
        self
    }

    /// Compresses it by this option of tar.
    pub fn compressed(mut self, option: &'static str) -> Self {
        self.compressed = Some(option);
        self
    }

    /// Writes `NAME_VERSION.wharf` into this folder.
    pub fn build(&self, into: &Path) -> PathBuf {
        let Self { name, version, .. } = self;
        let folder = Folder::new();
        let manifest = format!(
            "format = 1\nname = \"{name}\"\nversion = \"{version}\"\n{}{}",
            self.lines, self.steps
        );
        fs::write(folder.join("manifest.toml"), manifest).expect("the folder is ours");
        let path = into.join(format!("{name}_{version}.wharf"));
        let mut tar = Command::new("tar");
        tar.args([
            "--create",
            "--format=ustar",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ])
        .args(self.compressed)
        .arg("--file")
        .arg(&path)
        .arg("--directory")
        .arg(folder.path())
        .arg("manifest.toml");
        for file in &self.files {
            let name = file.file_name().expect("a plain name");
            fs::copy(file, folder.join(name)).expect("the file is there");
            tar.arg(name);
        }
        output_of(&mut tar);
        path
    }
}
