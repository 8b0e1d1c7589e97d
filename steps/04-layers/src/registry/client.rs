//! One repository on one server: requests that are tried again where that
//! makes sense.
//!
//! | what happens | what is done |
//! |---|---|
//! | 2xx, 404 | an answer; the caller knows what it means |
//! | 401 | the dance of `token`, once, then again |
//! | 3xx (307, 308 for a body) | followed, without our token if it leads elsewhere |
//! | 429, 5xx, a broken connection | a pause, twice as long each time |
//! | `Retry-After` | as long as it says, if that is bearable |
//! | nobody there, a bad certificate | an error at once |

use std::io::{ErrorKind, Read};
use std::time::Duration;

use rustls::{Error as TlsError, InvalidMessage};
use ureq::http::{Request, Response, header};
use ureq::{Agent, Body, Error as HttpError, SendBody, Timeout};

use super::challenge::Challenge;
use super::credentials;
use super::error::{RegistryError, detail};
use super::hosts::{Endpoint, Scheme};
use super::token::{Asker, Pass};
use super::{Account, Cancel, PullOptions};
use crate::error::Result;
use crate::reference::Reference;

/// Registry to storage is one, storage to a cache another; more is a loop.
const REDIRECTS_MAX: usize = 5;
/// Longer than this nobody waits because a server says so.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(20);

/// A repository on a server.
pub(super) struct Client {
    pub(super) agent: Agent,
    pub(super) endpoint: Endpoint,
    /// `https://host/prefix/v2/path`.
    base: String,
    /// Shared by all threads of a pull: one token is enough for them.
    pub(super) pass: Pass,
    pub(super) reference: Reference,
    /// How often a request is made in all; see [`PullOptions`].
    attempts: u32,
    pause: Duration,
    /// See [`PullOptions::piece`].
    pub(super) piece: u64,
    /// Looked at before every request and every read.
    pub(super) cancel: Cancel,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    /// After the repository, `/manifests/latest`; or a whole URL.
    pub(super) path: &'a str,
    /// Beside those that every request has.
    pub(super) headers: &'a [(&'a str, &'a str)],
}

impl Client {
    /// Finds out how the server is spoken to; `actions` is `pull` or
    /// `pull,push`.
    pub(super) fn connect(
        endpoint: Endpoint,
        reference: &Reference,
        options: &PullOptions,
        actions: &str,
    ) -> Result<Client> {
        let auth = match &options.account {
            // A mirror is somebody else: it gets its own credentials only,
            // and no client knows that there is one.
            _ if endpoint.mirror => {
                credentials::own(&options.config, &endpoint.host)?
            }
            Account::Client(auth) => auth.clone(),
            Account::Own => {
                credentials::own(&options.config, reference.domain())?
            }
        };
        let agent = endpoint.agent(&options.config)?;
        options.cancel.ends(&agent);
        let scheme = choose_scheme(&agent, &endpoint, &options.cancel)?;
        let host = &endpoint.host;
        let (prefix, path) = (&endpoint.prefix, reference.path());
        let scope = format!("repository:{path}:{actions}");
        Ok(Client {
            base: format!("{scheme}://{host}{prefix}/v2/{path}"),
            agent,
            pass: Pass::new(auth, scope),
            reference: reference.clone(),
            attempts: options.attempts.max(1),
            pause: options.pause,
            piece: options.piece.max(1),
            cancel: options.cancel.clone(),
            endpoint,
        })
    }

    /// The address of something in this repository.
    pub(super) fn url(&self, path: &str) -> String {
        // The next page of tags is a path on the same host.
        match path.contains("://") || path.starts_with("/v2/") {
            true => joined(&self.base, path),
            false => format!("{}{path}", self.base),
        }
    }

    /// Asks, again and again if need be, until there is an answer that is
    /// final: a success, or a 404 (and 416), which the caller must judge.
    pub(super) fn ask(&self, ask: Ask<'_>) -> Result<Response<Body>> {
        self.send(ask, &mut || Ok(Payload::Bytes(Vec::new())))
    }

