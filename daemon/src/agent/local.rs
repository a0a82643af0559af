//! The requests of local users over D-Bus. They become the same events as a server's requests, so that the server is
//! notified. Also publishes the state of the agent on D-Bus.

use std::os::fd::OwnedFd;

use wharf_frames::OperationId;
use wharf_software::{
    Event, Instance, InstanceId, PackageSource, Refusal, Requester, Transition, Write,
    create::{WantedId, create, free_id},
};

use super::{Agent, pushes::PushSource};
use crate::{
    bus::{AgentCommand, InstanceCommand, Refused},
    delivery::copy::LocalFile,
    objects,
    store::{HistoryEntry, StoreError},
    tasks::{operation_id, stage_id},
};

/// The number of ended operations on the bus.
const ENDED_SHOWN: u32 = 16;

impl Agent {
    /// Answers after the request is stored. The caller may have gone.
    pub(super) fn answer_local(&mut self, command: AgentCommand) {
        match command {
            AgentCommand::Instance {
                id,
                command: InstanceCommand::Cancel(operation),
                user,
                answer,
            } => self.cancel(id, operation, user, answer),
            AgentCommand::Instance {
                id,
                command,
                user,
                answer,
            } => drop(answer.send(self.request_local(id, command, user))),
            AgentCommand::Create { user, answer } => drop(answer.send(self.create_local(user))),
            AgentCommand::Trace { writer, answer } => drop(answer.send(self.trace(writer))),
            AgentCommand::History { instance, answer } => drop(answer.send(self.history(instance))),
            AgentCommand::Operations { answer } => {
                let operations = self.context.store.borrow_mut().kept_operations();
                drop(answer.send(operations.map_err(not_stored)));
            }
        }
    }

    pub(super) fn request_local(
        &mut self,
        id: InstanceId,
        command: InstanceCommand,
        user: u32,
    ) -> Result<Option<OperationId>, Refused> {
        let event = match command {
            InstanceCommand::Write(values) => write(user, values),
            InstanceCommand::WritePackage { file, signature } => {
                let file = LocalFile::new(file, signature)?;
                let source = Some(PackageSource::Package {
                    empty: file.is_empty(),
                });
                self.pushes.expected = Some(PushSource::File(file));
                write(
                    user,
                    Write {
                        source,
                        ..Write::default()
                    },
                )
            }
            InstanceCommand::Execute { action, arguments } => Event::Execute {
                action,
                arguments: arguments.to_vec(),
                starts: asked(user),
            },
            InstanceCommand::Delete => Event::Delete,
            InstanceCommand::Cancel(operation) => Event::Cancel {
                operation,
                by: Requester::User(user),
            },
        };
        let done = self.happen_locally(id, event);
        self.pushes.expected = None;
        done
    }

    fn happen_locally(
        &mut self,
        id: InstanceId,
        event: Event,
    ) -> Result<Option<OperationId>, Refused> {
        let old = self.instances.get(&id).cloned();
        let old = old.ok_or(Refused::NoInstance(id.0))?;
        match self.transition(&old, event) {
            Ok(transition) => {
                let stored = self.commit(id, Some(&old), &transition, None);
                stored.map_err(not_stored)?;
                let operation = transition.instance.and_then(|new| new.operation());
                Ok(operation.map(|operation| operation.id))
            }
            Err(refusal) => self.refuse_locally(id, &old, refusal),
        }
    }

    /// A refusal may have a result, which the server reads as after its own request.
    fn refuse_locally(
        &mut self,
        id: InstanceId,
        old: &Instance,
        mut refusal: Refusal,
    ) -> Result<Option<OperationId>, Refused> {
        if let Some(instance) = refusal.instance.take() {
            let transition = Transition {
                instance: Some(*instance),
                effects: Vec::new(),
            };
            let stored = self.commit(id, Some(old), &transition, None);
            stored.map_err(not_stored)?;
        }
        Err(refusal.into())
    }

    fn create_local(&mut self, user: u32) -> Result<InstanceId, Refused> {
        let taken: Vec<InstanceId> = self.instances.keys().copied().collect();
        let id = free_id(
            WantedId::Highest,
            &taken,
            usize::from(self.settings.max_instances),
        )?;
        let exists = |link| objects::exists(self.software(), link);
        let transition = create(
            Write::default(),
            asked(user),
            stage_id(),
            &self.rules(None, &exists),
        )?;
        let stored = self.commit(id, None, &transition, None);
        stored.map_err(not_stored).map(|()| id)
    }

    /// The messages of all servers go into one pipe.
    fn trace(&mut self, watcher: OwnedFd) -> Result<(), Refused> {
        if self.servers.is_empty() {
            let why = "no server is configured, so there are no messages to trace";
            return Err(Refused::NotAllowed(why.to_owned()));
        }
        let refused = |error: &dyn std::error::Error| {
            Refused::BadRequest(format!("the pipe cannot be used: {error}"))
        };
        for server in self.servers.values_mut() {
            let watcher = watcher.try_clone().map_err(|error| refused(&error))?;
            server.trace(watcher).map_err(|error| refused(&error))?;
        }
        Ok(())
    }

    fn history(&self, instance: Option<InstanceId>) -> Result<Vec<HistoryEntry>, Refused> {
        let history = self.context.store.borrow_mut().history();
        let mut lines = history.map_err(not_stored)?;
        lines.retain(|line| instance.is_none_or(|id| line.instance == id));
        Ok(lines)
    }

    /// Publishes everything at the start.
    pub(super) fn show(&self) {
        for (id, instance) in &self.instances {
            self.context
                .publisher
                .instance(*id, Some(instance), self.components_of(*id).shown());
        }
        self.show_operations();
    }

    /// Publishes the change of a commit.
    pub(super) fn show_change(
        &self,
        id: InstanceId,
        old: Option<&Instance>,
        new: Option<&Instance>,
    ) {
        let of = |instance: Option<&Instance>| {
            instance.map(|instance| (instance.operation(), instance.phase()))
        };
        if of(old) != of(new) {
            self.show_operations();
        }
        self.context
            .publisher
            .instance(id, new, self.components_of(id).shown());
    }

    fn show_operations(&self) {
        let operations = self.context.store.borrow_mut().operations(ENDED_SHOWN);
        match operations {
            Ok(operations) => self.context.publisher.operations(operations),
            Err(error) => tracing::warn!("cannot publish the operations: {error}"),
        }
    }
}

fn write(user: u32, write: Write) -> Event {
    Event::Write {
        write,
        starts: asked(user),
        stage: stage_id(),
    }
}

fn asked(user: u32) -> wharf_software::NewOperation {
    wharf_software::NewOperation {
        id: operation_id(),
        requester: Requester::User(user),
    }
}

fn not_stored(error: StoreError) -> Refused {
    Refused::NotStored(error.to_string())
}
