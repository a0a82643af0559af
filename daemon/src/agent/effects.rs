//! The effects, each in a task from its commit to the event that ends it; and the gate, which every operation passes
//! before it starts.

use lwm2m::UpdateTiming;
use tokio::{sync::watch, task::JoinHandle};
use wharf_frames::{OperationId, StageId, Transaction};
use wharf_journal::message;
use wharf_software::{
    Effect, Event, Instance, InstanceId, Operation, OperationKind,
    gate::{Admission, GateFacts, may_start},
    instance::Flow,
};

use super::{Agent, cancel::RunningJob, pushes::PushSource};
use crate::{
    clock,
    delivery::{
        pull::{self, Pull, Turn},
        push::{self, Push},
        seal,
    },
    jobs::InstallerJob,
    store::{EffectId, Pending, StoreError},
    tasks::{TaskContext, TaskReport},
};

impl Agent {
    /// Resumes the pending effects of an earlier run.
    pub(super) fn resume(&mut self, pending: Vec<Pending>) {
        let due = |effect: &Pending| effect.effect.is_due(self.instances.get(&effect.instance));
        let (due, over): (Vec<Pending>, Vec<Pending>) = pending.into_iter().partition(due);
        for effect in over {
            self.pending.insert(effect.id, effect.clone());
            self.done(effect.id);
        }
        for effect in due {
            tracing::info!(
                WHARF_INSTANCE = effect.instance.0,
                "instance {}: resumed: {}",
                effect.instance.0,
                effect.effect
            );
            match effect.effect {
                // A pull passes the gate again: the facts may have changed.
                Effect::StartPull { .. } => drop(self.pending.insert(effect.id, effect)),
                _ => {
                    let (instance, operation) = (effect.instance, effect.effect.operation());
                    self.begin(effect);
                    self.cancel_again(instance, operation);
                }
            }
        }
    }

    /// Acts on the effects of a transition. `added` are the stored ones; the others are done at once.
    pub(super) fn act(&mut self, effects: &[Effect], added: Vec<Pending>) {
        if effects.contains(&Effect::UpdateRegistration) {
            self.update_registration(UpdateTiming::Now);
        }
        for effect in added {
            self.begin(effect);
        }
    }

    fn begin(&mut self, pending: Pending) {
        wharf_fault::point("agent.act");
        let task = self.task(&pending);
        if let Some(task) = task {
            self.tasks.insert(pending.id, task);
            wharf_fault::point("agent.begun");
        }
        self.pending.insert(pending.id, pending);
    }

    /// The task of an effect; none for an operation in the gate.
    fn task(&mut self, pending: &Pending) -> Option<JoinHandle<()>> {
        let instance = pending.instance;
        let task = match pending.effect.clone() {
            // `forget` stops the delivery, since its own effect is over.
            Effect::Queue { .. } | Effect::StopDelivery { .. } | Effect::UpdateRegistration => {
                return None;
            }
            Effect::StartPull { operation, stage } => self.pull(pending, operation, stage)?,
            Effect::AcceptPush { operation, stage } => self.push(instance, operation, stage),
            Effect::Discard { stage } => {
                self.spawn(discard(self.context.clone(), pending.id, stage))
            }
            Effect::Seal { stage, .. } => self.spawn(judge(self.context.clone(), instance, stage)),
            Effect::Perform {
                operation,
                transaction,
            } => self.job(instance, operation, transaction),
        };
        Some(task)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
        tokio::task::spawn_local(task)
    }

    fn pull(
        &self,
        pending: &Pending,
        operation: OperationId,
        stage: StageId,
    ) -> Option<JoinHandle<()>> {
        let (effect, id) = (pending.id, pending.instance);
        let instance = self.instances.get(&id)?;
        let Flow::Pull { uri, .. } = &instance.delivery()?.flow else {
            return None;
        };
        let pull = Pull {
            instance: id,
            operation,
            package: self.journal.package(id, instance),
            stage,
            uri: uri.as_secret().clone(),
            user_name: instance.settings().user_name.clone(),
            password: instance.settings().password.clone(),
        };
        let context = self.context.clone();
        Some(self.spawn(async move {
            match pull.run(&context).await {
                Turn::Over(end) => context.report(id, end),
                Turn::GivenUp { wait } => {
                    context.send(TaskReport::TurnGivenUp(effect));
                    let _ = tokio::time::timeout(wait, context.until_ending()).await;
                    context.send(TaskReport::TurnWanted(effect));
                }
            }
        }))
    }

