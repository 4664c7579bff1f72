//! HTTP to one listener: JSON in, JSON out, and every way of failing turned into a sentence and an exit code.
//!
//! It does not upload images: see [`super::upload`], which shares the settings and the explanations made here.

use std::{io, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use ureq::{
    Agent, Body, RequestBuilder,
    config::ConfigBuilder,
    http::{HeaderMap, Response, StatusCode, header},
    tls::{RootCerts, TlsConfig, TlsProvider},
    typestate::{AgentScope, WithBody, WithoutBody},
};

use super::{
    connection::{ClientOptions, Listener, Server},
    output::{Failure, OURS, Retry, YOURS},
    token::Token,
};
use crate::api::Problem;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long to wait for an answer to a request without an image.
const ANSWER: Duration = Duration::from_secs(60);
/// More than the longest list that a server sends.
const LARGEST_ANSWER: u64 = 256 * 1024 * 1024;
/// How much of an answer that is no JSON is shown.
const SHOWN: usize = 200;

/// One listener and, for the publisher's, the token.
#[derive(Debug)]
pub struct Client {
    server: Server,
    token: Option<Token>,
    agent: Agent,
}

/// A 2xx answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// When to ask again, if it says so.
    pub retry_after: Option<Duration>,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body; `null` if there is none.
    pub document: Value,
}

impl Answer {
    /// The body as one of the API's types.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        T::deserialize(&self.document).map_err(|error| {
            Failure::ours(format!(
                "the server's answer is not what this version of firmament expects ({error}). Is it a Firmament \
                 server, and of the same version?"
            ))
        })
    }
}

impl Client {
    /// A client of the publisher listener.
    ///
    /// # Errors
    /// When the address or the token is unusable.
    pub fn publisher(options: &ClientOptions) -> Result<Self, Failure> {
        let server = options.find(Listener::Publisher)?;
        let token = Token::find(options, &server)?;
        let agent = settings(&server, ANSWER).build().new_agent();
        Ok(Self { server, token: Some(token), agent })
    }

    /// A client of the device listener that waits so long for an answer.
    pub fn device(server: Server, patience: Duration) -> Self {
        let agent = settings(&server, patience).build().new_agent();
        Self { server, token: None, agent }
    }

    /// A client of the device listener.
    ///
    /// # Errors
    /// When the address is unusable.
    pub fn of_devices(options: &ClientOptions) -> Result<Self, Failure> {
        Ok(Self::device(options.find(Listener::Device)?, ANSWER))
    }

    /// The same, showing a device's credential.
    ///
    /// # Errors
    /// When it is unfit to be sent.
    pub fn showing(self, credential: SecretString) -> Result<Self, Failure> {
        let token = Token::given(credential, "--credential or FIRMAMENT_CREDENTIAL")?;
        Ok(Self { token: Some(token), ..self })
    }

    /// The listener.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// `GET` with these query parameters.
    ///
    /// # Errors
    /// When there is no answer, or none of 2xx.
    pub fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Answer, Failure> {
        let request = self.agent.get(self.server.url.join(path));
        let request: RequestBuilder<WithoutBody> =
            request.query_pairs(query.iter().map(|(key, value)| (*key, value.as_str())));
        self.finish(self.authorized(request).call())
    }

    /// `PUT` of a JSON document.
    ///
    /// # Errors
    /// When there is no answer, or none of 2xx.
    pub fn put(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        let request: RequestBuilder<WithBody> = self.agent.put(self.server.url.join(path));
        self.finish(self.authorized(request).send_json(body))
    }

    /// `PUT` of bytes.
    ///
    /// # Errors
    /// When there is no answer, or none of 2xx.
    pub fn put_bytes(&self, path: &str, query: &[(&str, String)], bytes: &[u8]) -> Result<Answer, Failure> {
        let request: RequestBuilder<WithBody> = self.agent.put(self.server.url.join(path));
        let request = request.query_pairs(query.iter().map(|(key, value)| (*key, value.as_str())));
        self.finish(self.authorized(request).send(bytes))
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// When there is no answer, or none of 2xx.
    pub fn delete(&self, path: &str) -> Result<Answer, Failure> {
        let request: RequestBuilder<WithoutBody> = self.agent.delete(self.server.url.join(path));
        self.finish(self.authorized(request).call())
    }

    /// `GET` of bytes.
    ///
    /// # Errors
    /// When there is no answer, or none of 2xx.
    pub fn get_bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let request: RequestBuilder<WithoutBody> = self.agent.get(self.server.url.join(path));
        Ok(self.receive(self.authorized(request).call())?.3)
    }

