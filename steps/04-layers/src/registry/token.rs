//! The 401 dance: a refused request names a token server, which gives a
//! token to whoever is allowed to have it, and the request is made again.
//!
//! ```text
//! we ──GET /v2/library/nginx/manifests/latest──────────────▶ registry
//!    ◀─401 WWW-Authenticate: Bearer realm="https://auth…"─── registry
//! we ──GET https://auth…?service=…&scope=repository:…:pull─▶ token server
//!    ◀─{"token": "eyJ…", "expires_in": 300}──────────────── token server
//! we ──GET … Authorization: Bearer eyJ…────────────────────▶ registry
//!    ◀─200────────────────────────────────────────────────── registry
//! ```
//!
//! Even for a public image: the token then says "anybody may". It is good
//! for one repository and some minutes; a pull that takes longer dances
//! again in the middle. Smaller registries ask for Basic instead.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::cancel::Cancel;
use super::challenge::Challenge;
use super::credentials::Auth;
use super::error::{RegistryError, detail};

/// Tokens live a minute unless the server says otherwise (Docker's token
/// specification).
const LIFE: u64 = 60;
/// Who we are to a token server that keeps a list.
const CLIENT: &str = "skiff";
/// So long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(5);

/// What we send as `Authorization`, kept between requests.
#[derive(Debug)]
pub(super) struct Pass {
    /// Name and password, or a refresh token; without, we ask as nobody.
    auth: Option<Auth>,
    /// E.g. `repository:library/nginx:pull`.
    scope: String,
    /// Held while a new one is fetched: of four threads that meet a 401
    /// together, one asks and three get its token.
    current: Mutex<Option<Header>>,
    lasting: Mutex<Lasting>,
}

/// An identity token: what a login gets of some token servers, to be kept in
/// place of the password.
#[derive(Debug, Default)]
enum Lasting {
    /// For one pull, one that passes is enough.
    #[default]
    NotWanted,
    Wanted,
    Got(String),
}

/// Who asks for a token, and for which registry.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) agent: &'a Agent,
    /// The token server may be another host, which may keep silent too.
    pub(super) cancel: &'a Cancel,
    pub(super) host: &'a str,
}

/// An `Authorization` header.
#[derive(Debug, Clone)]
struct Header {
    value: String,
    /// When it expires, if it does.
    until: Option<Instant>,
}

/// What a token server says.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: String,
}

impl Header {
    /// Some servers say `token`, some `access_token`, some both.
    fn from_answer(answer: Answer) -> Result<Header, &'static str> {
        let token = match answer.token.is_empty() {
            true => answer.access_token,
            false => answer.token,
        };
        if token.is_empty() {
            return Err("has no token in it");
        }
        let life = Duration::from_secs(answer.expires_in.unwrap_or(LIFE));
        // One that is used up at once would make us ask for ever.
        let until = Instant::now().checked_add(life.max(2 * MARGIN));
        Ok(Header { value: format!("Bearer {token}"), until })
    }
}

impl Pass {
    /// Nothing is sent before it is asked for: most images are public, and a
    /// password is best kept at home.
    pub(super) fn new(auth: Option<Auth>, scope: String) -> Pass {
        let bearer = auth.as_ref().filter(|a| !a.registrytoken.is_empty());
        let current = bearer.map(|auth| Header {
            value: format!("Bearer {}", auth.registrytoken),
            until: None,
        });
        let (current, lasting) = (Mutex::new(current), Mutex::default());
        Pass { auth, scope, current, lasting }
    }

    /// As a login does: asks for an identity token as well.
    pub(super) fn want_lasting(&self) {
        *lock(&self.lasting) = Lasting::Wanted;
    }

    /// That token, if the server gives such.
    pub(super) fn lasting(&self) -> Option<String> {
        match &*lock(&self.lasting) {
            Lasting::Got(token) => Some(token.clone()),
            Lasting::NotWanted | Lasting::Wanted => None,
        }
    }

    /// The header to send now, if there is one.
    pub(super) fn header(&self) -> Option<String> {
        let current = lock(&self.current);
        let header = current.as_ref()?;
        let good = |until: Instant| Instant::now() + MARGIN < until;
        header.until.is_none_or(good).then(|| header.value.clone())
    }

    /// Whether anybody has named credentials for this registry.
    pub(super) fn has_credentials(&self) -> bool {
        self.auth.is_some()
    }