    /// The next attempt of a download passes the gate, like the first one.
    pub(super) fn want_turn(&mut self, effect: EffectId) {
        if self.resting.remove(&effect) {
            self.tasks.remove(&effect);
        }
    }

    /// A push cannot survive a restart: it fails at once.
    fn push(&mut self, id: InstanceId, operation: OperationId, stage: StageId) -> JoinHandle<()> {
        let context = self.context.clone();
        let (blocks, size) = match self.pushes.expected.take() {
            Some(PushSource::Blocks { blocks, size }) => (blocks, size),
            Some(PushSource::File(file)) => {
                return self.spawn(async move {
                    let end = file.copy(&context, operation, stage).await;
                    context.report(id, end);
                });
            }
            None => {
                return self.spawn(async move {
                    let failure = push::abandoned();
                    context.report(id, Event::Failed { operation, failure });
                });
            }
        };
        let push = Push {
            instance: id,
            operation,
            stage,
            size,
            blocks,
        };
        self.spawn(async move { push.run(&context).await })
    }

    fn job(
        &mut self,
        id: InstanceId,
        operation: OperationId,
        transaction: Transaction,
    ) -> JoinHandle<()> {
        let context = self.context.clone();
        let instance = self.instances.get(&id);
        let package = instance.and_then(|known| known.subject().cloned());
        let (submitted, receiver) = watch::channel(false);
        let running = RunningJob {
            submitted: receiver,
            cancelled: None,
        };
        self.jobs.insert(operation, running);
        let job = InstallerJob {
            instance: id,
            operation,
            package,
            transaction,
            submitted,
        };
        self.spawn(async move {
            let end = job.run(&context).await;
            context.report(id, end);
        })
    }

    /// Ends an effect that no event ends.
    pub(super) fn done(&mut self, effect: EffectId) {
        let Some(pending) = self.pending.get(&effect) else {
            return;
        };
        let resolved = self.context.store.borrow_mut().resolve(pending);
        if let Err(error) = resolved {
            // The next start repeats it, which does no harm.
            tracing::warn!(
                MESSAGE_ID = message::NOT_STORED,
                "cannot store that an effect is done: {error}. The next start repeats it"
            );
        }
        self.forget(&[effect]);
    }

    /// Forgets effects that are over, and stops their tasks.
    pub(super) fn forget(&mut self, over: &[EffectId]) {
        for id in over {
            self.resting.remove(id);
            if let Some(task) = self.tasks.remove(id) {
                task.abort();
            }
            let Some(forgotten) = self.pending.remove(id) else {
                continue;
            };
            match forgotten.effect {
                Effect::AcceptPush { .. } => self.end_push(forgotten.instance),
                Effect::Perform { operation, .. } => drop(self.jobs.remove(&operation)),
                _ => {}
            }
        }
    }

    /// Asks the gate about each operation that waits in it. Returns whether an instance changed.
    pub(super) fn ask_gate(&mut self) -> bool {
        let mut changed = false;
        for (waiting, operation) in self.waiting_in_the_gate() {
            if self.gate_rests {
                return false;
            }
            let id = waiting.instance;
            let Some(instance) = self.instances.get(&id).cloned() else {
                continue;
            };
            let Some(asked) = instance.operation().filter(|known| known.id == operation) else {
                continue;
            };
            let event = match self.gate(&asked, id, &instance) {
                Admission::Now => Event::Started { operation },
                Admission::NotBefore(why) => Event::Waiting { operation, why },
                Admission::No(failure) => Event::Failed { operation, failure },
            };
            let goes_on = is_pull(&waiting) && matches!(event, Event::Started { .. });
            match self.try_report(id, event, None) {
                Ok(_) => {
                    changed |= self.instances.get(&id) != Some(&instance);
                    if goes_on {
                        self.begin(waiting);
                    }
                }
                Err(error) => self.rest_gate(&error),
            }
        }
        changed
    }

