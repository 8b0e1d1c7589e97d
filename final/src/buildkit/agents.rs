//! `--ssh`: sockets here whose other end is the client's agent.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use layers::Store;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::grpc::client::Channel;
use super::grpc::{Status, unknown};
use super::wire::session::BytesMessage;

/// How much of what an agent says is sent at once.
const PIECE: usize = 32 << 10;

/// The sockets by the agents' ids; they go with the value.
#[derive(Debug)]
pub(super) struct Agents {
    pub(super) sockets: BTreeMap<String, PathBuf>,
    _room: TempDir,
    listeners: Vec<JoinHandle<()>>,
}

impl Drop for Agents {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
    }
}

impl Agents {
    /// Opens a socket for each. To be called within a runtime.
    pub(super) fn open(
        store: &Store,
        channel: &Channel,
        ids: &[String],
    ) -> Result<Agents, Status> {
        let failed = |cause: io::Error| {
            unknown(format!("cannot make an agent's socket: {cause}"))
        };
        let room = tempfile::tempdir_in(store.scratch()).map_err(failed)?;
        let (mut sockets, mut listeners) = (BTreeMap::new(), Vec::new());
        for (number, id) in ids.iter().enumerate() {
            // A socket's path has room for 107 bytes (unix(7)).
            let path = room.path().join(number.to_string());
            let listener = UnixListener::bind(&path).map_err(failed)?;
            let work = listen(listener, channel.clone(), id.clone());
            listeners.push(tokio::spawn(work));
            sockets.insert(id.clone(), path);
        }
        Ok(Agents { sockets, _room: room, listeners })
    }
}

/// Every connection is a talk of its own with the agent.
async fn listen(listener: UnixListener, channel: Channel, id: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let (channel, id) = (channel.clone(), id.clone());
        tokio::spawn(async move {
            if let Err(error) = forward(stream, &channel, &id).await {
                tracing::debug!("agent {id}: {error}");
            }
        });
    }
}

async fn forward(
    mut stream: UnixStream,
    channel: &Channel,
    id: &str,
) -> Result<(), Status> {
    let mut headers = http::HeaderMap::new();
    let id = http::HeaderValue::try_from(id).map_err(unknown)?;
    headers.insert("buildkit.ssh.id", id);
    let path = "/moby.sshforward.v1.SSH/ForwardAgent";
    let (outbox, mut inbox) = channel.call(path, headers).await?;
    let (mut read, mut write) = stream.split();
    let there = async {
        let mut buffer = vec![0; PIECE];
        loop {
            let length = read.read(&mut buffer).await.map_err(unknown)?;
            if length == 0 {
                drop(outbox);
                return Ok(());
            }
            let data = Bytes::copy_from_slice(&buffer[..length]);
            outbox.send(BytesMessage { data }).await.map_err(unknown)?;
        }
    };
    let back = async {
        while let Some(BytesMessage { data }) = inbox.next().await? {
            write.write_all(&data).await.map_err(unknown)?;
        }
        write.shutdown().await.map_err(unknown)
    };
    let both: (Result<(), Status>, Result<(), Status>) =
        tokio::join!(there, back);
    both.0.and(both.1)
}
