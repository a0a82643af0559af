//! Turns a request of the server into an operation of LwM2M 1.0 (TS Core 1.0 5.4, 8.2.5), and checks
//! it against the model.

use super::{Engine, answers::ExpectedAnswer};
use crate::{
    EngineEvent, ErrorCode, ObjectDefinition, Path, ReadPurpose, Request, RequestId,
    ResourceDefinition, ResourceValue, Resources, StreamedBlock as PackageBlock, Time, Value,
    WriteMode,
    blockwise::{Assembled, BodyPart, Decision},
    coap::{BlockOption, Code, Message, OptionNumber, uint},
    content::{self, ContentFormat},
    link,
};

/// The next step for a request.
pub(super) enum Handling {
    /// Ask the application.
    Ask(Request, ExpectedAnswer),
    /// Wait for the answer to the same request in another message.
    Join(RequestId, ExpectedAnswer),
    /// Respond without the application.
    Respond(Message),
}

/// The most bytes of Execute arguments.
const LONGEST_ARGUMENTS: usize = 1024;

/// The methods of LwM2M 1.0 (TS Core 1.0 8.2.5).
const METHODS: [Code; 4] = [Code::GET, Code::PUT, Code::POST, Code::DELETE];

impl Engine {
    pub(super) fn operation(&mut self, now: Time, message: Message) -> Result<Handling, ErrorCode> {
        // An unknown method gets 4.05 (RFC 7252 5.8). Checked first, since FETCH, PATCH and iPATCH of
        // LwM2M 1.1 often have options and paths that would get another code.
        if !METHODS.contains(&message.code()) {
            return Err(ErrorCode::MethodNotAllowed);
        }
        check_options(&message)?;
        let path = Path::from_segments(message.options(OptionNumber::URI_PATH))
            .ok_or(ErrorCode::NotFound)?;
        if path.object() == link::SECURITY {
            return Err(ErrorCode::Unauthorized);
        }
        let definition = self
            .objects
            .definition(path.object())
            .ok_or(ErrorCode::NotFound)?;
        if !self.objects.exists(path) {
            return Err(ErrorCode::NotFound);
        }
        if self.open.len() >= self.config.limits.open_requests {
            return Err(ErrorCode::ServiceUnavailable);
        }
        match message.code() {
            Code::GET => self.get(now, &message, path),
            Code::DELETE => delete(definition, path),
            _ => self.with_body(now, message, definition, path),
        }
    }

    fn get(&mut self, now: Time, message: &Message, path: Path) -> Result<Handling, ErrorCode> {
        let block = block_option(message, OptionNumber::BLOCK2)?;
        let accept = number_option(message, OptionNumber::ACCEPT);
        let resource = self.objects.resource(path);
        let discover = accept == Some(ContentFormat::Link.number());
        if !discover && resource.is_some_and(|resource| !resource.is_readable()) {
            return Err(ErrorCode::MethodNotAllowed);
        }
        let format = if discover {
            ContentFormat::Link
        } else {
            ContentFormat::for_read(accept, path, resource)?
        };
        if block.is_some_and(|block| block.offset() > 0)
            && let Some(response) = self.next_block(now, path, format, block)
        {
            return response.map(Handling::Respond);
        }
        if discover {
            return Ok(Handling::Ask(
                Request::Discover { path },
                ExpectedAnswer::Discovered { path, block },
            ));
        }
        let observe = self.observe_option(message, path);
        let expected = ExpectedAnswer::Content {
            path,
            format,
            observe,
            block,
        };
        Ok(Handling::Ask(
            Request::Read {
                path,
                purpose: ReadPurpose::Server,
            },
            expected,
        ))
    }

    /// Whether the response begins an observation. A cancel ends one at once (RFC 7641 2, 3.6).
    fn observe_option(&mut self, message: &Message, path: Path) -> bool {
        match number_option(message, OptionNumber::OBSERVE) {
            Some(0) => true,
            Some(1) => {
                let ended = self.observations.cancel(path, message.token());
                self.report(ended.map(EngineEvent::ObservationEnded));
                false
            }
            _ => false,
        }
    }

