//! Serves an instance of Object 9.

use std::fs::File;

use wharf_bus::{Caller, InstanceService};
use wharf_frames::{Action, fetch::MAX_SIGNATURE};
use wharf_software::{InstanceId, ObjectLink, Source, Write};
use zbus::{OwnedObjectPath, fdo};

use super::{
    access::{Access, root},
    command::{Command, Request},
    views::operation_path,
};

/// `/org/wharfd/Agent1/instances/ID`.
pub(super) struct Instance {
    pub(super) id: InstanceId,
    pub(super) access: Access,
}

impl InstanceService for Instance {
    /// A removed instance keeps its id for a moment.
    fn read<T: Default>(&self, part: impl FnOnce(&wharf_bus::Instance) -> T) -> T {
        let views = self.access.shown.borrow();
        let found = views.instances.get(&self.id);
        found.map(|view| part(&view.shown)).unwrap_or_default()
    }

    async fn request(
        &self,
        caller: Caller<'_>,
        request: wharf_bus::Request,
    ) -> fdo::Result<OwnedObjectPath> {
        let request = judged(request)?;
        let user = root(caller).await?;
        let id = self.id;
        let asked = self.access.ask(|answer| Command::Instance {
            id,
            request,
            user,
            answer,
        });
        Ok(asked.await?.map(operation_path).unwrap_or_default())
    }
}

/// Converts a request of the bus into a request of the agent.
fn judged(request: wharf_bus::Request) -> fdo::Result<Request> {
    use wharf_bus::Request as Asked;
    Ok(match request {
        Asked::WritePackageUri {
            uri,
            user_name,
            password,
        } => Request::Write(Write {
            source: Some(Source::Uri(uri)),
            user_name: Some(user_name),
            password: Some(password),
            ..Write::default()
        }),
        Asked::WriteUpdateSupportedObjects(value) => Request::Write(Write {
            update_supported_objects: Some(value),
            ..Write::default()
        }),
        Asked::WritePackageSettings { object, instance } => Request::Write(Write {
            package_settings: Some(ObjectLink { object, instance }),
            ..Write::default()
        }),
        Asked::WritePackage { signature, .. } if signature.len() > MAX_SIGNATURE => {
            return Err(fdo::Error::InvalidArgs(format!(
                "the signature has more than {MAX_SIGNATURE} bytes: give an OpenPGP signature"
            )));
        }
        Asked::WritePackage { package, signature } => Request::WritePackage {
            file: File::from(std::os::fd::OwnedFd::from(package)),
            signature: (!signature.is_empty()).then_some(signature),
        },
        Asked::Perform(action) => Request::Execute {
            action,
            arguments: b"",
        },
        Asked::UninstallForUpdate => Request::Execute {
            action: Action::Uninstall,
            arguments: b"1",
        },
        Asked::Cancel(operation) => {
            let id = wharf_bus::operation_name(&operation).and_then(|name| name.parse().ok());
            Request::Cancel(id.ok_or_else(|| {
                fdo::Error::InvalidArgs("this is not the path of an operation of wharfd".to_owned())
            })?)
        }
        Asked::Delete => Request::Delete,
    })
}
