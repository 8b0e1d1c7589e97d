//! Attached to a container: through a WebSocket, with detach keys, and too
//! slow to take what it writes.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::AttachContainerOptionsBuilder;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::daemon::{Daemon, sh};

/// A shell line that is read from standard input, too.
fn interactive(line: &str, tty: bool) -> ContainerCreateBody {
    ContainerCreateBody { open_stdin: Some(true), tty: Some(tty), ..sh(line) }
}

async fn socket(
    daemon: &Daemon,
    name: &str,
    query: &str,
) -> WebSocketStream<UnixStream> {
    let stream = UnixStream::connect(daemon.socket()).await.unwrap();
    let url = format!(
        "ws://localhost/v1.44/containers/{name}/attach/ws?stream=1&stdin=1\
         &stdout=1&stderr=1{query}"
    );
    tokio_tungstenite::client_async(url, stream).await.unwrap().0
}

/// All output until the end.
pub(super) async fn read<S>(socket: &mut WebSocketStream<S>) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut all = Vec::new();
    while let Some(message) = socket.next().await {
        match message.unwrap() {
            Message::Close(_) => break,
            other => all.extend_from_slice(&other.into_data()),
        }
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_carries_both_directions() {
    let test = "a_websocket_carries_both_directions";
    let Some(daemon) = Daemon::start(test).await else { return };
    // Neither frames nor echo: both streams are one, without a terminal.
    let line = "read name; echo hi $name; echo bye >&2";
    daemon.create("aa", interactive(line, false)).await;
    let mut socket = socket(&daemon, "aa", "").await;
    daemon.docker.start_container("aa", None).await.unwrap();
    socket.send(Message::text("you\n")).await.unwrap();
    let mut said = read(&mut socket).await;
    // They come from two pipes, so in either order.
    assert!(said.contains("bye\n"), "{said}");
    said = said.replace("bye\n", "");
    assert_eq!(said, "hi you\n");
    // What was written before is in the log.
    let mut again = self::socket(&daemon, "aa", "&logs=1").await;
    let first = again.next().await.unwrap().unwrap().into_data();
    assert!(!first.is_empty());
    drop(again);
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn detach_keys_leave_through_a_websocket_and_the_container_goes_on() {
    let test = "detach_keys_leave_through_a_websocket";
    let Some(daemon) = Daemon::start(test).await else { return };
    daemon.run("aa", interactive("cat", true)).await;
    let mut socket = socket(&daemon, "aa", "&detachKeys=ctrl-x,q").await;
    socket.send(Message::binary(vec![24, b'q'])).await.unwrap();
    read(&mut socket).await;
    assert_eq!(daemon.status("aa").await, "running");
    daemon.remove("aa").await;
}

/// As `docker run … | less`: with Docker the container waits in its write(2)
/// for as long as it takes, and somebody else's kill is obeyed.
#[tokio::test(flavor = "multi_thread")]
async fn an_attacher_that_takes_nothing_holds_its_container_until_it_is_gone() {
    let test = "an_attacher_that_takes_nothing";
    let Some(daemon) = Daemon::start(test).await else { return };
    const MIB: usize = 24;
    let line =
        format!("dd if=/dev/zero bs=1048576 count={MIB} 2>/dev/null; echo end");
    let attach = async |name: &str, line: &str| {
        daemon.create(name, sh(line)).await;
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdout(true)
            .build();
        let attached = daemon.docker.attach_container(name, Some(options));
        let attached = attached.await.unwrap();
        daemon.docker.start_container(name, None).await.unwrap();
        attached
    };
    let waits = attach("waits", &line).await;
    let killed = attach("killed", "exec yes").await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(daemon.status("waits").await, "running");
    daemon.docker.kill_container("killed", None).await.unwrap();
    assert_eq!(daemon.wait("killed").await, 137);
    drop((waits, killed));
    assert_eq!(daemon.wait("waits").await, 0);
    let all = daemon.logs("waits").await;
    assert_eq!(all.len(), (MIB << 20) + "end\n".len());
    daemon.remove("waits").await;
    daemon.remove("killed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_follows_the_size_that_it_is_told() {
    let test = "a_terminal_follows_the_size_that_it_is_told";
    let Some(daemon) = Daemon::start(test).await else { return };
    daemon.run("aa", interactive("read x; stty size", true)).await;
    let options = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdin(true)
        .stdout(true)
        .build();
    let mut attached =
        daemon.docker.attach_container("aa", Some(options)).await.unwrap();
    let size =
        bollard::query_parameters::ResizeContainerTTYOptions { h: 33, w: 111 };
    daemon.docker.resize_container_tty("aa", size).await.unwrap();
    use tokio::io::AsyncWriteExt;
    attached.input.write_all(b"\n").await.unwrap();
    let said: Vec<LogOutput> =
        attached.output.map(Result::unwrap).collect().await;
    let said: String = said.iter().map(ToString::to_string).collect();
    assert!(said.contains("33 111"), "{said:?}");
    daemon.remove("aa").await;
}
