//! A call of a method of an instance, as a value: wharfctl sends it, wharfd performs it.

use std::os::fd::OwnedFd;

use wharf_frames::Action;
use wharf_secret::Secret;
use zbus::OwnedObjectPath;

/// A method of an instance, with its arguments.
#[derive(Debug)]
#[allow(missing_docs, reason = "the interface of an instance describes each")]
pub enum InstanceCall {
    WritePackageUri {
        uri: Secret,
        user_name: Secret,
        password: Secret,
    },
    WriteUpdateSupportedObjects(bool),
    WritePackageSettings {
        object: u16,
        instance: u16,
    },
    WritePackage {
        package: OwnedFd,
        signature: Vec<u8>,
    },
    Perform(Action),
    UninstallForUpdate,
    Cancel(OwnedObjectPath),
    Delete,
}