    /// The same with a body, which is made anew for every attempt.
    pub(super) fn send(
        &self,
        ask: Ask<'_>,
        body: MakePayload<'_, '_>,
    ) -> Result<Response<Body>> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let last = attempt >= self.attempts;
            match self.attempt(ask, body, last)? {
                Verdict::Final(answer) => return Ok(answer),
                Verdict::Later(wait) => self.wait(attempt, wait)?,
            }
        }
    }

    /// Asks once. What another attempt could mend is an error only when it
    /// is the `last`.
    pub(super) fn attempt(
        &self,
        ask: Ask<'_>,
        body: MakePayload<'_, '_>,
        last: bool,
    ) -> Result<Verdict> {
        self.cancel.check()?;
        match self.authorized(ask, body)? {
            Ok(answer) => self.judge(ask, answer, last),
            Err(e) if last || !may_pass(&e) => {
                Err(unreachable(&self.endpoint.host, &e).into())
            }
            Err(_) => Ok(Verdict::Later(None)),
        }
    }

    /// A pause that doubles, or as long as the server wants.
    ///
    /// Doubling keeps a thousand clients from coming back all at once when a
    /// registry that fell over stands up again.
    pub(super) fn wait(
        &self,
        attempt: u32,
        wanted: Option<Duration>,
    ) -> Result<()> {
        let doubled = self.pause * 2_u32.saturating_pow(attempt - 1).min(32);
        self.cancel.sleep(wanted.unwrap_or(doubled))
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// One attempt, with the dance if the server wants it. The outer error
    /// is final, the inner one may pass.
    fn authorized(
        &self,
        ask: Ask<'_>,
        body: MakePayload<'_, '_>,
    ) -> Result<Result<Response<Body>, HttpError>> {
        let sent = self.pass.header();
        let answer = match self.once(ask, body, sent.as_deref())? {
            Ok(answer) if answer.status() == 401 => answer,
            other => return Ok(other),
        };
        let headers = answer.headers().get_all(header::WWW_AUTHENTICATE);
        let mut texts = headers.iter().filter_map(|h| h.to_str().ok());
        let challenge = texts.find_map(Challenge::parse);
        let host = &self.endpoint.host;
        let asker = Asker { agent: &self.agent, cancel: &self.cancel, host };
        self.pass.renew(asker, challenge, sent.as_deref())?;
        let now = self.pass.header();
        self.once(ask, body, now.as_deref())
    }

    /// Redirects (to where the blobs really are) are followed here and not
    /// by the HTTP library, so that a token goes to this server alone: not
    /// to another port of the same host either.
    fn once(
        &self,
        ask: Ask<'_>,
        body: MakePayload<'_, '_>,
        pass: Option<&str>,
    ) -> Result<Result<Response<Body>, HttpError>> {
        let mut url = self.url(ask.path);
        for _ in 0..REDIRECTS_MAX {
            let answer = match self.hop(ask, &url, body()?, pass)? {
                Ok(answer) if redirects(ask.method, &answer) => answer,
                other => return Ok(other),
            };
            match location(&answer) {
                Some(location) => url = joined(&url, location),
                None => return Ok(Ok(answer)),
            }
        }
        Ok(Err(HttpError::TooManyRedirects))
    }

    /// One request to one server. `pass` goes along only if it is ours. The
    /// outer error is the cancellation.
    fn hop(
        &self,
        ask: Ask<'_>,
        url: &str,
        body: Payload<'_>,
        pass: Option<&str>,
    ) -> Result<Result<Response<Body>, HttpError>> {
        let mut request = Request::builder().method(ask.method).uri(url);
        for (name, value) in ask.headers {
            request = request.header(*name, *value);
        }
        if let (Some(pass), true) = (pass, url.starts_with(self.server())) {
            request = request.header(header::AUTHORIZATION, pass);
        }
        let agent = self.agent.clone();
        match (ask.method, body) {
            ("GET" | "HEAD", _) => self.cancel.unless_asked(move || {
                agent.run(request.body(()).map_err(HttpError::from)?)
            }),
            (_, Payload::Bytes(bytes)) => self.cancel.unless_asked(move || {
                agent.run(request.body(bytes).map_err(HttpError::from)?)
            }),
            (_, Payload::Stream(mut reader, length)) => {
                let request = request.header(header::CONTENT_LENGTH, length);
                let body = SendBody::from_reader(&mut reader);
                let request = request.body(body).map_err(HttpError::from);
                Ok(request.and_then(|request| agent.run(request)))
            }
        }
    }

    /// `https://host/prefix/v2/`
    fn server(&self) -> &str {
        &self.base[..self.base.len() - self.reference.path().len()]
    }

    /// What an answer means. Success and "not there" are answers; overload
    /// may pass; everything else is an error with the registry's own words in
    /// it.
    fn judge(
        &self,
        ask: Ask<'_>,
        mut answer: Response<Body>,
        last: bool,
    ) -> Result<Verdict> {
        let status = answer.status().as_u16();
        if matches!(status, 200..=299 | 304 | 404 | 416) {
            return Ok(Verdict::Final(answer));
        }
        let wait = retry_after(&answer);
        let patient = wait.is_none_or(|wait| wait <= RETRY_AFTER_MAX);
        if matches!(status, 429 | 500..=599) && !last && patient {
            return Ok(Verdict::Later(wait));
        }
        let body = answer.body_mut().with_config().limit(1 << 16);
        let body = body.read_to_vec().unwrap_or_default();
        let detail = detail(&body, status);
        let host = self.endpoint.host.clone();
        Err(match status {
            429 => RegistryError::TooManyRequests { host, detail },
            401 if self.pass.has_credentials() => {
                RegistryError::Unauthorized { host, detail }
            }
            401 | 403 => RegistryError::Denied {
                repository: self.reference.familiar_name(),
                detail,
            },
            _ => RegistryError::Status {
                method: ask.method,
                url: self.url(ask.path),
                status,
                detail,
            },
        }
        .into())
    }
}

