//! The requests of the servers, by object. Their engines have checked them against the model.

use lwm2m::{Answer, ErrorCode, Path, Request, Resources, StreamedBlock};
use wharf_frames::Action;
use wharf_software::{
    ComponentSwitch, Event, Instance, InstanceId, PackageSource, Requester, ShortId, Write,
    create::{WantedId, create, free_id},
    executable, switches,
};

use super::{Agent, journal};
use crate::{
    delivery::push,
    objects::{self, SoftwareObjects, Values, component, server},
    tasks::{RequestKey, operation_id, stage_id},
};

impl Agent {
    /// Answers a request, at once or by the task that it starts.
    pub(super) fn answer(&mut self, key: RequestKey, request: Request) {
        match request {
            Request::Read { path, .. } => self.answer_from(key, |values| values.read(path)),
            Request::Discover { path } => self.answer_from(key, |values| values.discover(path)),
            Request::Write { path, values, .. } => self.write(key, path, values),
            Request::Block { path, block } => self.block(key, path, block),
            Request::Execute { path, arguments } => self.execute(key, path, arguments),
            // The engine allows it on Object 9 only.
            Request::Create {
                instance, values, ..
            } => self.create(key, instance, values),
            Request::Delete { instance, .. } => {
                self.request(InstanceId(instance), Event::Delete, key, Answer::Deleted);
            }
        }
    }

    /// Each server reads its own account.
    fn answer_from(&mut self, key: RequestKey, read: impl FnOnce(&Values<'_>) -> Answer) {
        let Some(server) = self.servers.get_mut(&key.server) else {
            return;
        };
        let answer = read(&Values {
            account: server.account(),
            device: &self.device,
            software: SoftwareObjects {
                instances: &self.instances,
                ids: &self.components,
                plain_components: self.settings.components,
            },
        });
        server.answer(key.request, answer);
    }

    fn write(&mut self, key: RequestKey, path: Path, values: Resources) {
        let written = match path {
            Path::Instance(1, _) | Path::Resource(1, _, _) => {
                let server = self.servers.get_mut(&key.server);
                server.map_or(Ok(()), |server| server.write_account(key.request, &values))
            }
            Path::Instance(9, instance) | Path::Resource(9, instance, _) => {
                self.write_software(key, InstanceId(instance), values)
            }
            _ => Err(ErrorCode::MethodNotAllowed),
        };
        if let Err(code) = written {
            self.reply(key, Answer::Error(code));
        }
    }

    fn write_software(
        &mut self,
        key: RequestKey,
        instance: InstanceId,
        values: Resources,
    ) -> Result<(), ErrorCode> {
        let (write, package) = objects::software::write(values)?;
        let event = write_event(key.server, write);
        match package {
            None => self.try_request(instance, event, key, Some(Answer::Changed)),
            Some(bytes) => {
                let whole = StreamedBlock {
                    offset: 0,
                    size: Some(bytes.len() as u64),
                    bytes,
                    last: true,
                };
                self.begin_push(key, instance, event, whole)
            }
        }
    }

    /// Handles a block. The first one asks the machine; later ones go to the accepted push.
    fn block(&mut self, key: RequestKey, path: Path, block: StreamedBlock) {
        let instance = InstanceId(path.instance().unwrap_or(u16::MAX));
        let taken = match block.offset {
            0 => {
                let empty = block.bytes.is_empty() && block.last;
                let write = Write {
                    source: Some(PackageSource::Package { empty }),
                    ..Write::default()
                };
                self.begin_push(key, instance, write_event(key.server, write), block)
            }
            _ => self.continue_push(
                instance,
                push::PushBlock {
                    request: key,
                    bytes: block.bytes,
                    last: block.last,
                },
            ),
        };
        if let Err(code) = taken {
            self.reply(key, Answer::Error(code));
        }
    }

    fn execute(&mut self, key: RequestKey, path: Path, arguments: Vec<u8>) {
        let action = match path {
            Path::Resource(14, id, resource) => {
                return self.switch_component(key, id, resource, arguments);
            }
            Path::Resource(1, _, server::UPDATE_TRIGGER) => {
                if let Some(server) = self.servers.get_mut(&key.server) {
                    server.trigger_update(key.request);
                }
                return;
            }
            Path::Resource(9, _, resource) => executable(resource),
            _ => None,
        };
        let (Some(action), Some(instance)) = (action, path.instance()) else {
            return self.reply(key, Answer::Error(ErrorCode::MethodNotAllowed));
        };
        let event = Event::Execute {
            action,
            arguments,
            starts: asked_by(key.server),
        };
        self.request(InstanceId(instance), event, key, Answer::Changed);
    }

    /// A plain package is its own component: its Activate is the one of its instance.
    fn switch_component(&mut self, key: RequestKey, id: u16, resource: u16, arguments: Vec<u8>) {
        let found = component::find(self.software(), id);
        let found = found.map(|(instance, name)| (instance, name.clone()));
        let (Some((instance, component)), Some(wanted)) = (found, switches(resource)) else {
            return self.reply(key, Answer::Error(ErrorCode::MethodNotAllowed));
        };
        let starts = asked_by(key.server);
        let of = self.instances.get(&instance);
        let event = match of.is_some_and(Instance::is_bundle) {
            true => Event::Switch(ComponentSwitch {
                component,
                wanted,
                arguments,
                starts,
            }),
            false => Event::Execute {
                action: if wanted {
                    Action::Activate
                } else {
                    Action::Deactivate
                },
                arguments,
                starts,
            },
        };
        self.request(instance, event, key, Answer::Changed);
    }

    fn create(&mut self, key: RequestKey, wanted: Option<u16>, values: Resources) {
        if let Err(code) = self.try_create(key, wanted.map(InstanceId), values) {
            self.reply(key, Answer::Error(code));
        }
    }

    fn try_create(
        &mut self,
        key: RequestKey,
        wanted: Option<InstanceId>,
        values: Resources,
    ) -> Result<(), ErrorCode> {
        let (write, package) = objects::software::write(values)?;
        if package.is_some() {
            return Err(ErrorCode::MethodNotAllowed); // Package can be written only to an existing instance
        }
        let taken: Vec<InstanceId> = self.instances.keys().copied().collect();
        let limit = usize::from(self.settings.max_instances);
        let wanted = wanted.map_or(WantedId::Lowest, WantedId::This);
        let instance = free_id(wanted, &taken, limit).map_err(refused)?;
        let exists = |link| objects::exists(self.software(), link);
        let rules = self.rules(Some(key.server), &exists);
        let transition =
            create(write, asked_by(key.server), stage_id(), &rules).map_err(refused)?;
        self.commit_new(
            instance,
            &transition,
            Some((key, Answer::Created(instance.0))),
        )
    }
}

fn refused(refusal: wharf_software::Refusal) -> ErrorCode {
    journal::tell_refusal(None, &refusal);
    objects::software::error_code(refusal.code)
}

fn write_event(server: ShortId, write: Write) -> Event {
    Event::Write {
        write,
        starts: asked_by(server),
        stage: stage_id(),
    }
}

/// The operation that a request of this server may start.
fn asked_by(server: ShortId) -> wharf_software::NewOperation {
    wharf_software::NewOperation {
        id: operation_id(),
        requester: Requester::Server(server),
    }
}
