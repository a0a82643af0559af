//! `wharfctl install`: a package is written into an instance, followed to DELIVERED, installed, followed to its end.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use wharf_frames::fetch::MAX_SIGNATURE;

use crate::{
    agent::{Agent, Change},
    arguments::{InstallArguments, Named, Package},
    change::succeeded,
    failure::Failure,
    model::{DELIVERED, INITIAL, INSTALLED, Instance, Snapshot},
    show::tell,
    watch::Follower,
};

pub(crate) async fn install(
    agent: &Agent,
    arguments: InstallArguments,
    json: bool,
) -> Result<(), Failure> {
    let snapshot = agent.snapshot().await?;
    if let Some(delivered) = named_instance(&arguments, &snapshot)? {
        if arguments.instance.is_some() || arguments.user.is_some() {
            return Err(Failure::Usage(
                "an instance is installed as it is: leave out --instance, --user and --password-file",
            ));
        }
        return install_delivered(agent, &snapshot, delivered, json).await;
    }
    let package = package(&arguments)?;
    let place = Place::find(agent, arguments.instance.as_ref()).await?;
    let mut follower = Follower::new(agent, place.id, json).await?;
    agent.change(place.id, package).await?;
    // A server may already have gone on with what was delivered.
    let arrived = |now: &Instance| now.update_state >= DELIVERED || now.is_settled();
    let (snapshot, delivered) = follower.until(arrived).await?;
    succeeded(delivered.update_state >= DELIVERED, &delivered)?;
    if let Some(holder) = holder(&snapshot, &delivered) {
        place.give_up(agent).await?;
        return Err(held(&delivered, holder));
    }
    if delivered.update_state == DELIVERED {
        agent.change(place.id, Change::Install).await?;
    }
    let (_, end) = follower.until(Instance::is_settled).await?;
    succeeded(end.update_state == INSTALLED, &end)?;
    tell(json, || installed(&end));
    Ok(())
}

/// The instance that is named in place of a package: by its number, or by the name of a package that is DELIVERED. A
/// file of that name comes first.
fn named_instance<'a>(
    arguments: &InstallArguments,
    snapshot: &'a Snapshot,
) -> Result<Option<&'a Instance>, Failure> {
    let Package::File(file) = &arguments.package else {
        return Ok(None);
    };
    let word = file.to_str().filter(|word| !word.contains('/'));
    let named = word.and_then(|word| word.parse::<Named>().ok());
    let Some(named) = named.filter(|_| !file.exists() || file.is_dir()) else {
        return Ok(None);
    };
    let is_delivered = |known: &&Instance| match &named {
        Named::Number(id) => known.id == *id,
        Named::Package(name) => {
            known.update_state == DELIVERED && known.name.as_ref() == Some(name)
        }
    };
    let mut found = snapshot.instances.iter().filter(is_delivered);
    match (found.next(), found.next(), &named) {
        (Some(one), None, _) => Ok(Some(one)),
        (None, _, Named::Package(_)) => Ok(None),
        _ => snapshot.instance(&named).map(Some), // says that there is none, or that there are two
    }
}

/// Installs the package that an instance has, also once more after an Install that failed.
async fn install_delivered(
    agent: &Agent,
    snapshot: &Snapshot,
    delivered: &Instance,
    json: bool,
) -> Result<(), Failure> {
    if let Some(holder) = holder(snapshot, delivered) {
        return Err(held(delivered, holder));
    }
    let mut follower = Follower::new(agent, delivered.id, json).await?;
    let accepted = agent.change(delivered.id, Change::Install).await;
    accepted.map_err(|failure| failure.of(&delivered.title()))?;
    let (_, end) = follower.until(Instance::is_settled).await?;
    succeeded(end.update_state == INSTALLED, &end)?;
    tell(json, || installed(&end));
    Ok(())
}

fn installed(end: &Instance) -> String {
    let (title, id) = (end.title(), end.id);
    let software = end.in_place.as_ref();
    match end.active {
        _ if software.is_some_and(|software| software.no_services) => {
            format!("{title} is installed in instance {id}, and has no services")
        }
        true => format!("{title} is installed in instance {id}, and active"),
        false => format!(
            "{title} is installed in instance {id}, and inactive: `wharfctl activate {id}` starts it"
        ),
    }
}

