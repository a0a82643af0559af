//! An event: it is stored, then answered, then reported to observers; then its effects are done.

use lwm2m::{Answer, Answered, ErrorCode, Input, Path, UpdateTiming};
use wharf_frames::Failure;
use wharf_journal::message;
use wharf_software::{
    ActivationPolicy, Event, Instance, InstanceId, Refusal, Requester, Rules, ShortId, Transition,
    changes, transition,
};

use super::{Agent, journal};
use crate::{
    clock,
    config::Activation,
    local_changes::LocalChange,
    objects::{self, SoftwareObjects, component::ComponentsOf},
    server::Server,
    store::{Commit, EffectId, StoreError},
    tasks::{RequestKey, TaskReport},
};

/// The schemes that wharf-fetch speaks.
const SCHEMES: [&str; 2] = ["http", "https"];

/// The answer to send after an event is stored.
pub(super) type PendingAnswer = Option<(RequestKey, Answer)>;

impl Agent {
    /// Handles a report of a task.
    pub(super) fn handle_report(&mut self, report: TaskReport) {
        match report {
            TaskReport::Event {
                instance,
                event,
                answers,
            } => {
                let reply = answers.map(|(request, written)| {
                    self.close_block(request);
                    (request, answer_to_block(written))
                });
                self.report(instance, *event, reply);
            }
            TaskReport::Block(request) => {
                self.close_block(request);
                self.reply(request, Answer::Changed);
            }
            TaskReport::Done(effect) => self.done(effect),
            TaskReport::TurnGivenUp(effect) => drop(self.resting.insert(effect)),
            TaskReport::TurnWanted(effect) => self.want_turn(effect),
            TaskReport::AskGate => self.gate_rests = false, // the loop asks the gate before its next wait
            TaskReport::IdleSoftware(software) => drop(software.send(self.idle_software())),
        }
    }

    /// Handles an event of a task. A report that cannot be stored is retried.
    fn report(&mut self, id: InstanceId, event: Event, reply: PendingAnswer) {
        let request = reply.as_ref().map(|(request, _)| *request);
        let code = match self.try_report(id, event.clone(), reply) {
            Ok(true) => return,
            Ok(false) => ErrorCode::NotFound,
            Err(error) => {
                tracing::error!(
                    MESSAGE_ID = message::NOT_STORED,
                    WHARF_INSTANCE = id.0,
                    "instance {}: cannot store an event: {error}. wharfd retries",
                    id.0
                );
                self.report_again(id, event);
                ErrorCode::InternalServerError
            }
        };
        if let Some(request) = request {
            self.reply(request, Answer::Error(code));
        }
    }

    /// Like [`Self::report`], without a retry. Returns false if the instance is deleted.
    pub(super) fn try_report(
        &mut self,
        id: InstanceId,
        event: Event,
        reply: PendingAnswer,
    ) -> Result<bool, StoreError> {
        let Some(old) = self.instances.get(&id).cloned() else {
            return Ok(false);
        };
        // Only requests are refused.
        if let Ok(transition) = self.transition(&old, event) {
            self.commit(id, Some(&old), &transition, reply)?;
        }
        Ok(true)
    }

    /// Handles a request of a server. It is answered after it is stored, or refused with the reason.
    pub(super) fn request(
        &mut self,
        id: InstanceId,
        event: Event,
        key: RequestKey,
        answer: Answer,
    ) {
        if let Err(code) = self.try_request(id, event, key, Some(answer)) {
            self.reply(key, Answer::Error(code));
        }
    }

    /// Like [`Self::request`]. Without `answer` another part answers an accepted request. The caller answers an error.
    pub(super) fn try_request(
        &mut self,
        id: InstanceId,
        event: Event,
        key: RequestKey,
        answer: Option<Answer>,
    ) -> Result<(), ErrorCode> {
        let old = self
            .instances
            .get(&id)
            .cloned()
            .ok_or(ErrorCode::NotFound)?;
        let (transition, reply) = match self.transition(&old, event) {
            Ok(transition) => (transition, answer.map(|answer| (key, answer))),
            Err(refusal) => refused(id, key, refusal)?,
        };
        let stored = self.commit(id, Some(&old), &transition, reply);
        stored.map_err(|error| not_stored(id, &error))
    }

