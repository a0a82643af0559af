//! An event, from the machine's answer to the server's: stored first, then answered, then told to observers,
//! then done.

use lwm2m::{Answer, ErrorCode, Input, Path, RequestId, UpdateTiming};
use wharf_frames::Failure;
use wharf_software::{
    ActivationPolicy, Effect, Event, Instance, InstanceId, Refusal, Rules, Transition, changes,
    step,
};

use super::Agent;
use crate::{
    clock,
    config::Activation,
    objects,
    store::{Commit, Pending, Resolved, StoreError},
    work::Report,
};

/// The schemes that wharf-fetch speaks.
const SCHEMES: [&str; 2] = ["http", "https"];

/// The answer that waits for an event to be stored.
pub(super) type Reply = Option<(RequestId, Answer)>;

/// What an event says about the work that it ends.
struct Ending {
    resolved: Resolved,
    failed: Option<String>,
}

impl Agent {
    /// Takes the report of a task.
    pub(super) fn take(&mut self, report: Report) {
        match report {
            Report::Event {
                instance,
                event,
                answers,
            } => {
                let reply = answers.map(|(request, written)| (request, answer_to_block(written)));
                self.report(instance, event, reply);
            }
            Report::Block(request) => self.reply(request, Answer::Changed),
            Report::Done(effect) => self.done(effect),
            Report::AskGate => {} // it is asked before the next wait
        }
    }

    /// Something happened. That it cannot be stored now does not make it unhappen: it is reported again.
    pub(super) fn report(&mut self, id: InstanceId, event: Event, reply: Reply) {
        let Some(old) = self.instances.get(&id).cloned() else {
            return; // deleted meanwhile
        };
        let ending = Ending::of(&event);
        let stepped = self.step(&old, event.clone());
        let Ok(transition) = stepped else {
            return; // only requests are refused
        };
        if let Err(error) = self.commit(id, Some(&old), &transition, &ending, reply.clone()) {
            tracing::error!(instance = id.0, %error, "what happened is not stored, and will be tried again");
            if let Some((request, _)) = reply {
                self.reply(request, Answer::Error(ErrorCode::InternalServerError));
            }
            self.report_later(id, event);
        }
    }

    /// A server asks for something: the answer goes out once it is stored, or says why not.
    pub(super) fn request(
        &mut self,
        id: InstanceId,
        event: Event,
        request: RequestId,
        answer: Answer,
    ) {
        if let Err(code) = self.try_request(id, event, Some((request, answer))) {
            self.reply(request, Answer::Error(code));
        }
    }

    /// As [`Self::request`]; without a reply, somebody else answers when it is accepted.
    pub(super) fn try_request(
        &mut self,
        id: InstanceId,
        event: Event,
        reply: Reply,
    ) -> Result<(), ErrorCode> {
        let old = self
            .instances
            .get(&id)
            .cloned()
            .ok_or(ErrorCode::NotFound)?;
        let ending = Ending::cancelled(&old, &event);
        match self.step(&old, event) {
            Ok(transition) => {
                let stored = self.commit(id, Some(&old), &transition, &ending, reply);
                stored.map_err(|error| not_stored(id, &error))
            }
            Err(refusal) => Err(self.refuse(id, &old, refusal)),
        }
    }

    /// A refusal may itself be a result that the server reads.
    fn refuse(&mut self, id: InstanceId, old: &Instance, refusal: Refusal) -> ErrorCode {
        tracing::info!(instance = id.0, code = refusal.code.as_str(), why = %refusal.why, "refused");
        let code = objects::software::error_code(refusal.code);
        let Some(instance) = refusal.instance else {
            return code;
        };
        let transition = Transition {
            instance: Some(*instance),
            effects: Vec::new(),
        };
        match self.commit(id, Some(old), &transition, &Ending::NOTHING, None) {
            Ok(()) => code,
            Err(error) => not_stored(id, &error),
        }
    }

    fn step(&self, instance: &Instance, event: Event) -> Result<Transition, Refusal> {
        let exists = |link| objects::exists(&self.instances, link);
        step(instance, event, &self.rules(&exists))
    }

