//! `attach` for programs in a browser, which cannot take over a connection:
//! the same streams as messages of a WebSocket.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use cli_api::frames::Decoder;
use cli_api::server::Params;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::attach::refuse_frozen;
use super::{Result, blocking, flag};
use crate::engine::Engine;
use crate::engine::containers::attach::Attached;
use crate::engine::events::Attributes;
use crate::shim::protocol::Attach;

/// `GET /containers/NAME/attach/ws`
pub async fn attach(
    State(engine): State<Arc<Engine>>,
    Path(name): Path<String>,
    Params(query): Params<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Result<Response> {
    let container = engine.containers.find(&name)?;
    refuse_frozen(container.status(), &container.id)?;
    let is = |key: &str| flag(query.get(key).map(String::as_str));
    let (tty, opens) =
        container.with(|record| (record.config.tty, record.config.open_stdin));
    let streams = Attach {
        stdin: is("stdin") && opens,
        stdout: is("stdout"),
        stderr: is("stderr"),
    };
    engine.tell(&container, "attach", Attributes::new());
    let attached = blocking(move || container.attach(streams)).await?;
    Ok(upgrade.on_upgrade(async move |socket| {
        let stream = match attached {
            Attached::Now(stream) => Ok(stream),
            Attached::Later(stream) => stream.await,
        };
        if let Ok(stream) = stream
            && stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = UnixStream::from_std(stream)
        {
            pump(socket, stream, streams.stdin, tty).await;
        }
    }))
}

/// Copies in both directions until one side ends.
async fn pump(
    mut socket: WebSocket,
    mut process: UnixStream,
    stdin: bool,
    tty: bool,
) {
    let (mut output, mut input) = process.split();
    let mut piece = vec![0; 32 << 10];
    let mut frames = Decoder::default();
    loop {
        tokio::select! {
            message = socket.recv() => {
                let typed = match message {
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Text(text))) => Bytes::from(text),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                };
                if stdin && input.write_all(&typed).await.is_err() {
                    return;
                }
            }
            read = output.read(&mut piece) => {
                let Ok(length @ 1..) = read else { break };
                let piece = &piece[..length];
                if !send(&mut socket, &mut frames, piece, tty).await {
                    return;
                }
            }
        }
    }
    let _ = socket.send(Message::Close(None)).await;
}

/// A message has no room for the name of a stream, so the frames come off
/// and both streams are one, as in Docker.
async fn send(
    socket: &mut WebSocket,
    frames: &mut Decoder,
    piece: &[u8],
    tty: bool,
) -> bool {
    if tty {
        let bytes = Bytes::copy_from_slice(piece);
        return socket.send(Message::Binary(bytes)).await.is_ok();
    }
    frames.push(piece);
    while let Ok(Some((_, bytes))) = frames.next_piece() {
        if socket.send(Message::Binary(bytes)).await.is_err() {
            return false;
        }
    }
    true
}
