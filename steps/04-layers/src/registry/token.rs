//! The 401 dance: a refused request names a token server, which gives a
//! token to whoever is allowed to have it, and the request is made again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::Agent;

use super::challenge::Challenge;
use super::credentials::Auth;
use super::error::{RegistryError, detail};

/// Tokens live a minute unless the server says otherwise (Docker's token
/// specification).
const LIFE: u64 = 60;
/// So long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(5);

/// What we send as `Authorization`, kept between requests.
#[derive(Debug)]
pub(super) struct Pass {
    auth: Option<Auth>,
    /// E.g. `repository:library/nginx:pull`.
    scope: String,
    current: Mutex<Option<Header>>,
}

#[derive(Debug, Clone)]
struct Header {
    value: String,
    until: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

impl Pass {
    pub(super) fn new(auth: Option<Auth>, scope: String) -> Pass {
        let bearer = auth.as_ref().filter(|a| !a.registrytoken.is_empty());
        let current = bearer.map(|auth| Header {
            value: format!("Bearer {}", auth.registrytoken),
            until: None,
        });
        Pass { auth, scope, current: Mutex::new(current) }
    }

    /// The header to send now, if there is one.
    pub(super) fn header(&self) -> Option<String> {
        let current = self.lock();
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
        agent: &Agent,
        host: &str,
        challenge: Option<Challenge>,
        sent: Option<&str>,
    ) -> Result<(), RegistryError> {
        let mut current = self.lock();
        let known = current.as_ref().map(|header| header.value.as_str());
        if known.is_some() && known != sent {
            return Ok(());
        }
        let refuse = |detail: &str| RegistryError::Unauthorized {
            host: host.to_owned(),
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
                self.fetch(agent, host, &realm, service, &scope)?
            }
        };
        *current = Some(header);
        Ok(())
    }

    fn fetch(
        &self,
        agent: &Agent,
        host: &str,
        realm: &str,
        service: Option<String>,
        scope: &str,
    ) -> Result<Header, RegistryError> {
        let service = service.unwrap_or_default();
        let asked = match &self.auth {
            Some(auth) if !auth.identitytoken.is_empty() => {
                agent.post(realm).send_form([
                    ("grant_type", "refresh_token"),
                    ("refresh_token", auth.identitytoken.as_str()),
                    ("service", service.as_str()),
                    ("client_id", "skiff"),
                    ("scope", scope),
                ])
            }
            auth => {
                let mut request = agent
                    .get(realm)
                    .query("service", service)
                    .query_pairs(scope.split(' ').map(|s| ("scope", s)));
                let basic = auth.as_ref().and_then(Auth::basic);
                if let Some(basic) = basic {
                    request = request.header("Authorization", basic);
                }
                request.call()
            }
        };
        let unreachable = |problem: String| RegistryError::Unreachable {
            host: host.to_owned(),
            problem: format!("its token server {realm}: {problem}"),
        };
        let mut answer = asked.map_err(|e| unreachable(e.to_string()))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().read_to_vec();
        let body = body.map_err(|e| unreachable(e.to_string()))?;
        if status == 429 {
            let host = host.to_owned();
            let detail = detail(&body, status);
            return Err(RegistryError::TooManyRequests { host, detail });
        }
        if status != 200 {
            let detail = match (status, self.has_credentials()) {
                (401, true) => "incorrect username or password".to_owned(),
                _ => detail(&body, status),
            };
            let host = host.to_owned();
            return Err(RegistryError::Unauthorized { host, detail });
        }
        let protocol = |problem: &str| RegistryError::Protocol {
            url: realm.to_owned(),
            problem: problem.to_owned(),
        };
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| protocol("the token server's answer is no JSON"))?;
        let token = match answer.token.is_empty() {
            true => answer.access_token,
            false => answer.token,
        };
        if token.is_empty() {
            return Err(protocol("the token server's answer has no token"));
        }
        let life = Duration::from_secs(answer.expires_in.unwrap_or(LIFE));
        Ok(Header {
            value: format!("Bearer {token}"),
            until: Instant::now().checked_add(life.max(2 * MARGIN)),
        })
    }

    /// A thread that panicked here left nothing half-done.
    fn lock(&self) -> MutexGuard<'_, Option<Header>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