    fn with_body(
        &mut self,
        now: Time,
        message: Message,
        definition: &'static ObjectDefinition,
        path: Path,
    ) -> Result<Handling, ErrorCode> {
        // Write-Attributes (TS Core 1.0 5.4.4) is rejected: the engine does not implement pmin and
        // pmax.
        if message.code() == Code::PUT && message.option(OptionNumber::URI_QUERY).is_some() {
            return Err(ErrorCode::MethodNotAllowed);
        }
        let block = block_option(&message, OptionNumber::BLOCK1)?;
        if message.payload().len() > self.config.limits.request_body {
            return Ok(Handling::Respond(self.too_large()));
        }
        let part = part(&message, block)?;
        let streamed = self
            .objects
            .resource(path)
            .filter(|resource| resource.streamed);
        if let (Code::PUT, Some(resource)) = (message.code(), streamed) {
            return self.stream(now, &message, resource, path, part);
        }
        permitted(message.code(), definition, path)?;
        let format = number_option(&message, OptionNumber::CONTENT_FORMAT);
        let code = message.code();
        if block.is_none() {
            return self.whole(code, definition, path, format, message.payload());
        }
        match self.assembly.add(now, (code, path), part) {
            Ok(Assembled::Incomplete) => Ok(Handling::Respond(Message::response(Code::CONTINUE))),
            Ok(Assembled::Whole(body)) => self.whole(code, definition, path, format, &body),
            Err(ErrorCode::RequestEntityTooLarge) => Ok(Handling::Respond(self.too_large())),
            Err(error) => Err(error),
        }
    }

    fn too_large(&self) -> Message {
        longer_than(self.config.limits.request_body)
    }

    fn whole(
        &self,
        code: Code,
        definition: &'static ObjectDefinition,
        path: Path,
        format: Option<u32>,
        body: &[u8],
    ) -> Result<Handling, ErrorCode> {
        let request = match (code, path) {
            (Code::POST, Path::Object(_)) => self.create(definition, format, body)?,
            (Code::POST, Path::Resource(..)) if body.len() > LONGEST_ARGUMENTS => {
                return Ok(Handling::Respond(longer_than(LONGEST_ARGUMENTS)));
            }
            (Code::POST, Path::Resource(..)) => execute(path, format, body)?,
            (Code::POST, _) => {
                let values = content::instance_write(definition, path, format, body)?;
                Request::Write {
                    path,
                    mode: WriteMode::Update,
                    values,
                }
            }
            _ => {
                let values = replaced(definition, path, format, body)?;
                Request::Write {
                    path,
                    mode: WriteMode::Replace,
                    values,
                }
            }
        };
        let expected = match request {
            Request::Create { object, .. } => ExpectedAnswer::Created { object },
            _ => ExpectedAnswer::Changed,
        };
        Ok(Handling::Ask(request, expected))
    }

    fn create(
        &self,
        definition: &'static ObjectDefinition,
        format: Option<u32>,
        body: &[u8],
    ) -> Result<Request, ErrorCode> {
        let (instance, values) = content::created(definition, format, body)?;
        let object = definition.id;
        if instance.is_some_and(|id| self.objects.exists(Path::Instance(object, id))) {
            return Err(ErrorCode::BadRequest);
        }
        Ok(Request::Create {
            object,
            instance,
            values,
        })
    }

    /// A Write to a streamed resource. Each block goes to the application, and a short body is its
    /// only block.
    fn stream(
        &mut self,
        now: Time,
        message: &Message,
        resource: &ResourceDefinition,
        path: Path,
        part: BodyPart<'_>,
    ) -> Result<Handling, ErrorCode> {
        if !resource.is_writable() {
            return Err(ErrorCode::MethodNotAllowed);
        }
        let bytes = streamed_bytes(message, resource, part)?;
        let last = !part.more;
        let expected = ExpectedAnswer::Block { last };
        match self
            .streams
            .decide(now, path, part, self.next_request_id())?
        {
            Decision::InProgress(request) => Ok(Handling::Join(request, expected)),
            Decision::Repeated => Ok(Handling::Respond(Message::response(expected.code()))),
            Decision::New => {
                let size = message.uint(OptionNumber::SIZE1).map(u64::from);
                let block = PackageBlock {
                    offset: part.offset,
                    bytes,
                    last,
                    size,
                };
                Ok(Handling::Ask(Request::Block { path, block }, expected))
            }
        }
    }
}

/// 4.13 with the largest accepted length in Size1 (RFC 7959 2.9.3).
fn longer_than(accepted: usize) -> Message {
    let longest = u32::try_from(accepted).unwrap_or(u32::MAX);
    Message::response(ErrorCode::RequestEntityTooLarge.into())
        .with_uint(OptionNumber::SIZE1, longest)
}