    pub(super) fn transition(
        &self,
        instance: &Instance,
        event: Event,
    ) -> Result<Transition, Refusal> {
        let exists = |link| objects::exists(self.software(), link);
        let mut rules = self.rules(asker(instance, &event), &exists);
        let name = instance.package().map(|package| &package.name);
        if let Some(own) = name.and_then(|name| self.settings.activations.get(name)) {
            rules.activation = policy(*own);
        }
        transition(instance, event, &rules)
    }

    /// The rules of the machine. The settings of a server apply to its own requests only.
    pub(super) fn rules<'a>(
        &'a self,
        asker: Option<ShortId>,
        object_exists: &'a dyn Fn(wharf_software::ObjectLink) -> bool,
    ) -> Rules<'a> {
        let server = asker.and_then(|id| self.servers.get(&id));
        let server = server.map(Server::configured);
        let activation = server.map_or(Activation::Server, |server| server.activation);
        Rules {
            own_package: &self.surroundings.own_package,
            activation: policy(activation),
            replace_failed: server.is_some_and(|server| server.replace_failed),
            schemes: &SCHEMES,
            object_exists,
        }
    }

    /// Stores a new instance, and answers its Create.
    pub(super) fn commit_new(
        &mut self,
        id: InstanceId,
        transition: &Transition,
        reply: PendingAnswer,
    ) -> Result<(), ErrorCode> {
        let stored = self.commit(id, None, transition, reply);
        stored.map_err(|error| not_stored(id, &error))
    }

    pub(super) fn commit(
        &mut self,
        id: InstanceId,
        old: Option<&Instance>,
        transition: &Transition,
        reply: PendingAnswer,
    ) -> Result<(), StoreError> {
        let new = transition.instance.as_ref();
        let over = self.over(id, new);
        let components = self.components.after(id, new);
        let is_same = old == new && over.is_empty() && transition.effects.is_empty();
        let added = match is_same {
            true => Vec::new(),
            false => {
                let answered = reply.as_ref().and_then(|reply| self.answered(reply));
                self.context.store.borrow_mut().commit(&Commit {
                    instance: id,
                    old,
                    new,
                    over: &over,
                    effects: &transition.effects,
                    components: &components,
                    answered: answered
                        .as_ref()
                        .map(|(server, message)| (*server, message)),
                    at: clock::now(),
                })?
            }
        };
        let shown = self.components_of(id);
        self.components = components;
        self.remember(id, old, new);
        if let Some((request, answer)) = reply {
            self.reply(request, answer);
            wharf_fault::point("agent.answered");
        }
        self.forget(&over);
        self.tell(id, old, new, &shown);
        wharf_fault::point("agent.told");
        self.act(&transition.effects, added);
        Ok(())
    }

    /// The pending effects of an instance that its new state makes superfluous.
    fn over(&self, id: InstanceId, new: Option<&Instance>) -> Vec<EffectId> {
        let of_instance = self.pending.values().filter(|known| known.instance == id);
        let over = of_instance.filter(|known| !known.effect.is_due(new));
        over.map(|known| known.id).collect()
    }

    fn remember(&mut self, id: InstanceId, old: Option<&Instance>, new: Option<&Instance>) {
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
    }

    /// Reports the changed resources to the servers and to the journal.
    fn tell(
        &mut self,
        id: InstanceId,
        old: Option<&Instance>,
        new: Option<&Instance>,
        shown: &ComponentsOf,
    ) {
        self.show_change(id, old, new);
        self.journal.tell(id, old, new);
        let components = self.components_of(id);
        if components.ids() != shown.ids() {
            // The engine answers for the new instances at once; Resource 8 decides when the servers learn of them.
            let soon = new.is_some_and(Instance::update_supported_objects);
            self.update_registration(match soon {
                true => UpdateTiming::Now,
                false => UpdateTiming::WithNext,
            });
        }
        let mut paths = objects::component::changed(id, shown, &components);
        match (old, new) {
            (Some(old), Some(new)) => {
                let changed = changes(old, new).into_iter();
                paths.extend(changed.map(|resource| objects::software::path(id, resource)));
            }
            // An observer of the object must see that its instances changed.
            _ => paths.push(Path::Object(objects::software::DEFINITION.id())),
        }
        if !paths.is_empty() {
            self.tell_servers(&Input::Changed(paths));
        }
    }

    /// Reports to the servers that any value may have changed since the last run: by a commit without a notification,
    /// or by an upgrade of the system.
    pub(super) fn tell_what_changed_meanwhile(&mut self) {
        let all = objects::observable(self.software());
        self.tell_servers(&Input::MayHaveChanged(all));
    }

    /// Reports the instances of all objects to the servers.
    pub(super) fn update_registration(&mut self, update: UpdateTiming) {
        self.tell_servers(&Input::ObjectsChanged {
            instances: objects::instances(self.software()),
            update,
        });
    }

    /// The sources of Objects 9 and 14.
    pub(super) fn software(&self) -> SoftwareObjects<'_> {
        SoftwareObjects {
            instances: &self.instances,
            ids: &self.components,
            plain_components: self.settings.components,
        }
    }

    pub(super) fn components_of(&self, id: InstanceId) -> ComponentsOf {
        ComponentsOf::new(self.software(), id)
    }

    fn tell_servers(&mut self, input: &Input) {
        for server in self.servers.values_mut() {
            server.tell(input.clone());
        }
    }

    /// Answers a request at the server that sent it.
    pub(super) fn reply(&mut self, key: RequestKey, answer: Answer) {
        if let Some(server) = self.servers.get_mut(&key.server) {
            server.answer(key.request, answer);
        }
    }

    /// The stored form of an answer, with the account of its server.
    fn answered(&self, (key, answer): &(RequestKey, Answer)) -> Option<(ShortId, Answered)> {
        let server = self.servers.get(&key.server)?;
        Some((key.server, server.answered(key.request, answer)?))
    }

    /// Retries a report that no other one follows. The state of the device is read again instead, since it may have
    /// changed.
    fn report_again(&self, id: InstanceId, event: Event) {
        let context = self.context.clone();
        let changes = self.changes.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(context.timing.retry.first).await;
            match event {
                Event::DeviceHas(_) => changes.note(LocalChange::Packages),
                event if is_told_once(&event) => context.report(id, event),
                _ => {}
            }
        });
    }
}

