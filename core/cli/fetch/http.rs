//! HTTP: one agent that obeys the system's certificates and proxy variables, and what its servers refuse.

use std::{fmt, sync::OnceLock, time::Duration};

use ureq::{
    Agent, Body,
    config::RedirectAuthHeaders,
    http::{HeaderMap, Response, header},
    tls::{RootCerts, TlsConfig},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a server may keep silent, before its answer and inside of it.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// What is asked for, and on whose behalf.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub address: &'a str,
    /// It is sent to the address's own host only, wherever that redirects to.
    pub token: Option<&'a str>,
}

impl Request<'_> {
    /// Asks, with a value for the header `Range` if only a part is wanted. Every status is an answer.
    pub fn send(&self, range: Option<&str>) -> Result<Response<Body>, Unreachable> {
        // A compressed answer has no byte positions to go on from.
        let mut request = agent().get(self.address).header(header::ACCEPT_ENCODING, "identity");
        if let Some(token) = self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        request.call().map_err(Unreachable)
    }
}

/// A header's value, if it is text.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `bytes 100-199/200` → start 100, total 200.
pub fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let (range, total) = text(headers, "content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()?))
}

/// No answer came.
#[derive(Debug)]
pub struct Unreachable(ureq::Error);

/// The reason alone: who asked knows the server.
impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ureq::Error::Io(error) => write!(f, "{error}"),
            error => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Unreachable {}

/// The answer was a refusal.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    /// What Hugging Face's servers add, as in `GatedRepo`.
    pub code: Option<String>,
}

impl Refusal {
    /// What an answer refuses.
    pub fn of(response: &Response<Body>) -> Self {
        let code = text(response.headers(), "x-error-code").map(str::to_owned);
        Self { status: response.status().as_u16(), code }
    }

    /// Whether the same request may well be answered later.
    pub fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server refuses with status {}", self.status)
    }
}

impl std::error::Error for Refusal {}

fn agent() -> &'static Agent {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            // The wait for an answer counts from the end of the request, and ureq looks at what bounds that.
            .timeout_send_request(Some(SILENCE_TIMEOUT))
            // It starts anew with each read, as long as there is no timeout for the answer's head beside it.
            .timeout_recv_body(Some(SILENCE_TIMEOUT))
            .build()
            .into()
    })
}