    /// Answers a 401. `sent` is the header that was refused; when another
    /// thread has got a newer one meanwhile, that is taken.
    pub(super) fn renew(
        &self,
        asker: Asker<'_>,
        challenge: Option<Challenge>,
        sent: Option<&str>,
    ) -> Result<(), RegistryError> {
        let mut current = lock(&self.current);
        let known = current.as_ref().map(|header| header.value.as_str());
        if known.is_some() && known != sent {
            return Ok(());
        }
        let refuse = |detail: &str| RegistryError::Unauthorized {
            host: asker.host.to_owned(),
            detail: detail.to_owned(),
        };
        let header = match challenge {
            None => return Err(refuse("it asks for no login that is known")),
            Some(Challenge::Basic) => {
                let basic = self.auth.as_ref().and_then(Auth::basic);
                let value = basic.ok_or_else(|| {
                    refuse(
                        "authentication required (no basic auth credentials)",
                    )
                })?;
                if Some(value.as_str()) == sent {
                    return Err(refuse("incorrect username or password"));
                }
                Header { value, until: None }
            }
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scope = scope.unwrap_or_else(|| self.scope.clone());
                let service = service.unwrap_or_default();
                self.fetch(asker, &realm, &service, &scope)?
            }
        };
        *current = Some(header);
        Ok(())
    }

    /// Gets a token from the server that the challenge names.
    fn fetch(
        &self,
        asker: Asker<'_>,
        realm: &str,
        service: &str,
        scope: &str,
    ) -> Result<Header, RegistryError> {
        let asked = self.ask(asker, realm, service, scope);
        let host = asker.host;
        let unreachable = |problem: String| RegistryError::Unreachable {
            host: host.to_owned(),
            problem: format!("its token server {realm}: {problem}"),
        };
        let mut answer = asked.map_err(|e| unreachable(e.to_string()))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().read_to_vec();
        let body = body.map_err(|e| unreachable(e.to_string()))?;
        if status != 200 {
            return Err(self.refusal(host, status, &body));
        }
        let protocol = |problem: &str| RegistryError::Protocol {
            url: realm.to_owned(),
            problem: format!("the token server's answer {problem}"),
        };
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| protocol("is no JSON"))?;
        let mut lasting = lock(&self.lasting);
        if matches!(*lasting, Lasting::Wanted)
            && !answer.refresh_token.is_empty()
        {
            *lasting = Lasting::Got(answer.refresh_token.clone());
        }
        Header::from_answer(answer).map_err(protocol)
    }

    /// With a refresh token the OAuth2 way, else Docker's older one: a GET,
    /// with name and password if there are any. Without, the token is for
    /// what everybody may have.
    fn ask(
        &self,
        asker: Asker<'_>,
        realm: &str,
        service: &str,
        scope: &str,
    ) -> Result<Response<Body>, ureq::Error> {
        let Asker { agent, cancel, .. } = asker;
        // Once it is cancelled, nobody is told how this ended.
        let settle = |asked: crate::Result<_>| {
            asked.unwrap_or(Err(ureq::Error::ConnectionFailed))
        };
        let refresh = self.auth.as_ref().map(|a| a.identitytoken.as_str());
        if let Some(refresh) = refresh.filter(|token| !token.is_empty()) {
            let request = agent.post(realm);
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh),
                ("service", service),
                ("client_id", CLIENT),
                ("scope", scope),
            ]
            .map(|(name, value)| (name, value.to_owned()));
            return settle(
                cancel.unless_asked(move || request.send_form(form)),
            );
        }
        // Several scopes are several parameters, not one with spaces.
        let scopes = scope.split(' ').map(|scope| ("scope", scope));
        let mut request =
            agent.get(realm).query("service", service).query_pairs(scopes);
        if matches!(*lock(&self.lasting), Lasting::Wanted) {
            request = request.query("offline_token", "true");
            request = request.query("client_id", CLIENT);
        }
        if let Some(basic) = self.auth.as_ref().and_then(Auth::basic) {
            request = request.header("Authorization", basic);
        }
        settle(cancel.unless_asked(move || request.call()))
    }

    /// 401 has two meanings: with credentials they are wrong, without them
    /// there should be some.
    fn refusal(&self, host: &str, status: u16, body: &[u8]) -> RegistryError {
        let host = host.to_owned();
        let detail = match (status, self.has_credentials()) {
            (401, true) => "incorrect username or password".to_owned(),
            _ => detail(body, status),
        };
        match status {
            429 => RegistryError::TooManyRequests { host, detail },
            _ => RegistryError::Unauthorized { host, detail },
        }
    }
}

/// A thread that panicked here left nothing half-done.
fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
