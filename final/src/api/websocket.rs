//! `attach` for programs in a browser, which cannot take over a connection:
//! the same streams as messages of a WebSocket.

use std::collections::HashMap;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use cli_api::frames::Decoder;
use cli_api::server::Params;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::Result;
use super::attach::Plan;
use crate::engine::Engine;
use crate::engine::events::Attributes;

/// `GET /containers/NAME/attach/ws`
pub async fn attach(
    State(engine): State<Arc<Engine>>,
    Path(name): Path<String>,
    Params(mut query): Params<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Result<Response> {
    let container = engine.containers.find(&name)?;
    // There is nothing else that one could want here.
    query.insert("stream".to_owned(), "1".to_owned());
    let plan = Plan::make(&engine, &container, &query).await?;
    engine.tell(&container, "attach", Attributes::new());
    Ok(upgrade.on_upgrade(async move |socket| {
        if pump(socket, plan).await == End::Detached {
            engine.tell(&container, "detach", Attributes::new());
        }
    }))
}

/// Why a connection is over.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The process has ended, or the client has gone.
    Closed,
    /// The client has typed its detach keys.
    Detached,
}

/// Copies in both directions until one side ends.
async fn pump(mut socket: WebSocket, mut plan: Plan) -> End {
    let mut frames = Decoder::default();
    if let Some(history) = &plan.history
        && !send(&mut socket, &mut frames, history, plan.tty).await
    {
        return End::Closed;
    }
    let end = match plan.process().await {
        Some(process) => exchange(&mut socket, process, &mut plan).await,
        None => End::Closed,
    };
    let _ = socket.send(Message::Close(None)).await;
    end
}

async fn exchange(
    socket: &mut WebSocket,
    process: StdStream,
    plan: &mut Plan,
) -> End {
    let process =
        process.set_nonblocking(true).and_then(|()| process.try_into());
    let Ok::<UnixStream, _>(mut process) = process else { return End::Closed };
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
                    Some(Ok(Message::Close(_)) | Err(_)) | None => {
                        return End::Closed;
                    }
                };
                let typed = match &mut plan.keys {
                    None => typed.to_vec(),
                    Some(keys) => match keys.filter(&typed) {
                        Some(typed) => typed,
                        None => return End::Detached,
                    },
                };
                if plan.stdin && input.write_all(&typed).await.is_err() {
                    return End::Closed;
                }
            }
            read = output.read(&mut piece) => {
                let Ok(length @ 1..) = read else { return End::Closed };
                let piece = &piece[..length];
                if !send(socket, &mut frames, piece, plan.tty).await {
                    return End::Closed;
                }
            }
        }
    }
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
