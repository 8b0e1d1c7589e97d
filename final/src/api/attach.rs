//! `docker attach` and `run`: a client's connection becomes the process's
//! streams.

use std::collections::HashMap;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use axum::extract::{Extension, Path, Request, State};
use axum::response::Response;
use cli_api::server::{
    ApiError, ApiVersion, Hijacked, Params, Pending, hijack,
};
use http::StatusCode;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::detach::DetachKeys;
use super::follow::stream_type;
use super::{Result, blocking, flag};
use crate::engine::containers::Container;
use crate::engine::containers::attach::Attached;
use crate::engine::containers::state::Status;
use crate::engine::events::Attributes;
use crate::engine::{Engine, Error};
use crate::shim::protocol::Attach;

type Engined = State<Arc<Engine>>;
type Map = HashMap<String, String>;

/// `POST /containers/NAME/attach`
pub async fn attach(
    State(engine): Engined,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    Params(query): Params<Map>,
    mut request: Request,
) -> Result<Response> {
    let container = engine.containers.find(&name)?;
    let plan = Plan::make(&engine, &container, &query).await?;
    let content = stream_type(plan.tty, version);
    let (response, pending) = hijack(&mut request, content);
    engine.tell(&container, "attach", Attributes::new());
    tokio::spawn(async move {
        if matches!(plan.run(pending).await, Ok(true)) {
            engine.tell(&container, "detach", Attributes::new());
        }
    });
    Ok(response)
}

fn refuse_frozen(status: Status, id: &str) -> Result<()> {
    let text = match status {
        Status::Paused => format!(
            "container {id} is paused, unpause the container before attach"
        ),
        Status::Restarting => format!(
            "container {id} is restarting, wait until the container is \
             running"
        ),
        _ => return Ok(()),
    };
    Err(Error::Conflict(text).into())
}

