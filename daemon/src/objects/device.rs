//! Object 3, Device (TS Core 1.0 E.4). It has no Reboot: a server that manages software must not stop a gateway.

use std::{collections::HashMap, fs, path::Path};

use lwm2m::{
    ObjectDefinition, Operations, ResourceDefinition, ResourceValue, Resources, Type, Value,
};

use crate::{clock, config};

/// The resources of the object.
pub const DEFINITION: ObjectDefinition = ObjectDefinition::new(
    3,
    &[
        ResourceDefinition::new(0, Operations::READ, Type::String),
        ResourceDefinition::new(1, Operations::READ, Type::String),
        ResourceDefinition::new(3, Operations::READ, Type::String),
        ResourceDefinition::new(11, Operations::READ, Type::Integer)
            .multiple()
            .mandatory(),
        ResourceDefinition::new(13, Operations::READ, Type::Time),
        ResourceDefinition::new(16, Operations::READ, Type::String).mandatory(),
        ResourceDefinition::new(17, Operations::READ, Type::String),
        ResourceDefinition::new(19, Operations::READ, Type::String),
    ],
);

/// The values that do not change while wharfd runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceObject {
    manufacturer: Option<String>,
    model: Option<String>,
    firmware_version: Option<String>,
    device_type: &'static str,
    software_version: &'static str,
}

/// Placeholders in DMI if the maker of the board wrote nothing, in lower case.
const PLACEHOLDERS: [&str; 9] = [
    "default string",
    "none",
    "not applicable",
    "not specified",
    "o.e.m.",
    "system manufacturer",
    "system product name",
    "to be filled by o.e.m.",
    "unknown",
];

impl DeviceObject {
    /// The facts of the machine. The configuration fills in missing ones.
    pub fn of(root: &Path, configured: &config::DeviceSettings) -> Self {
        let dmi = |name: &str| {
            let said = first_line(&root.join("sys/class/dmi/id").join(name));
            said.filter(|text| !PLACEHOLDERS.contains(&text.to_ascii_lowercase().as_str()))
        };
        let model = || first_line(&root.join("proc/device-tree/model"));
        Self {
            manufacturer: dmi("sys_vendor").or_else(|| configured.manufacturer.clone()),
            model: dmi("product_name")
                .or_else(model)
                .or_else(|| configured.model_number.clone()),
            firmware_version: os_release(root).remove("PRETTY_NAME"),
            device_type: "gateway",
            software_version: concat!("wharfd ", env!("CARGO_PKG_VERSION")),
        }
    }

    /// The values of the readable resources.
    pub fn resources(&self) -> Resources {
        let time = i64::try_from(clock::now()).unwrap_or(i64::MAX);
        let known = [
            (0, self.manufacturer.as_deref()),
            (1, self.model.as_deref()),
            (3, self.firmware_version.as_deref()),
            (16, Some("U")),
            (17, Some(self.device_type)),
            (19, Some(self.software_version)),
        ];
        let mut resources: Resources = known
            .into_iter()
            .filter_map(|(id, text)| Some((id, text?.into())))
            .collect();
        let no_error = vec![(0, Value::Integer(0))];
        resources.push((11, ResourceValue::Multiple(no_error)));
        resources.push((13, ResourceValue::Single(Value::Time(time))));
        resources.sort_unstable_by_key(|(id, _)| *id);
        resources
    }
}

fn first_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim_matches(['\0', ' ']);
    (!line.is_empty()).then(|| line.to_owned())
}

/// os-release(5).
fn os_release(root: &Path) -> HashMap<String, String> {
    let text = fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_version_is_the_name_of_the_distribution() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let text = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        fs::write(root.path().join("etc/os-release"), text).unwrap();
        let resources =
            DeviceObject::of(root.path(), &config::DeviceSettings::default()).resources();
        let expected = (3, "Debian GNU/Linux 12 (bookworm)".into());
        assert!(resources.contains(&expected), "{resources:?}");
    }

    const DMI: [&str; 2] = [
        "sys/class/dmi/id/sys_vendor",
        "sys/class/dmi/id/product_name",
    ];
    const TREE: &str = "proc/device-tree/model";

    /// Manufacturer and Model Number of a machine with these files; the configuration says Acme and Gate 7.
    fn made(files: &[(&str, &str)]) -> [Option<ResourceValue>; 2] {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let configured = config::DeviceSettings {
            manufacturer: Some("Acme".to_owned()),
            model_number: Some("Gate 7".to_owned()),
        };
        let resources = DeviceObject::of(root.path(), &configured).resources();
        [0, 1].map(|wanted| {
            let mut found = resources.iter().filter(|(id, _)| *id == wanted);
            found.next().map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn manufacturer_and_model_number_come_from_the_configuration_where_the_machine_does_not_say() {
        let [vendor, product] = DMI;
        for (files, expected) in [
            (&[][..], ["Acme", "Gate 7"]),
            (
                &[(TREE, "Raspberry Pi 4 Model B\0")],
                ["Acme", "Raspberry Pi 4 Model B"],
            ),
            (
                &[(vendor, "QEMU\n"), (product, "Standard PC\n")],
                ["QEMU", "Standard PC"],
            ),
            (
                &[(vendor, "Default string\n"), (product, "  \n")],
                ["Acme", "Gate 7"],
            ),
            (
                &[(vendor, "Intel\n"), (product, "To Be Filled By O.E.M.\n")],
                ["Intel", "Gate 7"],
            ),
        ] {
            let expected = expected.map(|text| Some(text.into()));
            assert_eq!(made(files), expected, "{files:?}");
        }
    }
}
