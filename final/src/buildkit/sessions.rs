//! `POST /session`: clients that stand ready to be asked for files,
//! passwords and secrets while a build of theirs goes on.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use layers::Store;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use super::agents::Agents;
use super::files::Peer;
use super::grpc::client::{Channel, Inbox};
use super::grpc::{Code, Status, unknown};
use super::wire::Nothing;
use super::wire::session as wire;

/// A client says which session its build belongs to before, at the same time
/// or after it has opened it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client that can be asked.
#[derive(Debug, Clone)]
pub struct Session {
    channel: Channel,
    /// In lower case, as Docker compares them.
    methods: Arc<HashSet<String>>,
    runtime: Handle,
}

/// All that are open, by the names that they gave themselves.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<BTreeMap<String, Session>>,
    changed: Notify,
}

/// What a client says when it opens a session.
#[derive(Debug)]
pub struct Introduction {
    id: String,
    methods: HashSet<String>,
}

impl Introduction {
    /// From the request's headers.
    ///
    /// # Errors
    /// In words, if it has no name.
    pub fn read(headers: &HeaderMap) -> Result<Introduction, String> {
        let text = |it: &HeaderValue| it.to_str().ok().map(str::to_owned);
        let id = headers.get("x-docker-expose-session-uuid").and_then(text);
        let methods =
            headers.get_all("x-docker-expose-session-grpc-method").iter();
        let methods = methods.filter_map(text);
        Ok(Introduction {
            id: id.filter(|it| !it.is_empty()).ok_or(
                "a session without a name: the header \
                 X-Docker-Expose-Session-Uuid is missing",
            )?,
            methods: methods.map(|it| it.to_lowercase()).collect(),
        })
    }
}

impl Sessions {
    /// Keeps a session until its client closes it.
    ///
    /// # Errors
    /// In words, if there is one of this name, or no HTTP/2 behind it.
    pub async fn keep(
        &self,
        introduction: Introduction,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(), String> {
        let Introduction { id, methods } = introduction;
        let (channel, connection) =
            Channel::open(io).await.map_err(|it| it.to_string())?;
        let session = Session {
            channel,
            methods: Arc::new(methods),
            runtime: Handle::current(),
        };
        let _place = self.enter(id, session)?;
        connection.await.map_err(|it| it.to_string())
    }

    fn enter(&self, id: String, session: Session) -> Result<Place<'_>, String> {
        let mut open = self.lock();
        if open.contains_key(&id) {
            return Err(format!("session {id} already exists"));
        }
        open.insert(id.clone(), session);
        drop(open);
        self.changed.notify_waiters();
        Ok(Place { sessions: self, id })
    }

    /// The session of this name, perhaps a moment later. A part before a
    /// colon is the client's affair.
    pub(super) async fn find(&self, id: &str) -> Result<Session, Status> {
        let id = id.split_once(':').map_or(id, |(_, rest)| rest);
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if let Some(session) = self.lock().get(id) {
                    return session.clone();
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.map_err(|_| {
            let text = format!("no active session for {id}");
            Status::new(Code::NotFound, text)
        })
    }

    /// Whole at any moment, whoever panicked.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropped, the session is no longer found.
struct Place<'a> {
    sessions: &'a Sessions,
    id: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.id);
    }
}

/// A directory of the client's and what of it is wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// By its name on the client: `context`, `dockerfile`.
    pub(super) dir: String,
    /// These paths alone, and what links in them lead to.
    pub(super) follow: Vec<String>,
    /// Not these, as in `.dockerignore`.
    pub(super) exclude: Vec<String>,
}

/// To be asked from threads that may block.
impl Session {
    /// Whether the client said that it can answer this.
    pub(super) fn answers(&self, method: &str) -> bool {
        self.methods.contains(&method.to_lowercase())
    }

    /// Opens a directory.
    pub(super) fn files(
        &self,
        wanted: &Wanted,
    ) -> Result<Talk<wire::Packet>, Status> {
        const METHOD: &str = "/moby.filesync.v1.FileSync/DiffCopy";
        if !self.answers(METHOD) {
            let text = "the client's session offers no directories";
            return Err(unknown(text));
        }
        let mut headers = HeaderMap::new();
        let dir = [wanted.dir.clone()];
        for (name, values) in [
            ("dir-name", dir.as_slice()),
            ("followpaths", &wanted.follow),
            ("exclude-patterns", &wanted.exclude),
        ] {
            add(&mut headers, name, values)?;
        }
        self.talk(METHOD, headers)
    }

