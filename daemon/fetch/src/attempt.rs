//! The attempt, from its request to its end: first the detached signature, then the package.
//!
//! An attempt ends with an event, unless the other side closes the socket to cancel it. The process then
//! saves the bytes that it has, and exits.

use reqwest::{Response, StatusCode, Url, header::HeaderMap};
use wharf_frames::{
    Cause, Failure,
    fetch::{DURABLE_EVERY, FetchEvent, FetchRequest, MAX_SIGNATURE, Resume, Validator},
};
use wharf_journal::message;

use crate::{
    failure::{self, FetchFailure},
    origin::{OriginClient, ResponseBody},
    range::{self, NoAnswer, RangeAnswer},
    signature,
    socket::{RequestError, RequestSocket},
    staged::StagedFile,
    uri::{self, Shown},
};

/// Makes the attempt that the socket requests.
pub async fn perform(socket: &RequestSocket) -> Result<(), RequestError> {
    let (request, descriptor) = socket.request().await?;
    let keep = request.resume.as_ref().map_or(0, |resume| resume.offset);
    let file = match StagedFile::new(descriptor, keep, request.max_size) {
        Ok(file) => file,
        Err(failure) => return socket.send(&failed(failure.into(), 0)).await,
    };
    let mut attempt = Attempt {
        socket,
        file,
        resumable: true,
    };
    tokio::select! {
        end = attempt.run(&request) => {
            let last = match end {
                Ok(()) => {
                    let length = attempt.file.length();
                    log_fetched(&request, length);
                    FetchEvent::Complete { length }
                }
                Err(why) => failed(why, attempt.resumable_bytes()),
            };
            // Closed before the last event, since the seal needs a file without a writer.
            drop(attempt);
            socket.send(&last).await
        }
        () = socket.closed() => {
            // wharfd stops sending but still reads when it shuts down.
            if let Ok(durable) = attempt.file.sync() {
                let _ = socket.send(&FetchEvent::Durable(durable)).await;
            }
            Ok(())
        }
    }
}

/// Logs a complete package. wharfd logs failures, since it decides about a retry.
fn log_fetched(request: &FetchRequest, length: u64) {
    let subject = request.subject.as_ref();
    let uri = uri::parse(request.uri.expose()).ok();
    let uri = uri.as_ref().map(|uri| Shown(uri).to_string());
    tracing::info!(
        MESSAGE_ID = message::FETCHED,
        WHARF_INSTANCE = subject.map(|subject| subject.instance),
        WHARF_OPERATION = subject.map(|subject| display(subject.operation)),
        WHARF_PACKAGE = subject.and_then(|subject| Some(subject.package.as_ref()?.as_str())),
        "downloaded {length} bytes from {}",
        uri.as_deref().unwrap_or_default()
    );
}

fn failed(
    FetchFailure {
        failure,
        retry_after,
    }: FetchFailure,
    durable: u64,
) -> FetchEvent {
    FetchEvent::Failed {
        failure,
        retry_after,
        durable,
    }
}

struct Attempt<'a> {
    socket: &'a RequestSocket,
    file: StagedFile,
    /// Whether the origin sent a validator for the bytes in the file.
    resumable: bool,
}

