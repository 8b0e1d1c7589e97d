//! A container's streams at the user's terminal.

use std::io::Write;

use cli_api::client::{Input, Output, Tunnel};
use cli_api::frames::{Decoder, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use super::context::Context;
use super::query::Query;
use super::terminal::{self, DetachKeys, Raw};

/// What is connected to what.
#[derive(Debug)]
pub(crate) struct Wiring {
    /// Pass our input on.
    pub(crate) stdin: bool,
    /// Wait for the end of its output, and not only of our input.
    pub(crate) shown: bool,
    /// The process has a terminal: bytes are not framed.
    pub(crate) tty: bool,
    /// The keys that detach.
    pub(crate) keys: DetachKeys,
    /// `/containers/ID/resize` or `/exec/ID/resize`.
    pub(crate) resize: String,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The process closed its output.
    Output,
    /// Our input has ended, and there is no output to wait for.
    Input,
    /// The user pressed the detach keys.
    Detached,
}

/// Shows output and passes input on until the output ends or the user
/// detaches. Keeps the terminal's size in step.
pub(crate) async fn connect(
    context: &Context,
    tunnel: Tunnel,
    wiring: Wiring,
) -> anyhow::Result<End> {
    let _raw = (wiring.tty && wiring.stdin).then(Raw::enter);
    let resizing = wiring
        .tty
        .then(|| tokio::spawn(follow_size(context.clone(), wiring.resize)));
    let Tunnel { output, input } = tunnel;
    let (stdin, tty, keys) = (wiring.stdin, wiring.tty, wiring.keys);
    let show = async {
        match tty {
            true => show_raw(output).await,
            false => show_frames(output).await,
        }
    };
    let send = async {
        let end = match stdin {
            true => send_input(input, tty.then_some(keys)).await,
            // Half-closing now would tell the engine to close the input of
            // others who are attached; keep our half open instead.
            false => Ok((Some(input), End::Output)),
        };
        match end {
            Ok((_, End::Detached)) => End::Detached,
            Ok((_, _)) if stdin && !wiring.shown => End::Input,
            // Input is over, output may go on: wait for the other branch.
            Ok((_open, _)) => std::future::pending().await,
            Err(_) => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        shown = show => shown.map(|()| End::Output),
        end = send => Ok(end),
    };
    if let Some(task) = resizing {
        task.abort();
    }
    end
}

async fn show_raw(mut output: Output) -> anyhow::Result<()> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        let length = output.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        write(Stream::Stdout, &buffer[..length])?;
    }
}

async fn show_frames(mut output: Output) -> anyhow::Result<()> {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let length = output.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        decoder.push(&buffer[..length]);
        while let Some((stream, data)) = decoder.next_piece()? {
            write(stream, &data)?;
        }
    }
}

/// Writes output where it belongs, at once.
///
/// # Errors
/// If our own output is closed, or for a message of the daemon.
pub(crate) fn write(stream: Stream, data: &[u8]) -> anyhow::Result<()> {
    match stream {
        Stream::Stderr => std::io::stderr().write_all(data)?,
        Stream::System => anyhow::bail!(
            "error from daemon in stream: {}",
            String::from_utf8_lossy(data)
        ),
        Stream::Stdin | Stream::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(data)?;
            out.flush()?;
        }
    }
    Ok(())
}

/// Copies our input; with a terminal, looks for the detach keys. Gives the
/// closed input back at the end of a file.
async fn send_input(
    mut input: Input,
    mut keys: Option<DetachKeys>,
) -> std::io::Result<(Option<Input>, End)> {
    let mut typed = read_stdin();
    while let Some(bytes) = typed.recv().await {
        let (bytes, detach) = match &mut keys {
            Some(keys) => keys.filter(&bytes),
            None => (bytes, false),
        };
        input.write_all(&bytes).await?;
        input.flush().await?;
        if detach {
            return Ok((Some(input), End::Detached));
        }
    }
    input.shutdown().await?;
    Ok((Some(input), End::Output))
}

/// Reads standard input on a thread of its own: a read(2) from a terminal
/// cannot be given up, and the program must be able to end during one.
pub(crate) fn read_stdin() -> tokio::sync::mpsc::Receiver<Vec<u8>> {
    let (send, receive) = tokio::sync::mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 << 10];
        let mut input = std::io::stdin().lock();
        while let Ok(length @ 1..) =
            std::io::Read::read(&mut input, &mut buffer)
        {
            if send.blocking_send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receive
}

/// Tells the engine the size of our terminal, now and whenever it changes.
async fn follow_size(context: Context, path: String) {
    let Ok(mut changed) = signal(SignalKind::window_change()) else { return };
    // The process may not have its terminal yet when we begin.
    let mut patience = 10;
    loop {
        if let Some((rows, columns)) = terminal::size() {
            let query = Query::new(&path)
                .with("h", rows.to_string())
                .with("w", columns.to_string());
            let done = context.client.command(&query.build()).await;
            if done.is_err() && patience > 0 {
                patience -= 1;
                let pause = std::time::Duration::from_millis(20);
                tokio::time::sleep(pause).await;
                continue;
            }
        }
        if changed.recv().await.is_none() {
            return;
        }
    }
}
