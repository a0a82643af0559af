//! An instance of Object 9 on the bus.

use std::fs::File;

use wharf_frames::{Secret, fetch::MAX_SIGNATURE};
use wharf_software::{Executable, InstanceId, ObjectLink, Source, Write};
use zbus::{Connection, OwnedFd, OwnedObjectPath, fdo, interface, message::Header};

use super::{
    access::{Access, Call},
    command::{Command, Request},
    operation,
    views::InstanceView,
};

/// `/org/wharfd/Agent1/instances/ID`.
pub(super) struct Instance {
    pub(super) id: InstanceId,
    pub(super) access: Access,
}

/// Where an instance lies.
pub(super) fn path(id: InstanceId) -> OwnedObjectPath {
    super::object_path(&format!("instances/{}", id.0))
}

impl Instance {
    fn view<T: Default>(&self, part: impl FnOnce(&InstanceView) -> T) -> T {
        let views = self.access.shown.borrow();
        views.instances.get(&self.id).map(part).unwrap_or_default()
    }

    /// Returns the operation for the request.
    async fn change(&self, call: Call<'_>, request: Request) -> fdo::Result<OwnedObjectPath> {
        let user = call.root().await?;
        let id = self.id;
        let asked = self.access.ask(|answer| Command::Instance {
            id,
            request,
            user,
            answer,
        });
        Ok(asked.await?.map(operation::path).unwrap_or_default())
    }

    async fn execute(
        &self,
        call: Call<'_>,
        resource: Executable,
        arguments: &'static [u8],
    ) -> fdo::Result<OwnedObjectPath> {
        let request = Request::Execute {
            resource,
            arguments,
        };
        self.change(call, request).await
    }
}

/// An instance of Object 9, LwM2M Software Management. Its methods are a server's requests: each answers when the
/// request is accepted and stored, the work comes afterwards. The answer is the operation for the request. It may be an
/// earlier operation, or `/` if no work is left to do. Root alone.
#[interface(name = "org.wharfd.Agent1.Instance")]
impl Instance {
    /// Writes Package URI, User Name and Password together. Empty credentials erase those that are there.
    #[zbus(name = "WritePackageURI", out_args("operation"))]
    async fn write_package_uri(
        &self,
        uri: String,
        user_name: String,
        password: String,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let header = &header;
        let write = Write {
            source: Some(Source::Uri(uri.into_bytes())),
            user_name: Some(Secret::new(user_name.into_bytes())),
            password: Some(Secret::new(password.into_bytes())),
            ..Write::default()
        };
        let call = Call { connection, header };
        self.change(call, Request::Write(write)).await
    }

    /// Writes Update Supported Objects: whether servers are told of Objects and Object Instances as soon as the software
    /// changed.
    async fn write_update_supported_objects(
        &self,
        value: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let header = &header;
        let write = Write {
            update_supported_objects: Some(value),
            ..Write::default()
        };
        let call = Call { connection, header };
        self.change(call, Request::Write(write)).await.map(drop)
    }

    /// Writes Package Settings: a link to an object instance that is there, or 65535 and 65535 for none.
    async fn write_package_settings(
        &self,
        object: u16,
        instance: u16,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let header = &header;
        let write = Write {
            package_settings: Some(ObjectLink { object, instance }),
            ..Write::default()
        };
        let call = Call { connection, header };
        self.change(call, Request::Write(write)).await.map(drop)
    }

    /// Writes Package from a regular file that is open for reading, with the detached signature that stood beside
    /// it, or with none.
    #[zbus(out_args("operation"))]
    async fn write_package(
        &self,
        package: OwnedFd,
        signature: Vec<u8>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let header = &header;
        if signature.len() > MAX_SIGNATURE {
            return Err(fdo::Error::InvalidArgs(format!(
                "the signature has more than {MAX_SIGNATURE} bytes: is it one?"
            )));
        }
        let request = Request::WritePackage {
            file: File::from(std::os::fd::OwnedFd::from(package)),
            signature: (!signature.is_empty()).then_some(signature),
        };
        self.change(Call { connection, header }, request).await
    }

    /// Executes Install.
    #[zbus(out_args("operation"))]
    async fn install(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let header = &header;
        let call = Call { connection, header };
        self.execute(call, Executable::Install, b"").await
    }

    /// Executes Uninstall; for update, with argument 1: the software stays until the next Install replaces it.
    #[zbus(out_args("operation"))]
    async fn uninstall(
        &self,
        for_update: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let header = &header;
        let call = Call { connection, header };
        let arguments: &[u8] = if for_update { b"1" } else { b"0" };
        self.execute(call, Executable::Uninstall, arguments).await
    }

    /// Removes the software in place with its configuration, if root's policy allows it (`allow-purge` in
    /// installer.toml). If not, the operation ends with Update Result 57, and nothing is removed. A server cannot do
    /// this: it has Uninstall.
    #[zbus(out_args("operation"))]
    async fn purge(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let header = &header;
        let call = Call { connection, header };
        self.change(call, Request::Purge).await
    }

