//! The requests of a server, by object. The engine has checked them against the model.

use lwm2m::{Answer, Block, ErrorCode, Input, Path, Request, RequestId, Resources};
use wharf_journal::message;
use wharf_software::{
    Event, Executable, InstanceId, Origin, Source, Write,
    create::{Wanted, create, free_id},
};

use super::{Agent, Blocks, Expected, story};
use crate::{
    delivery::push,
    objects::{self, Values, server},
    work::{operation_id, stage_id},
};

impl Agent {
    /// Answers a request, at once or by the task that it starts.
    pub(super) fn answer(&mut self, id: RequestId, request: Request) {
        match request {
            Request::Read { path, .. } => {
                let answer = self.values().read(path);
                self.reply(id, answer);
            }
            Request::Discover { path } => {
                let answer = self.values().discover(path);
                self.reply(id, answer);
            }
            Request::Write { path, values, .. } => self.write(id, path, values),
            Request::Block { path, block } => self.block(id, path, block),
            Request::Execute { path, arguments } => self.execute(id, path, arguments),
            Request::Create {
                instance, values, ..
            } => self.create(id, instance, values),
            Request::Delete { instance, .. } => {
                self.request(InstanceId(instance), Event::Delete, id, Answer::Deleted);
            }
        }
    }

    fn values(&self) -> Values<'_> {
        Values {
            account: &self.account,
            device: &self.device,
            software: &self.instances,
        }
    }

    fn write(&mut self, id: RequestId, path: Path, values: Resources) {
        let written = match path {
            Path::Instance(1, _) | Path::Resource(1, _, _) => self.write_account(id, &values),
            Path::Instance(9, instance) | Path::Resource(9, instance, _) => {
                self.write_software(id, InstanceId(instance), values)
            }
            _ => Err(ErrorCode::MethodNotAllowed),
        };
        if let Err(code) = written {
            self.reply(id, Answer::Error(code));
        }
    }

    fn write_account(&mut self, id: RequestId, values: &Resources) -> Result<(), ErrorCode> {
        let written = self.account.write(values)?;
        let configured = self.settings.lifetime();
        let stored = self.context.store.borrow_mut().set_lifetime(
            self.settings.account(),
            configured,
            written.lifetime(),
        );
        stored.map_err(|error| {
            tracing::error!(
                MESSAGE_ID = message::NOT_STORED,
                "the lifetime is not stored: {error}"
            );
            ErrorCode::InternalServerError
        })?;
        self.account = written;
        self.reply(id, Answer::Changed);
        self.link
            .handle(Input::Changed(vec![Path::Resource(1, 0, 1)]));
        self.link.handle(Input::Update {
            lifetime: Some(self.account.lifetime()),
        });
        Ok(())
    }

    fn write_software(
        &mut self,
        id: RequestId,
        instance: InstanceId,
        values: Resources,
    ) -> Result<(), ErrorCode> {
        let (write, package) = objects::software::write(values)?;
        let event = self.write_event(write);
        match package {
            None => self.try_request(instance, event, id, Some(Answer::Changed)),
            Some(bytes) => {
                let whole = Block {
                    offset: 0,
                    size: Some(bytes.len() as u64),
                    bytes,
                    last: true,
                };
                self.begin_push(id, instance, event, whole)
            }
        }
    }

    /// The first block asks the machine; the others go to the push that it accepted.
    fn block(&mut self, id: RequestId, path: Path, block: Block) {
        let instance = InstanceId(path.instance().unwrap_or(u16::MAX));
        let taken = match block.offset {
            0 => {
                let empty = block.bytes.is_empty() && block.last;
                let event = self.write_event(Write {
                    source: Some(Source::Package { empty }),
                    ..Write::default()
                });
                self.begin_push(id, instance, event, block)
            }
            _ => self.go_on_with_push(
                instance,
                push::Block {
                    request: id,
                    bytes: block.bytes,
                    last: block.last,
                },
            ),
        };
        if let Err(code) = taken {
            self.reply(id, Answer::Error(code));
        }
    }

    fn begin_push(
        &mut self,
        request: RequestId,
        instance: InstanceId,
        event: Event,
        block: Block,
    ) -> Result<(), ErrorCode> {
        let (sender, blocks) = tokio::sync::mpsc::channel(1);
        self.expected = Some(Expected::Blocks {
            blocks,
            size: block.size,
        });
        let stored = self.try_request(instance, event, request, None);
        let refused = self.expected.take().is_some();
        stored?;
        if refused {
            return Ok(()); // and answered
        }
        let push = Blocks { sender, open: None };
        self.pushes.insert(instance, push);
        let block = push::Block {
            request,
            bytes: block.bytes,
            last: block.last,
        };
        self.go_on_with_push(instance, block)
    }

    /// A block without its push came too late, or wharfd was restarted in between (RFC 7959 2.9.2).
    fn go_on_with_push(
        &mut self,
        instance: InstanceId,
        block: push::Block,
    ) -> Result<(), ErrorCode> {
        let push = self.pushes.get_mut(&instance);
        let push = push.ok_or(ErrorCode::RequestEntityIncomplete)?;
        let request = block.request;
        let sent = push.sender.try_send(block);
        sent.map_err(|_| ErrorCode::RequestEntityIncomplete)?;
        push.open = Some(request);
        Ok(())
    }

    /// A block has its answer.
    pub(super) fn close_block(&mut self, request: RequestId) {
        for push in self.pushes.values_mut() {
            push.open.take_if(|open| *open == request);
        }
    }

    /// No push goes on here. The block that was being written is answered, or it would be open for ever.
    pub(super) fn end_push(&mut self, instance: InstanceId) {
        let ended = self.pushes.remove(&instance);
        if let Some(request) = ended.and_then(|push| push.open) {
            self.reply(request, Answer::Error(ErrorCode::RequestEntityIncomplete));
        }
    }

    fn execute(&mut self, id: RequestId, path: Path, arguments: Vec<u8>) {
        let event = match path {
            Path::Resource(1, _, server::UPDATE_TRIGGER) => {
                self.reply(id, Answer::Changed);
                return self.link.handle(Input::Update { lifetime: None });
            }
            Path::Resource(9, _, resource) => Executable::from_id(resource),
            _ => None,
        };
        let (Some(resource), Some(instance)) = (event, path.instance()) else {
            return self.reply(id, Answer::Error(ErrorCode::MethodNotAllowed));
        };
        let event = Event::Execute {
            resource,
            arguments,
            request: self.asked(),
        };
        self.request(InstanceId(instance), event, id, Answer::Changed);
    }

    fn create(&mut self, id: RequestId, wanted: Option<u16>, values: Resources) {
        if let Err(code) = self.try_create(id, wanted.map(InstanceId), values) {
            self.reply(id, Answer::Error(code));
        }
    }

    fn try_create(
        &mut self,
        id: RequestId,
        wanted: Option<InstanceId>,
        values: Resources,
    ) -> Result<(), ErrorCode> {
        let (write, package) = objects::software::write(values)?;
        if package.is_some() {
            return Err(ErrorCode::MethodNotAllowed); // Package is written to an instance that is there
        }
        let taken: Vec<InstanceId> = self.instances.keys().copied().collect();
        let limit = usize::from(self.settings.max_instances);
        let wanted = wanted.map_or(Wanted::Lowest, Wanted::This);
        let instance = free_id(wanted, &taken, limit).map_err(refused)?;
        let exists = |link| objects::exists(&self.instances, link);
        let transition =
            create(write, self.asked(), stage_id(), &self.rules(&exists)).map_err(refused)?;
        self.commit_new(
            instance,
            &transition,
            Some((id, Answer::Created(instance.0))),
        )
    }

    fn write_event(&self, write: Write) -> Event {
        Event::Write {
            write,
            request: self.asked(),
            stage: stage_id(),
        }
    }

    /// A request of the one server, with the name for what it may start.
    fn asked(&self) -> wharf_software::Request {
        wharf_software::Request {
            operation: operation_id(),
            origin: Origin::Server(self.settings.account()),
            deadline: None,
        }
    }
}

fn refused(refusal: wharf_software::Refusal) -> ErrorCode {
    story::tell_refusal(None, &refusal);
    objects::software::error_code(refusal.code)
}
