//! `wharfctl install`: writes a package into an instance, waits for DELIVERED, installs it, and waits for the end.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use wharf_bus::InstanceCall;
use wharf_frames::{Action, Secret, fetch::MAX_SIGNATURE};

use crate::{
    agent::AgentClient,
    arguments::{InstallArguments, Named, PackageArgument},
    error::CommandError,
    follow::{Follower, OperationEnd},
    keys,
    model::{DELIVERED, INITIAL, INSTALLED, ShownInstance, Snapshot},
    output::tell,
    text,
};

/// More than any password has. wharfd takes 255 bytes.
const LONGEST_PASSWORD_FILE: usize = 64 * 1024;

pub(crate) async fn install(
    agent: &AgentClient,
    root: &Path,
    arguments: InstallArguments,
    json: bool,
) -> Result<(), CommandError> {
    let mut follower = Follower::new(agent, json).await?;
    let snapshot = follower.snapshot().await?;
    let delivered = match named_instance(&arguments, &snapshot)? {
        Some(instance) => named_as_it_is(&arguments, &snapshot, instance)?,
        None => {
            let package = package(&arguments)?;
            let name = expected_name(root, &snapshot, &arguments).await?;
            let name = name.as_deref();
            delivered_where_it_belongs(&mut follower, &snapshot, &arguments, name, &package).await?
        }
    };
    let end = installed(&mut follower, &delivered).await?;
    let last = match activation(&end) {
        Some(activation) => follower.end_of(&activation).await.unwrap_or(end),
        None => end,
    };
    tell(json, || told(&delivered.instance, last.instance()));
    Ok(())
}

/// A package that was delivered, in its instance.
struct Delivered {
    instance: ShownInstance,
    /// The sequence of the last operation that was accepted before its Install.
    sequence: u64,
}

impl Delivered {
    fn misplaced(&self, snapshot: &Snapshot) -> Option<CommandError> {
        let name = self.instance.name.as_deref().unwrap_or_default();
        misplaced(snapshot, &self.instance, name)
    }
}

/// The instance that the user named instead of a package: by its number, or by the name of a DELIVERED package. A file
/// with that name takes precedence.
fn named_instance<'a>(
    arguments: &InstallArguments,
    snapshot: &'a Snapshot,
) -> Result<Option<&'a ShownInstance>, CommandError> {
    let PackageArgument::File(file) = &arguments.package else {
        return Ok(None);
    };
    let word = file.to_str().filter(|word| !word.contains('/'));
    let named = word.and_then(|word| word.parse::<Named>().ok());
    let Some(named) = named.filter(|_| !file.exists() || file.is_dir()) else {
        return Ok(None);
    };
    let is_delivered = |known: &&ShownInstance| match &named {
        Named::Number(id) => known.id == *id,
        Named::Package(name) => {
            known.update_state == DELIVERED && known.name.as_ref() == Some(name)
        }
    };
    let mut found = snapshot.instances.iter().filter(is_delivered);
    match (found.next(), found.next(), &named) {
        (Some(one), None, _) => Ok(Some(one)),
        (None, _, Named::Package(_)) => Ok(None),
        _ => snapshot.instance(&named).map(Some), // the error names none or both
    }
}

/// Installs the package of an instance, also again after a failed Install.
fn named_as_it_is(
    arguments: &InstallArguments,
    snapshot: &Snapshot,
    instance: &ShownInstance,
) -> Result<Delivered, CommandError> {
    if arguments.new || arguments.instance.is_some() || arguments.user.is_some() {
        return Err(CommandError::Usage(
            "the package of an instance is installed as it is: leave out --instance, --new, --user and --password-file",
        ));
    }
    let delivered = Delivered {
        instance: instance.clone(),
        sequence: snapshot.sequence(),
    };
    match delivered.misplaced(snapshot) {
        Some(why) if instance.update_state == DELIVERED => Err(why),
        _ => Ok(delivered),
    }
}