    /// What the machine has to know.
    pub(super) fn rules<'a>(
        &'a self,
        object_exists: &'a dyn Fn(wharf_software::ObjectLink) -> bool,
    ) -> Rules<'a> {
        Rules {
            own_package: &self.own_package,
            activation: match self.settings.server.activation {
                Activation::Server => ActivationPolicy::Server,
                Activation::Keep => ActivationPolicy::Keep,
                Activation::Always => ActivationPolicy::Always,
            },
            replace_failed: self.settings.server.replace_failed,
            schemes: &SCHEMES,
            object_exists,
        }
    }

    /// Stores a new instance, and answers.
    pub(super) fn commit_new(
        &mut self,
        id: InstanceId,
        transition: &Transition,
        reply: Reply,
    ) -> Result<(), ErrorCode> {
        let stored = self.commit(id, None, transition, &Ending::NOTHING, reply);
        stored.map_err(|error| not_stored(id, &error))
    }

    fn commit(
        &mut self,
        id: InstanceId,
        old: Option<&Instance>,
        transition: &Transition,
        ending: &Ending,
        reply: Reply,
    ) -> Result<(), StoreError> {
        let new = transition.instance.as_ref();
        let is_same = old == new && transition.effects.is_empty();
        let added = match is_same && ending.resolved == Resolved::Nothing {
            true => Vec::new(),
            false => self.context.store.borrow_mut().commit(&Commit {
                instance: id,
                old,
                new,
                resolved: ending.resolved,
                failed: ending.failed.as_deref(),
                effects: &transition.effects,
                at: clock::now(),
            })?,
        };
        self.remember(id, old, new, ending.resolved);
        if let Some((request, answer)) = reply {
            self.reply(request, answer);
            wharf_fault::point("agent.answered");
        }
        self.tell(id, old, new);
        wharf_fault::point("agent.told");
        self.act(&transition.effects, added);
        Ok(())
    }

    fn remember(
        &mut self,
        id: InstanceId,
        old: Option<&Instance>,
        new: Option<&Instance>,
        resolved: Resolved,
    ) {
        match new {
            Some(instance) => drop(self.instances.insert(id, instance.clone())),
            None => drop(self.instances.remove(&id)),
        }
        let before = old.and_then(Instance::operation);
        let after = new.and_then(Instance::operation);
        if before != after {
            let ended = before.map(|operation| operation.id);
            self.accepted.retain(|(known, _)| Some(*known) != ended);
            self.accepted
                .extend(after.map(|operation| (operation.id, operation.kind)));
        }
        self.forget(|pending| is_resolved(pending, resolved));
    }

    /// Tells the engine which resources changed, and the journal what a person wants to know.
    fn tell(&mut self, id: InstanceId, old: Option<&Instance>, new: Option<&Instance>) {
        let Some(new) = new else {
            tracing::info!(instance = id.0, "deleted");
            return;
        };
        let changed = old.map_or_else(Vec::new, |old| changes(old, new));
        if old.is_none() || !changed.is_empty() {
            tracing::info!(
                instance = id.0,
                package = new.pkg_name(),
                version = new.pkg_version(),
                state = new.update_state().name(),
                result = new.update_result().value(),
                reason = %new.status_reason(),
            );
        }
        let path = |resource: wharf_software::Resource| {
            Path::Resource(objects::software::DEFINITION.id(), id.0, resource.id())
        };
        if !changed.is_empty() {
            self.link
                .handle(Input::Changed(changed.into_iter().map(path).collect()));
        }
    }

    /// Tells the engine which instances there are.
    pub(super) fn update_registration(&mut self) {
        self.link.handle(Input::ObjectsChanged {
            instances: objects::instances(&self.instances),
            update: UpdateTiming::Now,
        });
    }

    /// Answers a request.
    pub(super) fn reply(&mut self, request: RequestId, answer: Answer) {
        self.link.handle(Input::Answer { request, answer });
    }

    fn report_later(&self, instance: InstanceId, event: Event) {
        let context = self.context.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(context.timing.retry_first).await;
            context.report(instance, event);
        });
    }
}

impl Ending {
    const NOTHING: Self = Self {
        resolved: Resolved::Nothing,
        failed: None,
    };

    fn of(event: &Event) -> Self {
        let resolved = match event {
            Event::Started { operation }
            | Event::PackageWritten { operation }
            | Event::Failed { operation, .. }
            | Event::Ended { operation, .. } => Resolved::Operation(*operation),
            Event::Sealed { stage, .. } | Event::SealRefused { stage, .. } => {
                Resolved::Seal(*stage)
            }
            _ => Resolved::Nothing,
        };
        let failure = match event {
            Event::Failed { failure, .. } => Some(failure),
            Event::Ended { failure, .. } => failure.as_ref(),
            _ => None,
        };
        Self {
            resolved,
            failed: failure.map(|failure| failure.detail.to_string()),
        }
    }

    /// A Write may begin a push anew, a Delete is the cancel that a server has: what was under way ends.
    fn cancelled(old: &Instance, event: &Event) -> Self {
        let delivery = old.delivery().map(|delivery| delivery.id);
        let resolved = match (event, delivery, old.stage()) {
            (Event::Delete, Some(operation), _) => Resolved::Operation(operation),
            (Event::Delete, None, Some(stage)) => Resolved::Seal(stage),
            (Event::Write { write, .. }, Some(operation), _) if write.source.is_some() => {
                Resolved::Operation(operation)
            }
            _ => return Self::NOTHING,
        };
        Self {
            resolved,
            failed: Some("the server asked for something else".to_owned()),
        }
    }
}

fn is_resolved(pending: &Pending, resolved: Resolved) -> bool {
    match resolved {
        Resolved::Nothing => false,
        Resolved::Operation(id) => pending.effect.operation() == Some(id),
        Resolved::Seal(file) => {
            matches!(pending.effect, Effect::Seal { stage, .. } if stage == file)
        }
    }
}

/// RFC 7252 5.9: too much to keep is 4.13, everything else is ours.
fn answer_to_block(written: Result<(), Failure>) -> Answer {
    use wharf_frames::Cause::{DiskFull, Quota, TooLarge};
    match written {
        Ok(()) => Answer::Changed,
        Err(failure) if matches!(failure.cause, Quota | DiskFull | TooLarge) => {
            Answer::Error(ErrorCode::RequestEntityTooLarge)
        }
        Err(_) => Answer::Error(ErrorCode::InternalServerError),
    }
}

fn not_stored(id: InstanceId, error: &StoreError) -> ErrorCode {
    tracing::error!(instance = id.0, %error, "a request is refused, since it cannot be stored");
    ErrorCode::InternalServerError
}