/// Rejects unknown critical options (RFC 7252 5.4.1). A repeated option that is not repeatable
/// counts as unknown (RFC 7252 5.4.5).
fn check_options(message: &Message) -> Result<(), ErrorCode> {
    let proxy = [OptionNumber::PROXY_URI, OptionNumber::PROXY_SCHEME];
    if proxy.iter().any(|number| message.option(*number).is_some()) {
        return Err(ErrorCode::ProxyingNotSupported);
    }
    let understood = |number| {
        matches!(
            number,
            OptionNumber::URI_HOST
                | OptionNumber::URI_PORT
                | OptionNumber::URI_PATH
                | OptionNumber::URI_QUERY
                | OptionNumber::ACCEPT
                | OptionNumber::BLOCK1
                | OptionNumber::BLOCK2
        )
    };
    let fits = |(number, times): (OptionNumber, usize)| {
        !number.is_critical() || (understood(number) && (times == 1 || number.is_repeatable()))
    };
    if message.option_numbers().all(fits) {
        Ok(())
    } else {
        Err(ErrorCode::BadOption)
    }
}

/// The value of a number option. An invalid one becomes a number that has no meaning.
fn number_option(message: &Message, number: OptionNumber) -> Option<u32> {
    message
        .option(number)
        .map(|value| uint(value).unwrap_or(u32::MAX))
}

fn block_option(message: &Message, number: OptionNumber) -> Result<Option<BlockOption>, ErrorCode> {
    let value = message.option(number);
    value
        .map(BlockOption::decode)
        .transpose()
        .map_err(|_| ErrorCode::BadRequest)
}

/// The part of the body in this message. A block before the last must have the announced size (RFC
/// 7959 2.2).
fn part(message: &Message, block: Option<BlockOption>) -> Result<BodyPart<'_>, ErrorCode> {
    let bytes = message.payload();
    let Some(block) = block else {
        return Ok(BodyPart {
            offset: 0,
            bytes,
            more: false,
        });
    };
    let (length, size) = (bytes.len(), block.size());
    if length > size || (block.more() && length < size) {
        return Err(ErrorCode::BadRequest);
    }
    Ok(BodyPart {
        offset: block.offset(),
        bytes,
        more: block.more(),
    })
}

/// The bytes of a streamed block. Another format than opaque is accepted only in a single message.
fn streamed_bytes(
    message: &Message,
    resource: &ResourceDefinition,
    part: BodyPart<'_>,
) -> Result<Vec<u8>, ErrorCode> {
    let format = number_option(message, OptionNumber::CONTENT_FORMAT);
    if format.is_none_or(|number| number == ContentFormat::Opaque.number()) {
        return Ok(part.bytes.to_vec());
    }
    if part.more || part.offset > 0 {
        return Err(ErrorCode::UnsupportedContentFormat);
    }
    match content::resource_write(resource, format, part.bytes)? {
        ResourceValue::Single(Value::Opaque(bytes)) => Ok(bytes),
        _ => Err(ErrorCode::UnsupportedContentFormat),
    }
}

/// Checks that the model allows the operation, before the body is decoded.
fn permitted(code: Code, definition: &ObjectDefinition, path: Path) -> Result<(), ErrorCode> {
    let resource = path.resource().and_then(|id| definition.resource(id));
    let allowed = match (code, path, resource) {
        (Code::POST, Path::Object(_), _) => definition.multiple,
        (Code::POST, Path::Resource(..), Some(resource)) => resource.is_executable(),
        (Code::PUT, Path::Resource(..), Some(resource)) => resource.is_writable(),
        (_, Path::Instance(..), _) => true,
        _ => false,
    };
    if allowed {
        Ok(())
    } else {
        Err(ErrorCode::MethodNotAllowed)
    }
}

/// The values of a PUT.
fn replaced(
    definition: &'static ObjectDefinition,
    path: Path,
    format: Option<u32>,
    body: &[u8],
) -> Result<Resources, ErrorCode> {
    match path.resource().and_then(|id| definition.resource(id)) {
        Some(resource) => {
            content::resource_write(resource, format, body).map(|value| vec![(resource.id, value)])
        }
        None => content::instance_write(definition, path, format, body),
    }
}

fn execute(path: Path, format: Option<u32>, body: &[u8]) -> Result<Request, ErrorCode> {
    if format.is_some_and(|number| ContentFormat::of_body(number) != Some(ContentFormat::Text)) {
        return Err(ErrorCode::UnsupportedContentFormat);
    }
    Ok(Request::Execute {
        path,
        arguments: body.to_vec(),
    })
}

fn delete(definition: &ObjectDefinition, path: Path) -> Result<Handling, ErrorCode> {
    match path {
        Path::Instance(object, instance) if definition.multiple => Ok(Handling::Ask(
            Request::Delete { object, instance },
            ExpectedAnswer::Deleted,
        )),
        _ => Err(ErrorCode::MethodNotAllowed),
    }
}