/// The name of the package before its delivery, to find the instance that has it in place. wharf-installer reads it
/// from a local file that it would accept. For a URI the name is not known.
async fn expected_name(
    root: &Path,
    snapshot: &Snapshot,
    arguments: &InstallArguments,
) -> Result<Option<String>, CommandError> {
    let file = match &arguments.package {
        PackageArgument::Uri(_) => return Ok(None),
        PackageArgument::File(file) => file,
    };
    let name = keys::name_in(root, file).await;
    let into = arguments.instance.as_ref();
    let into = into.map(|named| snapshot.instance(named)).transpose()?;
    let wrong = name
        .as_deref()
        .zip(into)
        .and_then(|(name, into)| misplaced(snapshot, into, name));
    wrong.map_or(Ok(name), Err)
}

/// Delivers the package. If another instance turns out to have it in place, delivers it again, into that one.
async fn delivered_where_it_belongs(
    follower: &mut Follower<'_>,
    snapshot: &Snapshot,
    arguments: &InstallArguments,
    expected: Option<&str>,
    package: &InstanceCall,
) -> Result<Delivered, CommandError> {
    let place = Place::find(follower, snapshot, arguments, expected).await?;
    let (snapshot, delivered) = place.deliver(follower, package).await?;
    let Some(why) = delivered.misplaced(&snapshot) else {
        return Ok(delivered);
    };
    place.give_up(follower, &delivered.instance).await?;
    if arguments.new || arguments.instance.is_some() {
        return Err(why);
    }
    let snapshot = follower.wait_for_wharfd().await?;
    let name = delivered.instance.name.as_deref();
    let title = delivered.instance.title();
    tell(follower.json, || {
        format!("{title} is delivered again, into the instance that has it in place")
    });
    let place = Place::find(follower, &snapshot, arguments, name).await?;
    let (snapshot, delivered) = place.deliver(follower, package).await?;
    match delivered.misplaced(&snapshot) {
        None => Ok(delivered),
        Some(why) => {
            place.give_up(follower, &delivered.instance).await?;
            Err(why)
        }
    }
}

/// Installs the delivered package. If a server did that already, waits for its Install.
async fn installed(
    follower: &mut Follower<'_>,
    delivered: &Delivered,
) -> Result<OperationEnd, CommandError> {
    let id = delivered.instance.id;
    let operation = match follower
        .ask(&delivered.instance, &InstanceCall::Perform(Action::Install))
        .await
    {
        Ok(Some(operation)) => operation,
        Ok(None) => return Err(CommandError::NotUnderstood("operation".to_owned())),
        Err(refused @ CommandError::Refused(_)) => {
            let snapshot = follower.wait_for_wharfd().await?;
            match snapshot.begun(id, Action::Install.as_str(), delivered.sequence) {
                Some(operation) => operation.id.clone(),
                None => return Err(refused.of(&delivered.instance.title())),
            }
        }
        Err(failure) => return Err(failure),
    };
    let end = follower.end_of(&operation).await?;
    end.succeeded().map(|()| end)
}

/// The activation that wharfd.toml orders after the Install. Its failure does not fail the Install.
fn activation(end: &OperationEnd) -> Option<String> {
    let operation = end.instance()?.operation.as_deref()?;
    let operation = end.snapshot.operation(operation)?;
    (operation.kind == Action::Activate.as_str()).then(|| operation.id.clone())
}

fn told(delivered: &ShownInstance, now: Option<&ShownInstance>) -> String {
    let (title, id) = (delivered.title(), delivered.id);
    let software = now.and_then(|now| now.in_place.as_ref());
    match now.is_some_and(|now| now.active) {
        _ if software.is_some_and(|software| software.no_services) => {
            format!("{title} is installed in instance {id}, and has no services")
        }
        true => format!("{title} is installed in instance {id}, and active"),
        false => format!(
            "{title} is installed in instance {id}, and inactive: `wharfctl activate {id}` starts it"
        ),
    }
}

/// The Write of the package.
fn package(arguments: &InstallArguments) -> Result<InstanceCall, CommandError> {
    match &arguments.package {
        PackageArgument::Uri(uri) => Ok(InstanceCall::WritePackageUri {
            uri: Secret::new(uri.clone().into_bytes()),
            user_name: Secret::new(arguments.user.clone().unwrap_or_default().into_bytes()),
            password: match &arguments.password_file {
                Some(file) => first_line(file)?,
                None => Secret::new(Vec::new()),
            },
        }),
        PackageArgument::File(_) if arguments.user.is_some() => Err(CommandError::Usage(
            "--user and --password-file need a URI, and the package is a file",
        )),
        PackageArgument::File(file) => Ok(InstanceCall::WritePackage {
            package: open_package(file)?.into(),
            signature: signature_beside(file)?,
        }),
    }
}