    /// What is uploaded under this path: a tar from a pipe.
    pub(super) fn upload(
        &self,
        path: &str,
    ) -> Result<Talk<wire::BytesMessage>, Status> {
        let mut headers = HeaderMap::new();
        add(&mut headers, "urlpath", &[path.to_owned()])?;
        add(&mut headers, "urlhost", &["buildkit-session".to_owned()])?;
        self.talk("/moby.upload.v1.Upload/Pull", headers)
    }

    /// The account at a registry, if the client has one.
    pub(super) fn credentials(
        &self,
        host: &str,
    ) -> Result<Option<(String, String)>, Status> {
        const METHOD: &str = "/moby.filesync.v1.Auth/Credentials";
        if !self.answers(METHOD) {
            return Ok(None);
        }
        let host = host.to_owned();
        let question = wire::CredentialsRequest { host };
        let found: wire::CredentialsResponse = self.ask(METHOD, question)?;
        let has = !(found.username.is_empty() && found.secret.is_empty());
        Ok(has.then_some((found.username, found.secret)))
    }

    /// A secret, if the client has it.
    pub(super) fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, Status> {
        const METHOD: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
        if !self.answers(METHOD) {
            return Ok(None);
        }
        let question = wire::GetSecretRequest { id: id.to_owned() };
        match self.ask(METHOD, question) {
            Ok(wire::GetSecretResponse { data }) => Ok(Some(data)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Sockets for those of the agents that the client has.
    pub(super) fn agents(
        &self,
        store: &Store,
        ids: &[String],
    ) -> Result<Agents, Status> {
        let has = |id: &&String| {
            let question = wire::CheckAgentRequest { id: id.to_string() };
            let path = "/moby.sshforward.v1.SSH/CheckAgent";
            self.answers(path) && self.ask::<_, Nothing>(path, question).is_ok()
        };
        let ids: Vec<String> = ids.iter().filter(has).cloned().collect();
        let _runtime = self.runtime.enter();
        Agents::open(store, &self.channel, &ids)
    }

    /// Asks a question that has one answer.
    fn ask<Q, A>(&self, method: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.runtime.block_on(self.channel.ask(method, question))
    }

    /// Begins a talk.
    pub(super) fn talk<M: Message + Default + 'static>(
        &self,
        method: &'static str,
        headers: HeaderMap,
    ) -> Result<Talk<M>, Status> {
        let call = self.channel.call(method, headers);
        let (outbox, inbox) = self.runtime.block_on(call)?;
        let (outbox, runtime) = (Some(outbox), self.runtime.clone());
        Ok(Talk { outbox, inbox, runtime })
    }
}

/// A call in which both sides talk.
#[derive(Debug)]
pub(super) struct Talk<M> {
    /// Until the daemon has said all that it wants to.
    outbox: Option<mpsc::Sender<M>>,
    inbox: Inbox<M>,
    runtime: Handle,
}

impl<M> Talk<M> {
    /// Says something.
    pub(super) fn say(&self, message: M) -> Result<(), Status> {
        let Some(outbox) = &self.outbox else {
            return Err(unknown("nothing may be said any more"));
        };
        let sent = self.runtime.block_on(outbox.send(message));
        sent.map_err(|_| unknown("the client takes no more messages"))
    }

    /// Waits for what the client says; `None` if it has said all.
    pub(super) fn hear(&mut self) -> Result<Option<M>, Status> {
        self.runtime.block_on(self.inbox.next())
    }

    /// Nothing more will be said.
    pub(super) fn close(&mut self) {
        self.outbox = None;
    }
}

impl Peer for Talk<wire::Packet> {
    fn send(&mut self, packet: wire::Packet) -> Result<(), Status> {
        self.say(packet)
    }

    fn receive(&mut self) -> Result<Option<wire::Packet>, Status> {
        self.hear()
    }
}

/// Values beyond ASCII are escaped as in a query, and so are all of that
/// name; a header beside it says so.
fn add(
    headers: &mut HeaderMap,
    name: &'static str,
    values: &[String],
) -> Result<(), Status> {
    let plain = |it: &String| it.bytes().all(|b| matches!(b, b' '..=b'~'));
    let escape = !values.iter().all(plain);
    for value in values {
        let text = match escape {
            true => query_escaped(value),
            false => value.clone(),
        };
        let text = HeaderValue::try_from(text).map_err(unknown)?;
        headers.append(name, text);
    }
    if escape {
        let name = HeaderName::try_from(format!("{name}-encoded"));
        let name = name.map_err(unknown)?;
        headers.insert(name, HeaderValue::from_static("1"));
    }
    Ok(())
}

/// As Go's `url.QueryEscape`.
fn query_escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9'
            | b'A'..=b'Z'
            | b'a'..=b'z'
            | b'-'
            | b'_'
            | b'.'
            | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
