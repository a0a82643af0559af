//! `wharfctl bundle`: bundles that an administrator builds and checks, without running programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use wharf_tests::{
    bundle::Bundle,
    command::text_of,
    folder::Folder,
    gateway::Gateway,
    keys::{GnupgKeys, Signer},
    package::Package,
};

const MANIFEST: &str = "format = 1\nname = \"acme-stack\"\nversion = \"2.3.0\"\n\n\
    [[step]]\ninstall = \"core.deb\"\n\n[[step]]\nremove = \"acme-legacy\"\n\n[[step]]\ninstall = \"ui.deb\"\n";

/// A folder with a manifest and the files that it names, and a gateway that does not run.
struct Builder {
    gateway: Gateway,
    folder: Folder,
}

impl Builder {
    fn new() -> Self {
        let builder = Self {
            gateway: Gateway::simulated(),
            folder: Folder::new(),
        };
        builder.write("manifest.toml", MANIFEST);
        builder.write("core.deb", "core");
        builder.write("ui.deb", &"ui".repeat(100_000));
        builder
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn wharfctl(&self, arguments: &[&str]) -> Command {
        let mut command = self.gateway.command("wharfctl", &[]);
        command.args(arguments);
        command
    }

    /// The bundle of this manifest, by another folder than that of the files.
    fn build(&self, output: &str) -> PathBuf {
        let output = self.folder.join(output);
        let mut command = self.wharfctl(&["bundle", "build", "-o", text(&output)]);
        text_of(command.arg(self.folder.join("manifest.toml")));
        output
    }

    #[track_caller]
    fn refused(&self, why: &str) {
        let (manifest, output) = (self.folder.join("manifest.toml"), self.folder.join("new"));
        let build = ["bundle", "build", text(&manifest), "-o", text(&output)];
        let output = self.wharfctl(&build).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "no {why:?} in {said}");
        let left: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("new"))
            .collect();
        assert_eq!(left, [""; 0], "{why}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_bundle_is_built_of_a_manifest_and_the_files_beside_it_the_same_each_time() {
    let builder = Builder::new();
    let first = builder.build("first.wharf");
    let listed = text_of(Command::new("tar").arg("-tf").arg(&first));
    assert_eq!(listed, "manifest.toml\ncore.deb\nui.deb");
    let unpacked = builder.folder.make("unpacked");
    text_of(
        Command::new("tar")
            .arg("-xf")
            .arg(&first)
            .arg("-C")
            .arg(&unpacked),
    );
    for file in ["core.deb", "ui.deb"] {
        let same =
            fs::read(unpacked.join(file)).unwrap() == fs::read(builder.folder.join(file)).unwrap();
        assert!(same, "{file}");
    }
    let manifest = fs::read_to_string(unpacked.join("manifest.toml")).unwrap();
    let sums = Command::new("sha256sum")
        .args(["core.deb", "ui.deb"])
        .current_dir(&unpacked)
        .output()
        .unwrap();
    for line in String::from_utf8(sums.stdout).unwrap().lines() {
        let (sum, file) = line.split_once("  ").unwrap();
        let step = format!("[[step]]\ninstall = \"{file}\"\nsha256 = \"{sum}\"\n");
        assert!(manifest.contains(&step), "{manifest}");
    }

    // The files of the bundle are a manifest with its files, too.
    fs::rename(
        unpacked.join("manifest.toml"),
        builder.folder.join("manifest.toml"),
    )
    .unwrap();
    builder.build("first.wharf");
    let second = builder.build("second.wharf");
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap());
}

#[test]
fn the_build_of_a_bundle_says_what_it_wrote_and_where() {
    let builder = Builder::new();
    let manifest = builder.folder.join("manifest.toml");
    let build = ["--json", "bundle", "build", text(&manifest)];
    let built = text_of(builder.wharfctl(&build).current_dir(builder.folder.path()));
    let built: Value = serde_json::from_str(&built).unwrap();
    assert_eq!(
        (&built["name"], &built["version"]),
        (&"acme-stack".into(), &"2.3.0".into())
    );
    assert_eq!(built["file"], "acme-stack_2.3.0.wharf");
    let bundle = builder.folder.join("acme-stack_2.3.0.wharf");
    assert_eq!(built["length"], bundle.metadata().unwrap().len());
    let sum = text_of(Command::new("sha256sum").arg(&bundle));
    assert!(sum.starts_with(built["sha256"].as_str().unwrap()), "{sum}");
    assert_eq!(built["files"][1]["file"], "ui.deb");
    assert_eq!(built["files"][1]["length"], 200_000);

    let said = text_of(
        builder
            .wharfctl(&build[1..])
            .current_dir(builder.folder.path()),
    );
    assert!(
        said.starts_with("acme-stack 2.3.0 is acme-stack_2.3.0.wharf ("),
        "{said}"
    );
    assert!(
        said.ends_with("sign it: gpg --armor --detach-sign acme-stack_2.3.0.wharf"),
        "{said}"
    );
}