    /// `POST` of a JSON document.
    ///
    /// # Errors
    /// When there is no answer, or none of 2xx.
    pub fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        let request: RequestBuilder<WithBody> = self.agent.post(self.server.url.join(path));
        self.finish(self.authorized(request).send_json(body))
    }

    /// `HEAD` with these headers.
    ///
    /// # Errors
    /// When there is no answer, or none of 2xx.
    pub fn head(&self, path: &str, headers: &[(&str, String)]) -> Result<Answer, Failure> {
        let mut request: RequestBuilder<WithoutBody> = self.agent.head(self.server.url.join(path));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.finish(self.authorized(request).call())
    }

    /// `POST` with these headers and no body.
    ///
    /// # Errors
    /// When there is no answer, or none of 2xx.
    pub fn post_headers(&self, path: &str, headers: &[(&str, String)]) -> Result<Answer, Failure> {
        let mut request: RequestBuilder<WithBody> = self.agent.post(self.server.url.join(path));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.finish(self.authorized(request).send_empty())
    }

    /// `POST` with these query parameters and no body.
    ///
    /// # Errors
    /// When there is no answer, or none of 2xx.
    pub fn post_query(&self, path: &str, query: &[(&str, String)]) -> Result<Answer, Failure> {
        let request: RequestBuilder<WithBody> = self.agent.post(self.server.url.join(path));
        let request = request.query_pairs(query.iter().map(|(key, value)| (*key, value.as_str())));
        self.finish(self.authorized(request).send_empty())
    }

    /// Adds the token.
    pub fn authorized<T>(&self, request: RequestBuilder<T>) -> RequestBuilder<T> {
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, token.header().to_string()),
            None => request,
        }
    }

    /// Reads the whole answer and judges it.
    ///
    /// # Errors
    /// When there is no answer, or none of 2xx.
    pub fn finish(&self, outcome: Result<Response<Body>, ureq::Error>) -> Result<Answer, Failure> {
        let (status, retry_after, headers, body) = self.receive(outcome)?;
        let document = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&body) };
        let document = document.map_err(|_| {
            let url = &self.server.url;
            Failure::ours(format!(
                "{url} answers, but not as a Firmament server does; {}",
                self.check_option()
            ))
        })?;
        Ok(Answer { status, retry_after, headers, document })
    }

    /// The status, the delay, the headers and the body of a 2xx answer.
    fn receive(
        &self,
        outcome: Result<Response<Body>, ureq::Error>,
    ) -> Result<(u16, Option<Duration>, HeaderMap, Vec<u8>), Failure> {
        let mut response = outcome.map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(delay);
        let headers = response.headers().clone();
        let location = headers.get(header::LOCATION);
        let body = response.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec();
        if status.is_redirection() {
            let target = location.and_then(|target| target.to_str().ok()).unwrap_or("elsewhere");
            return Err(Failure::yours(format!(
                "{} redirects to {target}; name the right server by {}",
                self.server.url,
                self.server.listener.option()
            )));
        }
        if !status.is_success() {
            // A refusal whose body is cut off is still that refusal.
            return Err(self.refused(status, retry_after, &body.unwrap_or_default()));
        }
        let body = body.map_err(|error| self.no_answer(&error))?;
        Ok((status.as_u16(), retry_after, headers, body))
    }

    /// What an answer that is none of 2xx means.
    pub fn refused(&self, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Failure {
        let busy = status == StatusCode::TOO_MANY_REQUESTS;
        let code = if status.is_client_error() && !busy { YOURS } else { OURS };
        // Of 5xx, those that a proxy or a restarting server gives.
        let passing = busy || matches!(status.as_u16(), 502..=504);
        let retry = if passing { Retry::After(retry_after) } else { Retry::No };
        let document: Option<Value> = serde_json::from_slice(body).ok();
        let problem: Option<Problem> =
            document.as_ref().and_then(|document| serde::Deserialize::deserialize(document).ok());
        let Some(problem) = problem else {
            let text = String::from_utf8_lossy(body);
            let start: String =
                text.trim().chars().take(SHOWN).map(|c| if c == '\n' { ' ' } else { c }).collect();
            let said = if start.is_empty() { String::new() } else { format!(": {start}") };
            let message = format!("{} answered {status}{said}; {}", self.server.url, self.check_option());
            return Failure { code, retry, status: Some(status.as_u16()), ..Failure::yours(message) };
        };
        let mut message = problem.detail;
        match (&self.token, status) {
            (Some(token), StatusCode::UNAUTHORIZED) => {
                message.push_str(&format!(" (sent to {}: the token of {})", self.server.url, token.origin));
            }
            _ if code == OURS => {
                message = format!("{} answered {status}: {message}", self.server.url);
                if let Some(id) = &problem.request_id {
                    message.push_str(&format!(" (request {id})"));
                }
            }
            _ => {}
        }
        Failure { code, message, reasons: problem.reasons, document, retry, status: Some(status.as_u16()) }
    }

    /// Why there is no answer.
    pub fn no_answer(&self, error: &ureq::Error) -> Failure {
        let Server { url, origin, .. } = &self.server;
        let option = self.server.listener.option();
        let unreachable = |why: &str, advice: &str| {
            let message = format!("cannot reach {url}{origin}: {why}. {advice}");
            Failure { retry: Retry::After(None), ..Failure::ours(message) }
        };
        let start =
            format!("Is the server running? Start it with `firmament serve`, or name another by {option}");
        let slow = "It may be overloaded; try again, and look at the server's log if it stays so";
        let unknown_host = || Failure {
            retry: Retry::No,
            ..unreachable("its host name is not known", &format!("Correct {option}"))
        };
        let no_tls = |error: &rustls::Error| {
            Failure::ours(format!(
                "no TLS with {url}{origin}: {error}. Is it https, and does this machine trust its certificate?"
            ))
        };
        match error {
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                unreachable("connection refused", &start)
            }
            ureq::Error::Io(error) if interrupted(error.kind()) => unreachable(
                "the connection was closed without an answer",
                "Try again, and look at the server's log",
            ),
            ureq::Error::Io(error) => match tls_error(error) {
                Some(error) => no_tls(error),
                None if is_unknown_host(error) => unknown_host(),
                None => unreachable(&error.to_string(), &start),
            },
            ureq::Error::HostNotFound => unknown_host(),
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                unreachable(&format!("no connection within {} seconds", CONNECT.as_secs()), &start)
            }
            ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => {
                unreachable("it does not answer in time", slow)
            }
            ureq::Error::Protocol(error) => Failure::ours(format!(
                "{url}{origin} does not speak HTTP as expected ({error}); {}",
                self.check_option()
            )),
            ureq::Error::Rustls(error) => no_tls(error),
            ureq::Error::BadUri(why) => Failure::yours(format!("{url}: {why}; {}", self.check_option())),
            ureq::Error::Http(error) => {
                Failure::yours(format!("the request cannot be written ({error}); is a text too long?"))
            }
            other => Failure::ours(format!("no answer from {url}: {other}")),
        }
    }

    fn check_option(&self) -> String {
        match self.server.listener {
            Listener::Publisher => "check that --server names the publisher listener".to_owned(),
            Listener::Device => "check that --device-server names the device listener".to_owned(),
        }
    }
}

/// Whether the other side went away.
pub fn interrupted(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}

/// The handshake's error, which comes as that of the connection.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Whether the host's name has no address: the standard library has no kind for it, only this text.
fn is_unknown_host(error: &io::Error) -> bool {
    error.to_string().starts_with("failed to lookup address information")
}

/// The settings of every request to a server: errors are told apart here and not by ureq, a redirect is shown and
/// not followed (it would lose the token or the image), and this machine is never reached through a proxy.
pub fn settings(server: &Server, patience: Duration) -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    let builder = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("firmament/", env!("CARGO_PKG_VERSION")))
        .accept("application/json, application/problem+json")
        .tls_config(tls)
        .timeout_resolve(Some(CONNECT.min(patience)))
        .timeout_connect(Some(CONNECT.min(patience)))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience));
    if server.url.is_loopback() { builder.proxy(None) } else { builder }
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn delay(value: &header::HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.with_timezone(&Utc) - Utc::now()).to_std().unwrap_or_default())
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