/// Whether the same request is to be made elsewhere. For one with a body,
/// 307 and 308 alone say so; after a 303 or an old 301 it would have to
/// become a GET (RFC 9110, 15.4), which no registry means.
fn redirects(method: &str, answer: &Response<Body>) -> bool {
    match method {
        "GET" | "HEAD" => answer.status().is_redirection(),
        _ => matches!(answer.status().as_u16(), 307 | 308),
    }
}

/// Where an answer sends us.
pub(super) fn location(answer: &Response<Body>) -> Option<&str> {
    answer.headers().get(header::LOCATION)?.to_str().ok()
}

/// A `Location`, which may be without scheme and host.
pub(super) fn joined(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let scheme = base.find("://").map_or(0, |at| at + 3);
    let slash = base[scheme..].find('/');
    let host = slash.map_or(base.len(), |at| scheme + at);
    match location.starts_with('/') {
        true => format!("{}{location}", &base[..host]),
        false => {
            let dir = base.rfind('/').unwrap_or(host).max(host);
            format!("{}/{location}", &base[..dir])
        }
    }
}

/// What to do after an answer.
pub(super) enum Verdict {
    /// Hand it to the caller.
    Final(Response<Body>),
    /// Try again, after as long as the server said.
    Later(Option<Duration>),
}

/// What is sent along.
pub(super) enum Payload<'a> {
    /// Manifests, and nothing at all.
    Bytes(Vec<u8>),
    /// A reader and how much it will give.
    Stream(Box<dyn Read + 'a>, u64),
}

/// Makes the body, once for every attempt.
pub(super) type MakePayload<'a, 'b> =
    &'a mut dyn FnMut() -> Result<Payload<'b>>;

/// Where TLS is not demanded, a port speaks either HTTP or TLS. Asked in
/// HTTP, a TLS server says 400 or hangs up at once; asked the other way
/// round, an HTTP server may wait for the end of a line that never comes.
fn choose_scheme(
    agent: &Agent,
    endpoint: &Endpoint,
    cancel: &Cancel,
) -> Result<&'static str> {
    match endpoint.scheme {
        Scheme::Https => return Ok("https"),
        Scheme::Http => return Ok("http"),
        Scheme::Insecure => {}
    }
    let Endpoint { host, prefix, .. } = endpoint;
    let request = agent.get(format!("http://{host}{prefix}/v2/"));
    match cancel.unless_asked(move || request.call())? {
        Ok(answer) if answer.status() == 400 => Ok("https"),
        Ok(_) => Ok("http"),
        Err(e) if nobody_there(&e) => Err(unreachable(host, &e).into()),
        Err(_) => Ok("https"),
    }
}

