//! Write: settings in any state, a source of a package if a download may begin. All of it is applied, or nothing.

use wharf_frames::{Cause, Failure, Secret, StageId, Text};

use super::{Refusal, RefusalCode, Rules, Transition};
use crate::{
    Effect, Instance, NewOperation, ObjectLink, PackageSource, PackageUri, UpdateResult, Write,
    causes::{During, update_result},
    instance::{Delivery, Flow, InPlace, Initial, InstallationState, InstanceState, PullProgress},
    settings::{InstanceSettings, MAX_CREDENTIAL},
};

pub(super) fn write(
    instance: &Instance,
    write: Write,
    starts: NewOperation,
    stage: StageId,
    rules: &Rules<'_>,
) -> Result<Transition, Refusal> {
    let source = write.source.clone();
    let settings = written(&instance.settings, write, rules)?;
    let Some(source) = source else {
        let state = instance.state.clone();
        return Ok(Transition::to(Instance { state, settings }, Vec::new()));
    };
    let mut effects = room_for(instance, &source, starts, rules)?;
    let flow = flow(&source, rules).map_err(|failure| unusable(instance, failure))?;
    effects.push(begin(&flow, starts, stage));
    let state = InstanceState::DownloadStarted {
        in_place: instance.in_place().cloned(),
        delivery: Delivery {
            id: starts.id,
            requester: starts.requester,
            stage,
            flow,
        },
    };
    Ok(Transition::to(Instance { state, settings }, effects))
}

fn written(
    old: &InstanceSettings,
    write: Write,
    rules: &Rules<'_>,
) -> Result<InstanceSettings, Refusal> {
    Ok(InstanceSettings {
        update_supported_objects: write
            .update_supported_objects
            .unwrap_or(old.update_supported_objects),
        package_settings: match write.package_settings {
            Some(link) => existing(link, rules)?,
            None => old.package_settings,
        },
        user_name: credential("User Name", write.user_name, old.user_name.as_ref())?,
        password: credential("Password", write.password, old.password.as_ref())?,
        local: old.local,
    })
}

fn existing(link: ObjectLink, rules: &Rules<'_>) -> Result<ObjectLink, Refusal> {
    if link == ObjectLink::NULL || (rules.object_exists)(link) {
        return Ok(link);
    }
    Err(bad_request(format!(
        "Package Settings: there is no {}:{}",
        link.object, link.instance
    )))
}

fn credential(
    name: &str,
    new: Option<Secret>,
    old: Option<&Secret>,
) -> Result<Option<Secret>, Refusal> {
    let Some(new) = new else {
        return Ok(old.cloned());
    };
    match new.expose().len() {
        0 => Ok(None),
        1..=MAX_CREDENTIAL if str::from_utf8(new.expose()).is_ok() => Ok(Some(new)),
        _ => Err(bad_request(format!(
            "{name}: at most {MAX_CREDENTIAL} bytes of UTF-8 are taken"
        ))),
    }
}

/// Whether a download may begin now, and the effects that make room for it.
fn room_for(
    instance: &Instance,
    source: &PackageSource,
    starts: NewOperation,
    rules: &Rules<'_>,
) -> Result<Vec<Effect>, Refusal> {
    match &instance.state {
        _ if instance.is_busy() => Err(no_room(instance)),
        InstanceState::Initial(_) => Ok(Vec::new()),
        InstanceState::DownloadStarted { delivery, .. } if restarts(delivery, source, starts) => {
            Ok(dropped(delivery.stage))
        }
        InstanceState::Delivered {
            stage,
            installation:
                InstallationState::Failed {
                    result: UpdateResult::InstallationFailure,
                    ..
                },
            ..
        } if rules.replace_failed => Ok(vec![Effect::Discard { stage: *stage }]),
        _ => Err(no_room(instance)),
    }
}

fn no_room(instance: &Instance) -> Refusal {
    Refusal::not_allowed(format!(
        "a package can be written only in INITIAL, and this is {}{}: {}",
        instance.update_state().name(),
        if instance.is_busy() { ", busy" } else { "" },
        first(instance),
    ))
}

/// The request that makes room for a package. A server's Delete ends a download only if it is not refused.
fn first(instance: &Instance) -> &'static str {
    match (&instance.state, instance.software()) {
        (InstanceState::DownloadStarted { .. } | InstanceState::Downloaded { .. }, None) => {
            "Delete ends the download, and so does `wharfctl cancel` on the device"
        }
        (InstanceState::DownloadStarted { .. } | InstanceState::Downloaded { .. }, Some(_)) => {
            "`wharfctl cancel` on the device ends the download"
        }
        _ => "Uninstall or Delete first",
    }
}

/// Whether the server restarts its push with block 0.
fn restarts(delivery: &Delivery, source: &PackageSource, starts: NewOperation) -> bool {
    delivery.flow == Flow::Push
        && delivery.requester == starts.requester
        && matches!(source, PackageSource::Package { empty: false })
}

/// The effects that drop a file while it may be written.
pub(super) fn dropped(stage: StageId) -> Vec<Effect> {
    vec![Effect::StopDelivery { stage }, Effect::Discard { stage }]
}

fn flow(source: &PackageSource, rules: &Rules<'_>) -> Result<Flow, Failure> {
    match source {
        PackageSource::Package { empty: true } => {
            Err(Failure::new(Cause::Malformed, "the Package is empty"))
        }
        PackageSource::Package { empty: false } => Ok(Flow::Push),
        PackageSource::Uri(text) => Ok(Flow::Pull {
            uri: uri(text.expose(), rules)?,
            progress: PullProgress::Queued,
            waiting: None,
        }),
    }
}

fn uri(bytes: &[u8], rules: &Rules<'_>) -> Result<PackageUri, Failure> {
    let uri = PackageUri::parse(bytes)
        .map_err(|error| Failure::new(Cause::UriMalformed, error.to_string()))?;
    let scheme = uri.scheme();
    if rules
        .schemes
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme))
    {
        return Ok(uri);
    }
    Err(Failure::new(
        Cause::UriScheme,
        format!(
            "the scheme of the Package URI is not supported: only {} are",
            rules.schemes.join(", ")
        ),
    ))
}

fn begin(flow: &Flow, starts: NewOperation, stage: StageId) -> Effect {
    let operation = starts.id;
    match flow {
        Flow::Push => Effect::AcceptPush { operation, stage },
        Flow::Pull { .. } => Effect::Queue { operation },
    }
}

/// Refuses with 4.00. In INITIAL the server can also read the reason.
fn unusable(instance: &Instance, failure: Failure) -> Refusal {
    let mut refusal = bad_request(failure.detail.clone());
    if let InstanceState::Initial(_) = &instance.state {
        refusal.instance = Some(Box::new(Instance {
            state: failed(instance.in_place().cloned(), failure),
            settings: instance.settings.clone(),
        }));
    }
    refusal
}

/// INITIAL after a failed download.
pub(super) fn failed(in_place: Option<InPlace>, failure: Failure) -> InstanceState {
    InstanceState::Initial(Initial::Failed {
        in_place,
        result: update_result(failure.cause, During::Delivery),
        why: failure.detail,
    })
}

fn bad_request(why: impl Into<Text>) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, why)
}
