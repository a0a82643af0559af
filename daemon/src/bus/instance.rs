//! Serves an instance of Object 9.

use std::fs::File;

use wharf_bus::{Caller, InstanceCall, InstanceService};
use wharf_frames::{Action, fetch::MAX_SIGNATURE};
use wharf_software::{InstanceId, ObjectLink, PackageSource, Write};
use zbus::{OwnedObjectPath, fdo};

use super::{
    access::{Access, root},
    command::{AgentCommand, InstanceCommand},
    views::operation_path,
};

/// `/org/wharfd/Agent1/instances/ID`.
pub(super) struct ServedInstance {
    pub(super) id: InstanceId,
    pub(super) access: Access,
}

impl InstanceService for ServedInstance {
    /// A removed instance keeps its id for a moment.
    fn read<T: Default>(&self, part: impl FnOnce(&wharf_bus::InstanceProperties) -> T) -> T {
        let views = self.access.shown.borrow();
        let found = views.instances.get(&self.id);
        found.map(|view| part(&view.shown)).unwrap_or_default()
    }

    async fn perform(
        &self,
        caller: Caller<'_>,
        call: InstanceCall,
    ) -> fdo::Result<OwnedObjectPath> {
        let command = judged(call)?;
        let user = root(caller).await?;
        let id = self.id;
        let asked = self.access.ask(|answer| AgentCommand::Instance {
            id,
            command,
            user,
            answer,
        });
        Ok(asked.await?.map(operation_path).unwrap_or_default())
    }
}

/// The command of this call, if its arguments are valid.
fn judged(call: InstanceCall) -> fdo::Result<InstanceCommand> {
    Ok(match call {
        InstanceCall::WritePackageUri {
            uri,
            user_name,
            password,
        } => InstanceCommand::Write(Write {
            source: Some(PackageSource::Uri(uri)),
            user_name: Some(user_name),
            password: Some(password),
            ..Write::default()
        }),
        InstanceCall::WriteUpdateSupportedObjects(value) => InstanceCommand::Write(Write {
            update_supported_objects: Some(value),
            ..Write::default()
        }),
        InstanceCall::WritePackageSettings { object, instance } => InstanceCommand::Write(Write {
            package_settings: Some(ObjectLink { object, instance }),
            ..Write::default()
        }),
        InstanceCall::WritePackage { signature, .. } if signature.len() > MAX_SIGNATURE => {
            return Err(fdo::Error::InvalidArgs(format!(
                "the signature has more than {MAX_SIGNATURE} bytes: give an OpenPGP signature"
            )));
        }
        InstanceCall::WritePackage { package, signature } => InstanceCommand::WritePackage {
            file: File::from(package),
            signature: (!signature.is_empty()).then_some(signature),
        },
        InstanceCall::Perform(action) => InstanceCommand::Execute {
            action,
            arguments: b"",
        },
        InstanceCall::UninstallForUpdate => InstanceCommand::Execute {
            action: Action::Uninstall,
            arguments: b"1",
        },
        InstanceCall::Cancel(operation) => {
            let id = wharf_bus::operation_name(&operation).and_then(|name| name.parse().ok());
            InstanceCommand::Cancel(id.ok_or_else(|| {
                fdo::Error::InvalidArgs("this is not the path of an operation of wharfd".to_owned())
            })?)
        }
        InstanceCall::Delete => InstanceCommand::Delete,
    })
}
