//! An instance of Object 9 on the bus.

use wharf_frames::Action;
use wharf_secret::Secret;
use zbus::{
    Connection, DeserializeDict, OwnedFd, OwnedObjectPath, SerializeDict, Type, fdo, interface,
    message::Header,
};

use crate::{Caller, InstanceCall};

/// The properties of an instance, as the interface describes them.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict", rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the interface below describes each")]
pub struct InstanceProperties {
    pub id: u16,
    pub local: bool,
    pub pkg_name: String,
    pub pkg_version: String,
    pub update_state: u8,
    pub update_state_name: String,
    pub update_supported_objects: bool,
    pub update_result: u8,
    pub package_settings: (u16, u16),
    pub status_reason: String,
    pub activation_state: bool,
    pub in_place: (String, String),
    pub in_place_runs: bool,
    pub in_place_has_no_services: bool,
    pub components: Vec<(u16, String, String, bool)>,
    pub busy: bool,
    pub operation: OwnedObjectPath,
    pub percent: i16,
}

/// Serves an instance.
pub trait InstanceService: Send + Sync + 'static {
    /// Reads a part of its properties; the default if it is gone.
    fn read<T: Default>(&self, part: impl FnOnce(&InstanceProperties) -> T) -> T;

    /// Accepts and stores a call. Returns the operation for it, or `/`.
    fn perform(
        &self,
        caller: Caller<'_>,
        call: InstanceCall,
    ) -> impl Future<Output = fdo::Result<OwnedObjectPath>> + Send;
}

/// `/org/wharfd/Agent1/instances/ID`.
pub struct InstanceObject<S>(pub S);

/// An instance of Object 9, LwM2M Software Management. Its methods are the requests of a server. Each answers after the
/// request is accepted and stored; the work comes later. The answer is the operation for the request. It may be an
/// earlier operation, or `/` if no work is left to do. Only root may call them.
#[interface(
    name = "org.wharfd.Agent1.Instance",
    proxy(async_name = "InstanceProxy", default_service = "org.wharfd.Agent1")
)]
impl<S: InstanceService> InstanceObject<S> {
    /// Writes Package URI, User Name and Password together. Empty credentials erase the stored ones.
    #[zbus(name = "WritePackageURI", out_args("operation"))]
    async fn write_package_uri(
        &self,
        uri: String,
        user_name: String,
        password: String,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let secret = |text: String| Secret::new(text.into_bytes());
        let call = InstanceCall::WritePackageUri {
            uri: secret(uri),
            user_name: secret(user_name),
            password: secret(password),
        };
        self.0.perform(Caller { connection, header }, call).await
    }

    /// Writes Update Supported Objects. If it is true, servers get the list of Objects and Object Instances as soon as
    /// the software has changed.
    async fn write_update_supported_objects(
        &self,
        value: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let call = InstanceCall::WriteUpdateSupportedObjects(value);
        let done = self.0.perform(Caller { connection, header }, call);
        done.await.map(drop)
    }

    /// Writes Package Settings: a link to an object instance that exists, or 65535 and 65535 for none.
    async fn write_package_settings(
        &self,
        object: u16,
        instance: u16,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let call = InstanceCall::WritePackageSettings { object, instance };
        let done = self.0.perform(Caller { connection, header }, call);
        done.await.map(drop)
    }

    /// Writes Package from a regular file that is open for reading, with its detached signature; empty for none.
    #[zbus(out_args("operation"))]
    async fn write_package(
        &self,
        package: OwnedFd,
        signature: Vec<u8>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let call = InstanceCall::WritePackage {
            package: package.into(),
            signature,
        };
        self.0.perform(Caller { connection, header }, call).await
    }

    /// Executes Install.
    #[zbus(out_args("operation"))]
    async fn install(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        self.0
            .perform(
                Caller { connection, header },
                InstanceCall::Perform(Action::Install),
            )
            .await
    }

    /// Executes Uninstall; for update, with argument 1: the software stays until the next Install replaces it.
    #[zbus(out_args("operation"))]
    async fn uninstall(
        &self,
        for_update: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let call = match for_update {
            true => InstanceCall::UninstallForUpdate,
            false => InstanceCall::Perform(Action::Uninstall),
        };
        self.0.perform(Caller { connection, header }, call).await
    }

    /// Removes the software in place with its configuration, if root's policy allows it (`allow-purge` in
    /// installer.toml). If not, nothing is removed, and the operation ends with Update Result 57, in INITIAL with 0. A
    /// server cannot do this: it has Uninstall.
    #[zbus(out_args("operation"))]
    async fn purge(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        self.0
            .perform(
                Caller { connection, header },
                InstanceCall::Perform(Action::Purge),
            )
            .await
    }

    /// Executes Activate. Outside INSTALLED it acts on the software in place; a server's Activate has no effect there.
    #[zbus(out_args("operation"))]
    async fn activate(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        self.0
            .perform(
                Caller { connection, header },
                InstanceCall::Perform(Action::Activate),
            )
            .await
    }