/// Whether another attempt could help. When the name does not resolve or
/// nobody listens it could, but rarely does, and a machine without network
/// would wait for nothing.
fn may_pass(error: &HttpError) -> bool {
    match error {
        HttpError::Io(_) | HttpError::Timeout(_) => {
            !nobody_there(error) && bad_certificate(error).is_none()
        }
        HttpError::ConnectionFailed | HttpError::Protocol(_) => true,
        _ => false,
    }
}

/// What is wrong with a server's certificate.
fn bad_certificate(error: &HttpError) -> Option<String> {
    match tls_error(error)? {
        TlsError::InvalidCertificate(why) => Some(why.to_string()),
        _ => None,
    }
}

/// Its first bytes are no record of TLS.
fn answers_in_the_clear(error: &HttpError) -> bool {
    let no_record = InvalidMessage::InvalidContentType;
    tls_error(error) == Some(&TlsError::InvalidMessage(no_record))
}

/// The handshake is part of the first write, so its error comes inside of one
/// of I/O.
fn tls_error(error: &HttpError) -> Option<&TlsError> {
    match error {
        HttpError::Rustls(error) => Some(error),
        HttpError::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// Not slow or broken, but absent: it makes no sense to ask again, nor to ask
/// in another scheme.
fn nobody_there(error: &HttpError) -> bool {
    match error {
        _ if no_such_name(error) => true,
        HttpError::Timeout(Timeout::Connect | Timeout::Resolve) => true,
        HttpError::Io(e) => matches!(
            e.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::NotFound
        ),
        _ => false,
    }
}

/// getaddrinfo(3) has errors of its own, which std knows only as text.
fn no_such_name(error: &HttpError) -> bool {
    match error {
        HttpError::HostNotFound => true,
        HttpError::Io(e) => e.to_string().contains("failed to lookup address"),
        _ => false,
    }
}

/// Says which of the usual causes it is, and the way out of each.
fn unreachable(host: &str, error: &HttpError) -> RegistryError {
    let problem = match error {
        e if no_such_name(e) => "its name does not resolve (no network, or \
             no name server in /etc/resolv.conf)"
            .to_owned(),
        HttpError::Io(e) if e.kind() == ErrorKind::ConnectionRefused => {
            "connection refused: nothing listens there".to_owned()
        }
        HttpError::Timeout(_) => "no answer in time; is a firewall or a \
             proxy (HTTPS_PROXY) in the way?"
            .to_owned(),
        other => match bad_certificate(other) {
            // What `openssl req -x509` makes when it is told nothing else.
            Some(why) if why.contains("CaUsedAsEndEntity") => {
                "its certificate is that of an authority (CA:TRUE), which \
                 vouches for servers but is none: make it with `openssl req \
                 … -addext basicConstraints=critical,CA:FALSE`, or name the \
                 registry with --insecure-registry"
                    .to_owned()
            }
            Some(why) => format!(
                "its certificate is not trusted ({why}); for a private \
                 authority set SSL_CERT_FILE or put it in \
                 /etc/docker/certs.d/{host}/ca.crt, for a registry without \
                 one name it with --insecure-registry"
            ),
            None if answers_in_the_clear(other) => "it does not speak TLS; a \
                 registry with plain HTTP has to be named with \
                 --insecure-registry"
                .to_owned(),
            None => other.to_string(),
        },
    };
    RegistryError::Unreachable { host: host.to_owned(), problem }
}

/// Seconds or a date (RFC 9110, 10.2.3).
fn retry_after(answer: &Response<Body>) -> Option<Duration> {
    let text = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let wait = then.duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_registry_without_tls_is_told_from_a_broken_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 512]).unwrap();
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        let error = ureq::get(format!("https://{at}/v2/")).call().unwrap_err();
        server.join().unwrap();
        let told = unreachable("lan:5000", &error).to_string();
        assert!(told.contains("--insecure-registry"), "{told}");
    }
}