    /// The accepted operations that have not started, and the pulls before their next attempt, in the order of
    /// acceptance. The first one gets the free turn.
    fn waiting_in_the_gate(&self) -> Vec<(Pending, OperationId)> {
        let waiting = self.pending.values().filter_map(|pending| {
            let operation = match pending.effect {
                Effect::Queue { operation } => operation,
                Effect::StartPull { operation, .. } if !self.tasks.contains_key(&pending.id) => {
                    operation
                }
                _ => return None,
            };
            Some((pending.clone(), operation))
        });
        let mut waiting: Vec<_> = waiting.collect();
        let accepted = |id: &OperationId| self.accepted.iter().position(|(known, _)| known == id);
        waiting.sort_by_key(|(_, operation)| accepted(operation));
        waiting
    }

    /// The number of downloads that have a turn.
    fn downloading(&self) -> usize {
        let pulls = self.pending.values().filter(|pending| is_pull(pending));
        pulls
            .filter(|pull| self.tasks.contains_key(&pull.id) && !self.resting.contains(&pull.id))
            .count()
    }

    /// Closes the gate while its answers cannot be stored.
    fn rest_gate(&mut self, error: &StoreError) {
        tracing::error!(
            MESSAGE_ID = message::NOT_STORED,
            "no operation starts until it can be stored: {error}"
        );
        self.gate_rests = true;
        let context = self.context.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(context.timing.retry.first).await;
            context.send(TaskReport::AskGate);
        });
    }

    fn gate(&self, operation: &Operation, id: InstanceId, instance: &Instance) -> Admission {
        let attempts = match (operation.kind, instance.stage()) {
            (OperationKind::Pull, Some(stage)) => self.attempts_in_vain(stage),
            _ => 0,
        };
        may_start(
            operation,
            instance,
            &GateFacts {
                clock_is_set: clock::is_set(),
                accepted: &self.accepted,
                downloading: self.downloading(),
                parallel: self.settings.parallel_downloads,
                attempts,
                attempt_limit: pull::ATTEMPT_LIMIT,
                held_by: self.holder(id, instance),
                credentials_over_http: &self.settings.credentials_over_http,
            },
        )
    }

    /// The attempts at a download that is not complete.
    fn attempts_in_vain(&self, stage: StageId) -> u32 {
        let download = self.context.store.borrow_mut().download(stage);
        let in_vain = download.ok().filter(|download| !download.whole);
        in_vain.map_or(0, |download| download.attempts)
    }

    /// Another instance that has the same package in place, alone or in a bundle.
    fn holder(&self, id: InstanceId, instance: &Instance) -> Option<InstanceId> {
        let package = instance.package()?;
        let others = self.instances.iter().filter(|(other, _)| **other != id);
        let mut holders = others.filter(|(_, other)| other.holds(package));
        holders.next().map(|(id, _)| *id)
    }
}

const fn is_pull(pending: &Pending) -> bool {
    matches!(pending.effect, Effect::StartPull { .. })
}

async fn judge(context: TaskContext, instance: InstanceId, stage: StageId) {
    let waits = |why| context.report(instance, Event::SealWaits { stage, why });
    let event = match seal::seal(&context, stage, context.timing.verdict, waits).await {
        Ok(package) => Event::Sealed { stage, package },
        Err(failure) => Event::SealRefused { stage, failure },
    };
    context.report(instance, event);
}

async fn discard(context: TaskContext, effect: EffectId, stage: StageId) {
    seal::discard(&context, stage).await;
    wharf_fault::point("discard.done");
    context.send(TaskReport::Done(effect));
}