    /// Executes Deactivate. Outside INSTALLED it acts on the software in place; a server's has no effect there.
    #[zbus(out_args("operation"))]
    async fn deactivate(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        self.0
            .perform(
                Caller { connection, header },
                InstanceCall::Perform(Action::Deactivate),
            )
            .await
    }

    /// Puts back the version before the software in place, with its configuration files of then, from the file that
    /// root's policy keeps (`[back]` in installer.toml). Only in INSTALLED. A server cannot do this.
    #[zbus(out_args("operation"))]
    async fn back(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let call = InstanceCall::Perform(Action::Back);
        self.0.perform(Caller { connection, header }, call).await
    }

    /// Cancels this operation, and never a later one. A download or the check of its package ends with Update Result
    /// 57. An operation that waits to start ends, and a job ends if the installer has changed nothing yet. A server
    /// cannot do this: it has Delete.
    async fn cancel(
        &self,
        operation: OwnedObjectPath,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let caller = Caller { connection, header };
        let done = self.0.perform(caller, InstanceCall::Cancel(operation));
        done.await.map(drop)
    }

    /// Deletes the instance, and cancels its download. Refused while software is in place.
    async fn delete(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let caller = Caller { connection, header };
        self.0.perform(caller, InstanceCall::Delete).await.map(drop)
    }

    /// Its id.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> u16 {
        self.0.read(|instance| instance.id)
    }

    /// Whether a local user created it. The server or the factory made the others.
    #[zbus(property)]
    fn local(&self) -> bool {
        self.0.read(|instance| instance.local)
    }

    /// Resource 0.
    #[zbus(property)]
    fn pkg_name(&self) -> String {
        self.0.read(|instance| instance.pkg_name.clone())
    }

    /// Resource 1.
    #[zbus(property)]
    fn pkg_version(&self) -> String {
        self.0.read(|instance| instance.pkg_version.clone())
    }

    /// Resource 7: 0 INITIAL, 1 DOWNLOAD STARTED, 2 DOWNLOADED, 3 DELIVERED, 4 INSTALLED.
    #[zbus(property)]
    fn update_state(&self) -> u8 {
        self.0.read(|instance| instance.update_state)
    }

    /// The name of Update State.
    #[zbus(property)]
    fn update_state_name(&self) -> String {
        self.0.read(|instance| instance.update_state_name.clone())
    }

    /// Resource 8.
    #[zbus(property)]
    fn update_supported_objects(&self) -> bool {
        self.0.read(|instance| instance.update_supported_objects)
    }

    /// Resource 9.
    #[zbus(property)]
    fn update_result(&self) -> u8 {
        self.0.read(|instance| instance.update_result)
    }

    /// Resource 13: the ids of an object and its instance; 65535 and 65535 for none.
    #[zbus(property)]
    fn package_settings(&self) -> (u16, u16) {
        self.0.read(|instance| instance.package_settings)
    }

    /// Resource 16 as public text: a number of TS Appendix B, a colon, and one line. The line has no output of
    /// programs, and only origin and file name of a Package URI. `Reasons` has the line that the server reads.
    #[zbus(property)]
    fn status_reason(&self) -> String {
        self.0.read(|instance| instance.status_reason.clone())
    }

    /// Resource 12.
    #[zbus(property)]
    fn activation_state(&self) -> bool {
        self.0.read(|instance| instance.activation_state)
    }

    /// Name and version of the software on the device, also while the instance is not INSTALLED; empty if there is
    /// none.
    #[zbus(property)]
    fn in_place(&self) -> (String, String) {
        self.0.read(|instance| instance.in_place.clone())
    }

    /// Whether the software in place runs and starts at boot. In INSTALLED that is Resource 12.
    #[zbus(property)]
    fn in_place_runs(&self) -> bool {
        self.0.read(|instance| instance.in_place_runs)
    }

    /// Whether the software in place has nothing for the service manager to start. `InPlaceRuns` and Resource 12 then
    /// only show whether the last request was Activate or Deactivate.
    #[zbus(property)]
    fn in_place_has_no_services(&self) -> bool {
        self.0.read(|instance| instance.in_place_has_no_services)
    }

    /// The instances of Object 14 that belong to this one, in the order of the bundle's manifest: id, Component Identity,
    /// Component Version, Activation State. A plain package has one if wharfd.toml has `components = true`.
    #[zbus(property)]
    fn components(&self) -> Vec<(u16, String, String, bool)> {
        self.0.read(|instance| instance.components.clone())
    }

    /// Whether an Install, Uninstall, purge, Activate, Deactivate or Back is accepted and has not ended.
    #[zbus(property)]
    fn busy(&self) -> bool {
        self.0.read(|instance| instance.busy)
    }

    /// The running operation, downloads included; `/` if there is none.
    #[zbus(property)]
    fn operation(&self) -> OwnedObjectPath {
        self.0.read(|instance| instance.operation.clone())
    }

    /// The progress of the operation, in percent; -1 if it is not known.
    #[zbus(property)]
    fn percent(&self) -> i16 {
        self.0.read(|instance| instance.percent)
    }
}
