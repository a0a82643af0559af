use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wharf_tests::{
    command::output_of,
    folder::{Folder, processes_in},
    keys::{GnupgKeys, Signer},
    package::Package,
    scratch_root::ScratchRoot,
};

/// The judgement of sqv: the fingerprint of the signer.
fn sqv(certificate: &Path, signature: &Path, file: &Path) -> Result<String, String> {
    let output = Command::new("sqv")
        .arg("--keyring")
        .arg(certificate)
        .arg(signature)
        .arg(file)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

struct Signed {
    folder: Folder,
    keys: GnupgKeys,
    package: PathBuf,
}

impl Signed {
    fn new() -> Self {
        let folder = Folder::new();
        Self {
            package: Package::new("wt-signed", "1").build(folder.path()),
            keys: GnupgKeys::new(),
            folder,
        }
    }

    fn certificate(&self, signer: Signer) -> PathBuf {
        let file = self.folder.join(signer.name());
        fs::write(&file, self.keys.certificate(signer)).unwrap();
        file
    }

    fn judged(&self, signer: Signer, trusted: Signer) -> Result<String, String> {
        let signature = self.keys.sign_beside(signer, &self.package);
        sqv(&self.certificate(trusted), &signature, &self.package)
    }
}

#[test]
fn sqv_judges_each_signer_as_it_is() {
    let signed = Signed::new();
    for valid in [Signer::Vendor, Signer::VendorRsa, Signer::Stranger] {
        let judged = signed.judged(valid, valid);
        assert_eq!(judged, Ok(signed.keys.fingerprint(valid)), "{valid:?}");
    }
    for spoiled in [Signer::Expired, Signer::Revoked] {
        let judged = signed.judged(spoiled, spoiled).unwrap_err();
        let reason = spoiled.name();
        assert!(
            judged.to_lowercase().contains(reason),
            "{spoiled:?}: {judged}"
        );
    }
    let judged = signed.judged(Signer::Stranger, Signer::Vendor);
    assert!(judged.is_err(), "{judged:?}");
}

#[test]
fn a_signature_can_be_of_an_earlier_time() {
    let signed = Signed::new();
    let Signed { keys, package, .. } = &signed;
    let early = keys.sign_beside_at(Signer::Vendor, package, "20250601T120000");
    let packets = output_of(
        Command::new("gpg")
            .arg("--homedir")
            .arg(keys.home())
            .arg("--list-packets")
            .arg(early),
    );
    let packets = String::from_utf8_lossy(&packets);
    assert!(packets.contains("created 1748779200"), "{packets}");
}

#[test]
fn debsigs_signs_the_members_of_a_package() {
    let signed = Signed::new();
    signed.keys.sign_inside(Signer::Vendor, &signed.package);
    let member =
        |names: &[&str]| output_of(Command::new("ar").arg("p").arg(&signed.package).args(names));
    let signature = signed.folder.join("_gpgorigin");
    let covered = signed.folder.join("covered");
    fs::write(&signature, member(&["_gpgorigin"])).unwrap();
    let members = ["debian-binary", "control.tar.xz", "data.tar.xz"];
    fs::write(&covered, member(&members)).unwrap();
    let judged = sqv(&signed.certificate(Signer::Vendor), &signature, &covered);
    assert_eq!(judged, Ok(signed.keys.fingerprint(Signer::Vendor)));
}

#[test]
fn a_root_trusts_by_a_file() {
    let root = ScratchRoot::new();
    let keys = GnupgKeys::new();
    let file = keys.trust(Signer::Vendor, &root.path());
    assert_eq!(file, root.path().join("etc/wharfd/keys/vendor.asc"));
    assert_eq!(fs::read(file).unwrap(), keys.certificate(Signer::Vendor));
}

#[test]
fn no_agent_outlives_its_keys() {
    let signed = Signed::new();
    signed.keys.sign_beside(Signer::Vendor, &signed.package);
    let homes = |process: &str| {
        let agents = Command::new("pgrep")
            .arg("-a")
            .arg(process)
            .output()
            .unwrap();
        String::from_utf8_lossy(&agents.stdout).into_owned()
    };
    let home = signed.keys.home();
    assert!(
        homes("gpg-agent").contains(home.to_str().unwrap()),
        "an agent while it signs"
    );
    drop(signed);
    assert!(
        !homes("gpg-agent").contains(home.to_str().unwrap()),
        "{}",
        homes("gpg-agent")
    );
    assert!(processes_in(&home).is_empty());
}