    /// Executes Activate. Outside INSTALLED it acts on the software in place; a server's Activate has no effect there.
    #[zbus(out_args("operation"))]
    async fn activate(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let header = &header;
        let call = Call { connection, header };
        self.execute(call, Executable::Activate, b"").await
    }

    /// Executes Deactivate. Outside INSTALLED it acts on the software in place; a server's has no effect there.
    #[zbus(out_args("operation"))]
    async fn deactivate(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let header = &header;
        let call = Call { connection, header };
        self.execute(call, Executable::Deactivate, b"").await
    }

    /// Cancels this operation, and no other that may run by now. A download or its judgement ends with Update Result
    /// 57. An operation that waits to start ends, and a job ends if the installer has changed nothing yet. A server
    /// cannot do this: it has Delete.
    async fn cancel(
        &self,
        operation: OwnedObjectPath,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let header = &header;
        let call = Call { connection, header };
        let operation = operation::id(&operation)
            .ok_or_else(|| fdo::Error::InvalidArgs("this is no operation of wharfd".to_owned()))?;
        let cancelled = self.change(call, Request::Cancel(operation));
        cancelled.await.map(drop)
    }

    /// Deletes the instance, with a download that runs. Refused while software is in place.
    async fn delete(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let header = &header;
        let call = Call { connection, header };
        self.change(call, Request::Delete).await.map(drop)
    }

    /// Its id.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> u16 {
        self.id.0
    }

    /// Whether a local user created it. The server or the factory made the others.
    #[zbus(property)]
    fn local(&self) -> bool {
        self.view(|instance| instance.local)
    }

    /// Resource 0.
    #[zbus(property)]
    fn pkg_name(&self) -> String {
        self.view(|instance| instance.pkg_name.clone())
    }

    /// Resource 1.
    #[zbus(property)]
    fn pkg_version(&self) -> String {
        self.view(|instance| instance.pkg_version.clone())
    }

    /// Resource 7: 0 INITIAL, 1 DOWNLOAD STARTED, 2 DOWNLOADED, 3 DELIVERED, 4 INSTALLED.
    #[zbus(property)]
    fn update_state(&self) -> u8 {
        self.view(|instance| instance.update_state.0)
    }

    /// The name of Update State.
    #[zbus(property)]
    fn update_state_name(&self) -> String {
        self.view(|instance| instance.update_state.1.to_owned())
    }

    /// Resource 8.
    #[zbus(property)]
    fn update_supported_objects(&self) -> bool {
        self.view(|instance| instance.update_supported_objects)
    }

    /// Resource 9.
    #[zbus(property)]
    fn update_result(&self) -> u8 {
        self.view(|instance| instance.update_result)
    }

    /// Resource 13: the ids of an object and its instance; 65535 and 65535 where it leads nowhere.
    #[zbus(property)]
    fn package_settings(&self) -> (u16, u16) {
        self.view(|instance| {
            (
                instance.package_settings.object,
                instance.package_settings.instance,
            )
        })
    }

    /// Resource 16 as public text: a number of TS Appendix B, a colon, and one line. The line has no output of programs,
    /// and of a Package URI only origin and file name. `Reasons` has the line that the server reads.
    #[zbus(property)]
    fn status_reason(&self) -> String {
        self.view(|instance| instance.status_reason.clone())
    }

    /// Resource 12.
    #[zbus(property)]
    fn activation_state(&self) -> bool {
        self.view(|instance| instance.activation_state)
    }

    /// Name and version of the software that is on the device, also while the instance is not INSTALLED; empty
    /// where there is none.
    #[zbus(property)]
    fn in_place(&self) -> (String, String) {
        self.view(|instance| instance.software.clone().unwrap_or_default())
    }

    /// Whether the software in place runs and starts at boot. In INSTALLED that is Resource 12.
    #[zbus(property)]
    fn in_place_runs(&self) -> bool {
        self.view(|instance| instance.runs)
    }

    /// Whether the software in place has nothing for the service manager to start. `InPlaceRuns` and Resource 12 then
    /// only tell which of Activate and Deactivate was the last.
    #[zbus(property)]
    fn in_place_has_no_services(&self) -> bool {
        self.view(|instance| instance.no_services)
    }

    /// Whether an Install, Uninstall, purge, Activate or Deactivate is accepted and has not ended.
    #[zbus(property)]
    fn busy(&self) -> bool {
        self.view(|instance| instance.busy)
    }

    /// What is being done, downloads included; `/` where nothing is.
    #[zbus(property)]
    fn operation(&self) -> OwnedObjectPath {
        let path = self.view(|instance| instance.operation.map(operation::path));
        path.unwrap_or_default()
    }

    /// How far that is, in percent; -1 where it is not known.
    #[zbus(property)]
    fn percent(&self) -> i16 {
        self.view(|instance| instance.percent).map_or(-1, i16::from)
    }
}