/// `?logs=1`: what was written before, as the stream has it.
async fn log_so_far(
    engine: &Arc<Engine>,
    id: &str,
    query: &Map,
) -> Result<Vec<u8>> {
    let mut wanted = super::follow::log_query(query)?;
    wanted.follow = false;
    let (engine, id) = (engine.clone(), id.to_owned());
    blocking(move || {
        let log = engine.log(&id, &wanted)?;
        let mut all = Vec::new();
        let tty = log.tty;
        log.read(&mut |entry| {
            let text = entry.log.as_bytes();
            if tty {
                all.extend_from_slice(text);
            } else {
                all.extend(cli_api::frames::encode(entry.stream, text));
            }
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(all)
    })
    .await
}

/// What goes over one connection.
pub(super) struct Plan {
    pub(super) tty: bool,
    pub(super) stdin: bool,
    pub(super) keys: Option<DetachKeys>,
    pub(super) history: Option<Vec<u8>>,
    live: Option<Attached>,
}

impl Plan {
    /// What the query asks for, and the process's streams.
    pub(super) async fn make(
        engine: &Arc<Engine>,
        container: &Arc<Container>,
        query: &Map,
    ) -> Result<Plan> {
        refuse_frozen(container.status(), &container.id)?;
        let is = |key: &str| flag(query.get(key).map(String::as_str));
        let keys = query.get("detachKeys").map_or("", String::as_str);
        let (tty, opens) = container
            .with(|record| (record.config.tty, record.config.open_stdin));
        let keys = match keys {
            "" if !tty => None,
            keys => Some(DetachKeys::parse(keys)?),
        };
        let streams = Attach {
            stdin: is("stdin") && opens,
            stdout: is("stdout"),
            stderr: is("stderr"),
        };
        let history = match is("logs") {
            true => Some(log_so_far(engine, &container.id, query).await?),
            false => None,
        };
        let live = match is("stream") {
            true => {
                let container = container.clone();
                Some(blocking(move || container.attach(streams)).await?)
            }
            false => None,
        };
        Ok(Plan { tty, stdin: streams.stdin, keys, history, live })
    }

    /// The process's streams, as soon as there is a process.
    pub(super) async fn process(&mut self) -> Option<StdStream> {
        match self.live.take()? {
            Attached::Now(stream) => Some(stream),
            Attached::Later(stream) => stream.await.ok(),
        }
    }

    /// Runs until one side ends; true if the client typed its detach keys.
    async fn run(mut self, pending: Pending) -> Result<bool> {
        let mut client = pending.ready().await?;
        if let Some(history) = &self.history {
            client.write_all(history).await.map_err(ApiError::internal)?;
        }
        let Some(process) = self.process().await else {
            let _ = client.shutdown().await;
            return Ok(false);
        };
        pump(client, process, self.stdin, self.keys, AS_IT_COMES).await
    }
}

/// Copies in both directions until the process's output ends or the client
/// detaches; true in the latter case.
pub(super) async fn pump(
    client: Hijacked,
    process: StdStream,
    stdin: bool,
    keys: Option<DetachKeys>,
    dress: Dress,
) -> Result<bool> {
    process.set_nonblocking(true).map_err(ApiError::internal)?;
    let process = UnixStream::from_std(process).map_err(ApiError::internal)?;
    let (output, input) = process.into_split();
    let two_way = client.two_way();
    let (from_client, mut to_client) = tokio::io::split(client);
    let typed = async {
        if stdin && two_way {
            copy_input(from_client, input, keys).await
        } else {
            wait_for_hang_up(from_client, input, two_way).await
        }
    };
    // Whatever ends first ends both: the process is over, the client is
    // gone, or it has typed its detach keys.
    let detached = tokio::select! {
        () = copy_output(output, &mut to_client, dress) => false,
        detached = typed => detached,
    };
    let _ = to_client.shutdown().await;
    Ok(detached)
}

/// What becomes of a piece of output on its way to the client.
pub(super) type Dress = fn(&[u8]) -> Vec<u8>;

/// Nothing: the shim has put it into frames, or a terminal has none.
pub(super) const AS_IT_COMES: Dress = <[u8]>::to_vec;

async fn copy_output(
    mut from: OwnedReadHalf,
    to: &mut WriteHalf<Hijacked>,
    dress: Dress,
) {
    let mut piece = vec![0; 32 << 10];
    loop {
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => {
                if to.write_all(&dress(&piece[..length])).await.is_err()
                    || to.flush().await.is_err()
                {
                    return;
                }
            }
        }
    }
}

/// Passes on what is typed. Does not return at the end of input: the
/// process's output goes on.
async fn copy_input(
    mut from: ReadHalf<Hijacked>,
    mut to: OwnedWriteHalf,
    mut keys: Option<DetachKeys>,
) -> bool {
    let mut piece = vec![0; 32 << 10];
    loop {
        let length = match from.read(&mut piece).await {
            Ok(0) => break,
            Ok(length) => length,
            // The connection is broken, not closed: nobody is there.
            Err(_) => return false,
        };
        let typed = match &mut keys {
            None => piece[..length].to_vec(),
            Some(keys) => match keys.filter(&piece[..length]) {
                Some(typed) => typed,
                None => return true,
            },
        };
        if to.write_all(&typed).await.is_err() {
            break;
        }
    }
    // Half of the connection: the other half still brings output.
    let _ = to.shutdown().await;
    std::future::pending().await
}

/// Without input, a client's closed half means nothing; only a broken
/// connection does.
async fn wait_for_hang_up(
    mut from: ReadHalf<Hijacked>,
    _keep_open: OwnedWriteHalf,
    two_way: bool,
) -> bool {
    let mut piece = [0; 512];
    if two_way {
        loop {
            match from.read(&mut piece).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
    std::future::pending().await
}

/// `?h=30&w=100`: lines, and characters a line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Size {
    h: String,
    w: String,
}

impl Size {
    /// In numbers: rows, columns.
    ///
    /// # Errors
    /// 400 in Docker's words.
    pub fn parse(&self) -> Result<[u16; 2]> {
        let number = |what: &str, text: &str| {
            text.parse().map_err(|_| {
                let range = text.parse::<u64>().is_ok();
                let why =
                    if range { "value out of range" } else { "invalid syntax" };
                let text = format!("invalid resize {what} {text:?}: {why}");
                Error::Invalid(text)
            })
        };
        Ok([number("height", &self.h)?, number("width", &self.w)?])
    }
}

/// `POST /containers/NAME/resize`
pub async fn resize(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(size): Params<Size>,
) -> Result<StatusCode> {
    let size = size.parse()?;
    blocking(move || engine.resize(&name, size)).await?;
    Ok(StatusCode::OK)
}