const fn policy(configured: Activation) -> ActivationPolicy {
    match configured {
        Activation::Server => ActivationPolicy::Server,
        Activation::Keep => ActivationPolicy::Keep,
        Activation::Always => ActivationPolicy::Always,
    }
}

/// A refusal may have a result that the server reads. Then it is stored, and answered with its code.
fn refused(
    id: InstanceId,
    key: RequestKey,
    refusal: Refusal,
) -> Result<(Transition, PendingAnswer), ErrorCode> {
    journal::tell_refusal(Some(id), &refusal);
    let code = objects::software::error_code(refusal.code);
    let instance = refusal.instance.ok_or(code)?;
    let transition = Transition {
        instance: Some(*instance),
        effects: Vec::new(),
    };
    Ok((transition, Some((key, Answer::Error(code)))))
}

/// The server that sent this request or started the running operation; none for a local user.
fn asker(instance: &Instance, event: &Event) -> Option<ShortId> {
    let requester = match event {
        Event::Write { starts, .. } | Event::Execute { starts, .. } => Some(starts.requester),
        _ => instance.operation().map(|operation| operation.requester),
    };
    match requester? {
        Requester::Server(id) => Some(id),
        Requester::User(_) => None,
    }
}

/// The end of work or of a wait: nothing follows that would repeat it.
const fn is_told_once(event: &Event) -> bool {
    matches!(
        event,
        Event::Underway { .. }
            | Event::PackageWritten { .. }
            | Event::Sealed { .. }
            | Event::SealRefused { .. }
            | Event::Failed { .. }
            | Event::Ended { .. }
    )
}

/// RFC 7252 5.9: too large a package is 4.13. Any other failure is our own.
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
    tracing::error!(
        MESSAGE_ID = message::NOT_STORED,
        WHARF_INSTANCE = id.0,
        "instance {}: a request is refused, because it cannot be stored: {error}",
        id.0
    );
    ErrorCode::InternalServerError
}