fn held(delivered: &Instance, holder: u16) -> Failure {
    Failure::Refused(format!(
        "instance {holder} has {} in place. To upgrade or repair that, say so: wharfctl install --instance {holder} …",
        delivered.name.as_deref().unwrap_or_default()
    ))
}

/// What is written into the instance.
fn package(arguments: &InstallArguments) -> Result<Change, Failure> {
    match &arguments.package {
        Package::Uri(uri) => Ok(Change::WritePackageUri {
            uri: uri.clone(),
            user_name: arguments.user.clone().unwrap_or_default(),
            password: match &arguments.password_file {
                Some(file) => first_line(file)?,
                None => String::new(),
            },
        }),
        Package::File(_) if arguments.user.is_some() => Err(Failure::Usage(
            "--user and --password-file are for the origin of a URI, and a file is handed over here",
        )),
        Package::File(file) => Ok(Change::WritePackage {
            package: open_package(file)?,
            signature: signature_beside(file)?,
        }),
    }
}

fn first_line(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|source| unreadable(file, source))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// `FILE.asc`, else `FILE.sig`, else none: then the package has to carry its signature.
fn signature_beside(file: &Path) -> Result<Vec<u8>, Failure> {
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

/// Who knows apt writes the name of a package.
fn open_package(file: &Path) -> Result<File, Failure> {
    match File::open(file) {
        Err(source) if source.kind() == ErrorKind::NotFound => Err(Failure::Refused(format!(
            "there is no file {:?}: a package is named by its file, or by its URI (https://…, http://…); one that is \
             DELIVERED by its instance",
            file.display().to_string()
        ))),
        opened => opened.map_err(|source| unreadable(file, source)),
    }
}

fn open(file: &Path) -> Result<File, Failure> {
    File::open(file).map_err(|source| unreadable(file, source))
}

fn unreadable(file: &Path, source: std::io::Error) -> Failure {
    Failure::File {
        file: file.to_owned(),
        source,
    }
}

/// The instance that takes the package.
struct Place {
    id: u16,
    created: bool,
}

impl Place {
    async fn find(agent: &Agent, named: Option<&Named>) -> Result<Self, Failure> {
        let snapshot = agent.snapshot().await?;
        let found = match named {
            Some(named) => Some(snapshot.instance(named)?),
            None => snapshot.instances.iter().find(|known| is_free(known)),
        };
        let Some(instance) = found else {
            let id = agent.create_instance().await?;
            return Ok(Self { id, created: true });
        };
        make_ready(agent, instance).await?;
        Ok(Self {
            id: instance.id,
            created: false,
        })
    }

    /// Leaves things as they were found.
    async fn give_up(&self, agent: &Agent) -> Result<(), Failure> {
        let change = match self.created {
            true => Change::Delete,
            false => Change::Uninstall { for_update: true },
        };
        agent.change(self.id, change).await
    }
}

fn is_free(instance: &Instance) -> bool {
    instance.update_state == INITIAL && instance.is_settled() && instance.in_place.is_none()
}

/// A package is written in INITIAL (TS 5.1.2.1). What failed to install goes; what a server may still want installed
/// is refused by wharfd, saying why.
async fn make_ready(agent: &Agent, instance: &Instance) -> Result<(), Failure> {
    let upgrades = instance.update_state == INSTALLED;
    let failed = instance.update_state == DELIVERED && instance.has_failed();
    if upgrades || failed {
        let change = Change::Uninstall { for_update: true };
        agent.change(instance.id, change).await?;
    }
    Ok(())
}

/// Another instance that has the same package in place.
fn holder(snapshot: &Snapshot, delivered: &Instance) -> Option<u16> {
    let others = snapshot.instances.iter();
    let mut holders = others.filter(|other| {
        let software = other.in_place.as_ref();
        other.id != delivered.id
            && software.is_some_and(|software| Some(&software.name) == delivered.name.as_ref())
    });
    holders.next().map(|holder| holder.id)
}