impl Attempt<'_> {
    async fn run(&mut self, request: &FetchRequest) -> Result<(), FetchFailure> {
        let origin = OriginClient::new(uri::parse(request.uri.expose())?, request)?;
        if let Some(signature) = signature_beside(&origin).await? {
            self.report(&FetchEvent::Signature(signature.into()))
                .await?;
        }
        let (response, answer) = ask(&origin, request.resume.as_ref()).await?;
        let total = self.start(request, response.headers(), answer).await?;
        if answer != RangeAnswer::Nothing {
            self.receive(origin.body(response)).await?;
        }
        check_length(origin.uri(), self.file.length(), total)?;
        self.file.sync()?;
        Ok(())
    }

    /// Prepares the file and reports the start. Returns the length of the package.
    async fn start(
        &mut self,
        request: &FetchRequest,
        headers: &HeaderMap,
        answer: RangeAnswer,
    ) -> Result<Option<u64>, FetchFailure> {
        let (total, validator) = match answer {
            RangeAnswer::Whole { total } => (total, range::validator(headers)),
            RangeAnswer::Rest { total } => (total, known_validator(request)),
            RangeAnswer::Nothing => (Some(self.file.length()), known_validator(request)),
        };
        self.file.allow(total.unwrap_or(0))?;
        if let RangeAnswer::Whole { .. } = answer {
            self.file.start_over()?;
            self.resumable = validator.is_some();
        }
        let offset = self.file.length();
        self.report(&FetchEvent::Started {
            offset,
            total,
            validator,
        })
        .await?;
        Ok(total)
    }

    async fn receive(&mut self, mut body: ResponseBody) -> Result<(), FetchFailure> {
        while let Some(bytes) = body.next().await? {
            self.file.append(bytes.as_ref())?;
            if self.file.length() - self.file.durable() >= DURABLE_EVERY {
                let durable = self.file.sync()?;
                self.report(&FetchEvent::Durable(durable)).await?;
            }
        }
        Ok(())
    }

    async fn report(&self, event: &FetchEvent) -> Result<(), Failure> {
        let sent = self.socket.send(event).await;
        sent.map_err(|error| Failure::new(Cause::Unavailable, error.to_string()))
    }

    /// The number of bytes after which a later attempt can resume.
    fn resumable_bytes(&mut self) -> u64 {
        if !self.resumable {
            return 0;
        }
        // If fsync fails, the bytes of the last successful one remain.
        self.file.sync().unwrap_or_else(|_| self.file.durable())
    }
}

/// The validator of the request, since a 206 need not repeat it (RFC 9110 15.3.7).
fn known_validator(request: &FetchRequest) -> Option<Validator> {
    Some(request.resume.as_ref()?.validator.clone())
}

/// Requests the package. A response that does not fit the present bytes causes a request from byte 0.
async fn ask(
    origin: &OriginClient,
    resume: Option<&Resume>,
) -> Result<(Response, RangeAnswer), FetchFailure> {
    let response = origin.package(resume).await?;
    match range::answer(resume, response.status(), response.headers()) {
        Ok(answer) => Ok((response, answer)),
        Err(NoAnswer::Misfit) => Box::pin(ask(origin, None)).await,
        Err(NoAnswer::Refusal) => {
            let (url, headers) = (response.url(), response.headers());
            Err(failure::of_status(
                url,
                response.status(),
                headers,
                origin.has_credentials(),
            ))
        }
    }
}

/// Checks the length: fewer bytes than announced mean a cut connection, more mean other bytes.
fn check_length(uri: &Url, length: u64, total: Option<u64>) -> Result<(), Failure> {
    let failed = |cause, total: u64, why: &str| {
        Failure::new(
            cause,
            format!("{} sent {length} bytes of {total}: {why}", Shown(uri)),
        )
    };
    match total {
        Some(total) if length < total => Err(failed(Cause::Connection, total, "cut short")),
        Some(total) if length > total => Err(failed(
            Cause::WrongDigest,
            total,
            "more than it announced; look at the origin",
        )),
        _ => Ok(()),
    }
}

/// The detached signature. A busy origin fails the attempt. Any other response without a plausible signature
/// means that there is none.
async fn signature_beside(origin: &OriginClient) -> Result<Option<Vec<u8>>, FetchFailure> {
    for suffix in signature::SUFFIXES {
        let url = uri::beside(origin.uri(), suffix);
        let response = origin.answer(&url, HeaderMap::new()).await?;
        let status = response.status();
        if failure::is_busy(status) {
            return Err(failure::of_status(
                &url,
                status,
                response.headers(),
                origin.has_credentials(),
            ));
        }
        if status == StatusCode::OK
            && let Some(bytes) = small_body(origin.body(response)).await?
            && signature::is_plausible(&bytes)
        {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// The body, if it is not longer than a signature can be.
async fn small_body(mut body: ResponseBody) -> Result<Option<Vec<u8>>, FetchFailure> {
    let mut short = Vec::new();
    while let Some(bytes) = body.next().await? {
        short.extend_from_slice(bytes.as_ref());
        if short.len() > MAX_SIGNATURE {
            return Ok(None);
        }
    }
    Ok(Some(short))
}
