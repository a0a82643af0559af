//! GET requests, with credentials only for the origin of the Package URI, redirects by [`crate::redirect`], and
//! timeouts.

use std::time::{Duration, Instant};

use reqwest::{
    Client, RequestBuilder, Response, Url,
    header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE},
    redirect::Policy,
};
use wharf_frames::{
    Cause, Failure, Secret,
    fetch::{FetchRequest, FetchTimeouts, Resume, Validator},
};

use crate::{
    failure::{FetchFailure, of_exchange, stalled, too_slow},
    pace::Pace,
    redirect::{self, MAX_REDIRECTS, is_redirect},
    resolve::LibraryResolver,
};

const USER_AGENT: &str = concat!("wharfd/", env!("CARGO_PKG_VERSION"));

/// The origin of a Package URI.
pub(crate) struct OriginClient {
    client: Client,
    uri: Url,
    credentials: Option<Credentials>,
    connect: Duration,
    stall: Duration,
}

/// User Name and Password, if either is set.
struct Credentials {
    user_name: Secret,
    password: Option<Secret>,
}

impl OriginClient {
    /// Sets up the client. It sends nothing.
    pub(crate) fn new(uri: Url, request: &FetchRequest) -> Result<Self, Failure> {
        let FetchTimeouts {
            connect_ms,
            stall_ms,
        } = request.limits;
        let connect = Duration::from_millis(connect_ms);
        Ok(Self {
            client: client(connect)?,
            uri,
            credentials: Credentials::of(request)?,
            connect,
            stall: Duration::from_millis(stall_ms),
        })
    }

    /// The Package URI.
    pub(crate) fn uri(&self) -> &Url {
        &self.uri
    }

    /// Whether User Name or Password is set.
    pub(crate) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// The response to a GET of the package, after its redirects.
    pub(crate) async fn package(&self, resume: Option<&Resume>) -> Result<Response, FetchFailure> {
        let range = range(resume)?;
        let mut url = self.uri.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.answer(&url, range.clone()).await?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            url = redirect::follow(&url, location, self.has_credentials())?;
        }
        Err(redirect::too_many(&self.uri).into())
    }

    /// The response to one GET.
    pub(crate) async fn answer(
        &self,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Response, FetchFailure> {
        let request = self.client.get(url.clone()).headers(headers);
        let request = self.authorise(url, request);
        let limit = self.connect + self.stall;
        match tokio::time::timeout(limit, request.send()).await {
            Ok(answered) => answered.map_err(|error| of_exchange(url, &error)),
            Err(_) => Err(stalled(url, self.stall)),
        }
    }

    /// The body of a response.
    pub(crate) fn body(&self, response: Response) -> ResponseBody {
        ResponseBody {
            response,
            stall: self.stall,
            pace: Pace::new(self.stall, Instant::now()),
        }
    }

    fn authorise(&self, url: &Url, request: RequestBuilder) -> RequestBuilder {
        match &self.credentials {
            Some(credentials) if url.origin() == self.uri.origin() => {
                let (user_name, password) = credentials.texts();
                request.basic_auth(user_name, password)
            }
            _ => request,
        }
    }
}

/// The body of a response.
pub(crate) struct ResponseBody {
    response: Response,
    stall: Duration,
    pace: Pace,
}

impl ResponseBody {
    /// The next bytes. `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, FetchFailure> {
        let Ok(received) = tokio::time::timeout(self.stall, self.response.chunk()).await else {
            return Err(stalled(self.response.url(), self.stall));
        };
        let received = received.map_err(|error| of_exchange(self.response.url(), &error))?;
        if let Some(bytes) = &received {
            let paced = self.pace.count(bytes.len() as u64, Instant::now());
            paced.map_err(|(received, took)| too_slow(self.response.url(), received, took))?;
        }
        Ok(received)
    }
}

impl Credentials {
    fn of(request: &FetchRequest) -> Result<Option<Self>, Failure> {
        if request.user_name.is_none() && request.password.is_none() {
            return Ok(None);
        }
        let credentials = Self {
            user_name: request
                .user_name
                .clone()
                .unwrap_or_else(|| Secret::new(Vec::new())),
            password: request.password.clone(),
        };
        let (user_name, password) = (
            credentials.user_name.expose(),
            credentials.password.as_ref(),
        );
        let text = |secret: &[u8]| {
            str::from_utf8(secret).is_ok_and(|text| !text.contains(char::is_control))
        };
        // The first colon ends the user name (RFC 7617 2).
        if user_name.contains(&b':')
            || !text(user_name)
            || !password.is_none_or(|password| text(password.expose()))
        {
            let why = "User Name or Password cannot be sent: UTF-8 without control characters, and no colon in User Name (RFC 7617); write them again";
            return Err(Failure::new(Cause::Unauthorised, why));
        }
        Ok(Some(credentials))
    }

    fn texts(&self) -> (&str, Option<&str>) {
        // `of` has checked that it is UTF-8.
        fn text(secret: &Secret) -> &str {
            str::from_utf8(secret.expose()).unwrap_or_default()
        }
        (text(&self.user_name), self.password.as_ref().map(text))
    }
}

/// An HTTP/1.1 client. HTTP/2 does not speed up one long response.
fn client(connect: Duration) -> Result<Client, Failure> {
    let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(headers)
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .dns_resolver(LibraryResolver)
        .connect_timeout(connect)
        .build()
        .map_err(|error| {
            let why = format!(
                "cannot set up TLS: {}: look at the CA certificates of this device",
                error.without_url()
            );
            Failure::new(Cause::Unavailable, why)
        })
}

fn range(resume: Option<&Resume>) -> Result<HeaderMap, Failure> {
    let Some(Resume { offset, validator }) = resume else {
        return Ok(HeaderMap::new());
    };
    let (Validator::ETag(validator) | Validator::LastModified(validator)) = validator;
    let range = HeaderValue::from_str(&format!("bytes={offset}-"));
    match (range, HeaderValue::from_str(validator)) {
        (Ok(range), Ok(validator)) => Ok(HeaderMap::from_iter([
            (RANGE, range),
            (IF_RANGE, validator),
        ])),
        _ => Err(Failure::new(
            Cause::Unavailable,
            "the validator of the request is not a valid header value",
        )),
    }
}
