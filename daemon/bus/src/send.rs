//! Sends a call of an instance to wharfd.

use wharf_frames::Action;
use wharf_secret::Secret;
use zbus::{OwnedObjectPath, fdo};

use crate::{InstanceCall, InstanceProxy};

/// A secret as the bus takes it.
fn text(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

impl InstanceProxy<'_> {
    /// Sends this call. Returns the operation for it, or `/`.
    pub async fn send(&self, call: &InstanceCall) -> fdo::Result<OwnedObjectPath> {
        match call {
            InstanceCall::WritePackageUri {
                uri,
                user_name,
                password,
            } => {
                let (uri, user_name, password) = (text(uri), text(user_name), text(password));
                self.write_package_uri(uri, user_name, password).await
            }
            InstanceCall::WritePackage { package, signature } => {
                let package = package.try_clone().map_err(zbus::Error::from)?;
                self.write_package(package.into(), signature.clone()).await
            }
            InstanceCall::Perform(action) => match action {
                Action::Install => self.install().await,
                Action::Uninstall => self.uninstall(false).await,
                Action::Purge => self.purge().await,
                Action::Activate => self.activate().await,
                Action::Deactivate => self.deactivate().await,
                Action::Back => self.back().await,
            },
            InstanceCall::UninstallForUpdate => self.uninstall(true).await,
            InstanceCall::WriteUpdateSupportedObjects(value) => {
                no_operation(self.write_update_supported_objects(*value).await)
            }
            InstanceCall::WritePackageSettings { object, instance } => {
                no_operation(self.write_package_settings(*object, *instance).await)
            }
            InstanceCall::Cancel(operation) => no_operation(self.cancel(operation.clone()).await),
            InstanceCall::Delete => no_operation(self.delete().await),
        }
    }
}

fn no_operation(done: fdo::Result<()>) -> fdo::Result<OwnedObjectPath> {
    done.map(|()| OwnedObjectPath::default())
}