fn first_line(file: &Path) -> Result<Secret, CommandError> {
    let read = Secret::read(open(file)?, LONGEST_PASSWORD_FILE);
    let text = read.map_err(|source| unreadable(file, source))?;
    let line = text.expose().split(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match str::from_utf8(line) {
        Ok(_) => Ok(Secret::new(line.to_vec())),
        Err(error) => Err(unreadable(
            file,
            std::io::Error::new(ErrorKind::InvalidData, error),
        )),
    }
}

/// `FILE.asc`, else `FILE.sig`, else none: then the package has to carry its signature.
fn signature_beside(file: &Path) -> Result<Vec<u8>, CommandError> {
    for extension in ["asc", "sig"] {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{extension}"));
        let name = PathBuf::from(name);
        if name.exists() {
            let mut bytes = Vec::new();
            let most = MAX_SIGNATURE as u64 + 1; // wharfd says that it is too long
            let read = open(&name)?.take(most).read_to_end(&mut bytes);
            read.map_err(|source| unreadable(&name, source))?;
            return Ok(bytes);
        }
    }
    Ok(Vec::new())
}

/// Opens the package. The error names the allowed forms: the user may have written the name of a package.
fn open_package(file: &Path) -> Result<File, CommandError> {
    match File::open(file) {
        Err(source) if source.kind() == ErrorKind::NotFound => Err(CommandError::Refused(format!(
            "there is no file {:?}: name a file, a URI (https://…, http://…), or an instance whose package is DELIVERED",
            file.display().to_string()
        ))),
        Ok(opened) if !is_regular(&opened).map_err(|source| unreadable(file, source))? => {
            let file = file.display();
            Err(CommandError::Refused(format!(
                "{file} is not a regular file"
            )))
        }
        opened => opened.map_err(|source| unreadable(file, source)),
    }
}

fn is_regular(file: &File) -> std::io::Result<bool> {
    file.metadata().map(|known| known.is_file())
}

fn open(file: &Path) -> Result<File, CommandError> {
    File::open(file).map_err(|source| unreadable(file, source))
}

fn unreadable(file: &Path, source: std::io::Error) -> CommandError {
    CommandError::File {
        file: file.to_owned(),
        source,
    }
}

/// The instance that takes the package.
struct Place {
    instance: ShownInstance,
    /// Whether this command certainly created it. An instance found after a lost answer may be another user's.
    created: bool,
}

impl Place {
    /// The named instance; else the one with this package in place; else a free one; else a new one. If a server is
    /// configured, it owns the free instances that no local user created.
    async fn find(
        follower: &mut Follower<'_>,
        snapshot: &Snapshot,
        arguments: &InstallArguments,
        package: Option<&str>,
    ) -> Result<Self, CommandError> {
        let instances = || snapshot.instances.iter();
        let has_server = !snapshot.agent.server.is_empty();
        let is_ours = |known: &&ShownInstance| is_free(known) && (known.local || !has_server);
        let found = match &arguments.instance {
            Some(named) => Some(snapshot.instance(named)?),
            None if arguments.new => None,
            None => instances()
                .find(|known| package.is_some() && in_place(known) == package)
                .or_else(|| instances().rev().find(is_ours)),
        };
        let Some(instance) = found else {
            let created = Self::create(follower, snapshot).await;
            return created.map_err(|failure| match advice_to_create(snapshot, arguments) {
                Some(advice) => failure.or(&advice),
                None => failure,
            });
        };
        make_ready(follower, instance).await?;
        Ok(Self {
            instance: instance.clone(),
            created: false,
        })
    }

    async fn create(follower: &mut Follower<'_>, before: &Snapshot) -> Result<Self, CommandError> {
        loop {
            let id = follower.create().await?;
            let now = follower.wait_for_wharfd().await?;
            let is_it = |instance: &&ShownInstance| match id {
                Some(id) => instance.id == id,
                None => {
                    let is_new = before.by_id(instance.id).is_none();
                    is_new && instance.local && is_free(instance)
                }
            };
            match (now.instances.iter().rev().find(is_it), id) {
                (Some(instance), _) => {
                    return Ok(Self {
                        instance: instance.clone(),
                        created: id.is_some(),
                    });
                }
                (None, Some(id)) => return Err(deleted(id)),
                (None, None) => {}
            }
        }
    }

    /// Brings the package to DELIVERED. A server may already have installed it.
    async fn deliver(
        &self,
        follower: &mut Follower<'_>,
        package: &InstanceCall,
    ) -> Result<(Snapshot, Delivered), CommandError> {
        let id = self.instance.id;
        let asked = follower.ask(&self.instance, package).await;
        let operation = asked.map_err(|failure| failure.of(&self.instance.title()))?;
        let operation =
            operation.ok_or_else(|| CommandError::NotUnderstood("operation".to_owned()))?;
        let end = follower.end_of(&operation).await?;
        end.succeeded()?;
        let instance = end.instance().ok_or_else(|| deleted(id))?.clone();
        if instance.update_state < DELIVERED {
            return Err(CommandError::Refused(text::at(&instance)));
        }
        let sequence = end.operation.sequence;
        Ok((end.snapshot, Delivered { instance, sequence }))
    }

    /// Drops the package. The software in place stays, and its instance stays INITIAL until the next Install.
    async fn give_up(
        &self,
        follower: &mut Follower<'_>,
        delivered: &ShownInstance,
    ) -> Result<(), CommandError> {
        let change = match self.created {
            true => InstanceCall::Delete,
            false => InstanceCall::UninstallForUpdate,
        };
        follower.ask(delivered, &change).await?;
        if let Some(software) = &delivered.in_place {
            let runs = if software.runs { " and runs on" } else { "" };
            let id = self.instance.id;
            tell(follower.json, || {
                format!("instance {id} is INITIAL now; {software} stays in place{runs}")
            });
        }
        Ok(())
    }
}

/// Advice if no instance can be created: upgrade one, or use a free one of the server. A file upgrades none: its name
/// is known, and no instance has it in place.
fn advice_to_create(snapshot: &Snapshot, arguments: &InstallArguments) -> Option<String> {
    if arguments.new {
        return None;
    }
    let is_uri = matches!(arguments.package, PackageArgument::Uri(_));
    let upgrades = is_uri && snapshot.instances.iter().any(|it| it.in_place.is_some());
    let upgrade = upgrades.then(|| "name the one to upgrade with --instance".to_owned());
    let free = snapshot.instances.iter().rev().find(|it| is_free(it));
    let free = free.map(|free| {
        let id = free.id;
        format!("take the free one of the server with --instance {id}")
    });
    let all: Vec<String> = [upgrade, free].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(", or "))
}

