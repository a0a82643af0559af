//! The default endpoint name, derived from the machine id. machine-id(5) asks programs not to publish the id itself.

use std::{fs, io, path::Path};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The application id of wharfd, for `sd_id128_get_machine_app_specific`.
const APPLICATION: [u8; 16] = *b"\xa5\x1b\x5e\x0c\x43\x8a\x4e\x21\x9d\x0f\x6b\x1e\x77\x9c\x2a\x34";

/// The reason why there is no machine id.
#[derive(Debug, thiserror::Error)]
pub enum NoMachineId {
    /// The file cannot be read.
    #[error("cannot read /etc/machine-id ({0})")]
    Unreadable(#[from] io::Error),
    /// The file is empty (a system image) or `uninitialized` (a first boot), or holds something else.
    #[error("/etc/machine-id holds no machine id")]
    Unset,
}

/// `urn:uuid:` and an id of this machine for this application, as `sd_id128_get_machine_app_specific`
/// makes them.
pub fn from_machine_id(root: &Path) -> Result<String, NoMachineId> {
    let text = fs::read_to_string(root.join("etc/machine-id"))?;
    let machine: wharf_frames::OperationId =
        text.trim_end().parse().map_err(|_| NoMachineId::Unset)?;
    if machine.as_bytes() == &[0; 16] {
        return Err(NoMachineId::Unset);
    }
    Ok(urn(application_specific(machine.as_bytes(), &APPLICATION)))
}

fn application_specific(machine: &[u8; 16], application: &[u8; 16]) -> [u8; 16] {
    let mut id = [0; 16];
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(machine) else {
        return id; // HMAC takes keys of any length
    };
    mac.update(application);
    id.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    id[6] = id[6] & 0x0f | 0x40; // a version 4 UUID, as systemd marks it
    id[8] = id[8] & 0x3f | 0x80;
    id
}

fn urn(id: [u8; 16]) -> String {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let (a, b, c, d, e) = (&id[..4], &id[4..6], &id[6..8], &id[8..10], &id[10..]);
    format!(
        "urn:uuid:{}-{}-{}-{}-{}",
        hex(a),
        hex(b),
        hex(c),
        hex(d),
        hex(e)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(machine_id: &str) -> Result<String, NoMachineId> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/machine-id"), machine_id).unwrap();
        from_machine_id(root.path())
    }

    /// `systemd-id128 machine-id --app-specific=a51b5e0c438a4e219d0f6b1e779c2a34` on a machine with
    /// this id prints the same.
    #[test]
    fn the_name_is_the_application_specific_machine_id() {
        let name = name("0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!(name, "urn:uuid:88d8a83a-bed9-42ec-bb0e-2511732eb010");
    }

    #[test]
    fn the_name_does_not_tell_the_machine_id() {
        assert!(
            !name("0123456789abcdef0123456789abcdef")
                .unwrap()
                .contains("0123")
        );
    }

    #[test]
    fn a_machine_without_an_id_is_told_so() {
        for id in ["", "uninitialized\n", "0123", &"0".repeat(32)] {
            assert!(matches!(name(id), Err(NoMachineId::Unset)), "{id:?}");
        }
    }
}