#[test]
fn no_part_of_a_bundle_is_replaced_by_it() {
    let builder = Builder::new();
    let manifest = builder.folder.join("manifest.toml");
    for part in ["manifest.toml", "core.deb"] {
        let part = builder.folder.join(part);
        let before = fs::read(&part).unwrap();
        let build = ["bundle", "build", text(&manifest), "-o", text(&part)];
        let output = builder.wharfctl(&build).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("is a part of the bundle"), "{said}");
        assert_eq!(fs::read(&part).unwrap(), before);
    }
}

#[test]
fn a_bundle_that_no_gateway_would_take_is_not_built() {
    let builder = Builder::new();
    for (from, to, why) in [
        ("format = 1", "format = 2", "manifest.toml: its format is 2"),
        (
            "remove =",
            "configure =",
            "line 9, column 1: step: unknown field `configure`",
        ),
        (
            "core.deb",
            "../core.deb",
            "step 1: \"../core.deb\" is no name of a file",
        ),
        ("core.deb", "none.deb", "none.deb: No such file"),
        ("core.deb", "folder", "folder: it is no regular file"),
        ("ui.deb", "core.deb", "two steps name core.deb"),
        (
            "core.deb\"\n",
            "core.deb\"\nsha256 = \"5f0c8d1d5f0c8d1d5f0c8d1d5f0c8d1d5f0c8d1d5f0c8d1d5f0c8d1d5f0c8d1d\"\n",
            "core.deb has another sha256 than the manifest says",
        ),
    ] {
        fs::create_dir_all(builder.folder.join("folder")).unwrap();
        builder.write("manifest.toml", &MANIFEST.replacen(from, to, 1));
        builder.refused(why);
    }
    builder.write("manifest.toml", &"#".repeat(1 << 20));
    builder.refused("longer than 65536 bytes");
    fs::remove_file(builder.folder.join("manifest.toml")).unwrap();
    builder.refused("cannot read");
}

/// A gateway that does not run, with a keyring and two packages.
struct Site {
    gateway: Gateway,
    keys: GnupgKeys,
    folder: Folder,
    core: PathBuf,
    ui: PathBuf,
}

impl Site {
    fn new() -> Self {
        let (gateway, folder) = (Gateway::simulated(), Folder::new());
        let build = |name| gateway.build(&Package::new(name, "1.0.1"), folder.path());
        let (core, ui) = (build("acme-core"), build("acme-ui"));
        Self {
            keys: GnupgKeys::new(),
            gateway,
            folder,
            core,
            ui,
        }
    }

    fn bundle(&self) -> Bundle {
        Bundle::new("acme-stack", "2.3.0")
            .install(&self.core)
            .remove("acme-legacy")
            .install(&self.ui)
    }

    fn allow(&self, signer: Signer, names: &[&str]) {
        let file = self.folder.join(signer.name());
        fs::write(&file, self.keys.certificate(signer)).unwrap();
        let add = ["keys", "add", text(&file), "--allow"];
        let (code, said) = self.wharfctl(&[&add[..], names].concat());
        assert_eq!(code, Some(0), "{said}");
    }