fn deleted(id: u16) -> CommandError {
    CommandError::Refused(format!("instance {id} was deleted meanwhile"))
}

fn is_free(instance: &ShownInstance) -> bool {
    instance.update_state == INITIAL && instance.is_settled() && instance.in_place.is_none()
}

fn in_place(instance: &ShownInstance) -> Option<&str> {
    let software = instance.in_place.as_ref();
    software.map(|software| software.name.as_str())
}

/// Brings the instance to INITIAL for the Write (TS 5.1.2.1): drops a package that failed to install. wharfd refuses
/// the Write if a server may still install another one.
async fn make_ready(
    follower: &mut Follower<'_>,
    instance: &ShownInstance,
) -> Result<(), CommandError> {
    let upgrades = instance.update_state == INSTALLED;
    let failed = instance.update_state == DELIVERED && instance.has_failed();
    if upgrades || failed {
        let change = InstanceCall::UninstallForUpdate;
        follower.ask(instance, &change).await?;
    }
    Ok(())
}

/// The reason why the package is in the wrong instance: another one has it in place, or this one has another package in
/// place.
fn misplaced(snapshot: &Snapshot, instance: &ShownInstance, name: &str) -> Option<CommandError> {
    let mut others = snapshot.instances.iter();
    let holder = others.find(|other| other.id != instance.id && in_place(other) == Some(name));
    let why = match (holder, in_place(instance)) {
        (Some(holder), _) => format!(
            "instance {} has {name} in place: leave out --new and --instance to upgrade or repair it",
            holder.id
        ),
        (None, Some(other)) if other != name => format!(
            "instance {} has {other} in place, and the package is {name}: leave out --instance",
            instance.id
        ),
        _ => return None,
    };
    Some(CommandError::Refused(why))
}