    /// The exit code, and all output.
    fn wharfctl(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.gateway.command("wharfctl", &[]);
        let output = command.args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    #[track_caller]
    fn refused(&self, verb: &str, file: &Path, why: &str) {
        let (code, said) = self.wharfctl(&["bundle", verb, text(file)]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(why), "no {why:?} in {said}");
        self.expect_nothing_left();
    }

    /// The packages of a bundle lie in the folder of staged files while it is looked at.
    #[track_caller]
    fn expect_nothing_left(&self) {
        let staged = self.gateway.path().join("var/lib/wharf-installer/staged");
        let left: Vec<_> = fs::read_dir(&staged).unwrap().map(Result::unwrap).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn the_contents_of_a_bundle_are_shown_whoever_signed_it() {
    let site = Site::new();
    let needs = "architecture = \"all\"\nundo = false\n[needs]\nupgrades-from = [\">= 2.0\", \"<< 3.0\"]\nfree = 4096";
    let bundle = site
        .bundle()
        .lines(needs)
        .compressed("--gzip")
        .build(site.folder.path());
    let (code, said) = site.wharfctl(&["bundle", "inspect", text(&bundle)]);
    let length = |file: &Path| file.metadata().unwrap().len();
    let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
    let expected = format!(
        "acme-stack 2.3.0\n  for            all\n  upgrades from  >= 2.0, << 3.0\n  needs          4096 bytes on the \
         disk\n  a failed step  keeps the steps that are done\n  step 1         install {} ({} bytes): acme-core 1.0.1\n  \
         step 2         remove acme-legacy\n  step 3         install {} ({} bytes): acme-ui 1.0.1\n",
        name(&site.core),
        length(&site.core),
        name(&site.ui),
        length(&site.ui)
    );
    assert_eq!((code, said.as_str()), (Some(0), expected.as_str()));
    let (code, shown) = site.wharfctl(&["--json", "bundle", "inspect", text(&bundle)]);
    assert_eq!(code, Some(0), "{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["steps"][2]["version"], "1.0.1");
    assert_eq!(shown["steps"][2]["length"], length(&site.ui));
    assert_eq!(shown["steps"][1]["remove"], "acme-legacy");
    assert_eq!(
        (&shown["undo"], &shown["free"]),
        (&false.into(), &4096.into())
    );
    site.expect_nothing_left();
}

#[test]
fn a_bundle_that_is_not_sound_is_not_shown() {
    let site = Site::new();
    let into = site.folder.path();
    let zeros = "0".repeat(64);
    let other = Bundle::new("acme-stack", "2.3.1")
        .install_as(&site.core, &zeros)
        .build(into);
    site.refused(
        "inspect",
        &other,
        "does not have the sha256 of its manifest",
    );
    let more = site.bundle().file(&site.folder.join("more"));
    fs::write(site.folder.join("more"), "").unwrap();
    site.refused(
        "inspect",
        &more.build(into),
        "it has \"more\", which no step installs",
    );
    site.refused("inspect", &site.core, "it is no tar");
    let text_file = site.folder.join("notes");
    fs::write(&text_file, "no package").unwrap();
    let notes = Bundle::new("acme-stack", "2.3.2")
        .install(&text_file)
        .build(into);
    site.refused(
        "inspect",
        &notes,
        "install notes (10 bytes): NO package here: ",
    );
}

#[test]
fn each_package_of_a_bundle_is_told_with_its_signer_and_whether_it_would_be_installed() {
    let site = Site::new();
    let bundle = site.bundle().build(site.folder.path());
    site.refused(
        "verify",
        &bundle,
        "there is no signature beside the package",
    );
    site.keys.sign_beside(Signer::Vendor, &bundle);
    site.allow(Signer::Vendor, &["acme-stack", "acme-core"]);
    site.refused("verify", &bundle, "may not sign acme-ui");
    site.allow(Signer::Vendor, &["acme-ui"]);

    let (code, said) = site.wharfctl(&["bundle", "verify", text(&bundle)]);
    let vendor = site.keys.fingerprint(Signer::Vendor);
    let expected = format!(
        "acme-stack 2.3.0 is signed by {vendor}\n  acme-core 1.0.1 by {vendor}\n  acme-ui 1.0.1 by {vendor}\nit would \
         be installed\n"
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(&expected), "{said}");
    let (_, told) = site.wharfctl(&["--json", "bundle", "verify", text(&bundle)]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let component = serde_json::json!({"name": "acme-ui", "version": "1.0.1", "signer": vendor});
    assert_eq!(told["components"][1], component);
    assert_eq!(told["refused"], Value::Null);
    site.expect_nothing_left();

    site.keys.sign_beside(Signer::Vendor, &site.core);
    site.refused(
        "verify",
        &site.core,
        "is a package and no bundle: use wharfctl keys check",
    );
}
