//! The forwarder: carries connections to containers where the kernel's
//! rewriting cannot.
//!
//! That is from `::1` (IPv6 has no route_localnet), from IPv6 to a
//! container that has only IPv4, and everything on a kernel without
//! nf_tables. What it costs: each byte is copied, and the container sees
//! the host as the client's address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::Error;
use super::ports::Held;

/// After this long without a datagram a UDP client is forgotten, as the
/// kernel forgets the untracked half of a conversation.
const UDP_IDLE: Duration = Duration::from_secs(90);

/// A running forwarder; dropping it closes the port.
#[derive(Debug)]
pub(crate) struct Forwarder {
    task: JoinHandle<()>,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forwarder {
    /// Serves a held port until dropped.
    pub(crate) fn start(
        runtime: &Handle,
        held: Held,
        to: SocketAddr,
    ) -> Result<Forwarder, Error> {
        let _entered = runtime.enter();
        let failed = Error::io("watch the socket of a published port", "");
        let Held { published, socket } = held;
        let task = if published.udp {
            let socket = UdpSocket::from_std(socket.into()).map_err(failed)?;
            runtime.spawn(udp(socket, to))
        } else {
            let socket =
                TcpListener::from_std(socket.into()).map_err(failed)?;
            runtime.spawn(tcp(socket, to))
        };
        Ok(Forwarder { task })
    }

    /// Stops and waits until the socket is closed, so that the port can be
    /// had again at once. Not to be called from an async task.
    pub(crate) fn stop(mut self, runtime: &Handle) {
        self.task.abort();
        let _ = runtime.block_on(&mut self.task);
    }
}

async fn tcp(listener: TcpListener, to: SocketAddr) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors: wait for some to be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        tokio::spawn(carry(client, to));
    }
}

/// Copies both ways until both sides have closed. If the container refuses,
/// the client sees its connection closed.
async fn carry(mut client: TcpStream, to: SocketAddr) {
    let Ok(mut container) = TcpStream::connect(to).await else { return };
    let _ = client.set_nodelay(true);
    let _ = container.set_nodelay(true);
    let _ = tokio::io::copy_bidirectional(&mut client, &mut container).await;
}

/// Each client gets a socket of its own towards the container, so that the
/// answers find back. All is one task: when it ends, no socket is left.
async fn udp(listener: UdpSocket, to: SocketAddr) {
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answering = FuturesUnordered::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (length, client) = tokio::select! {
            got = listener.recv_from(&mut buffer) => match got {
                Ok(got) => got,
                Err(_) => continue,
            },
            Some(idle) = answering.next() => {
                clients.remove(&idle);
                continue;
            }
        };
        let socket = match clients.get(&client) {
            Some(socket) => Arc::clone(socket),
            None => {
                let Ok(socket) = towards(to).await else { continue };
                let socket = Arc::new(socket);
                clients.insert(client, Arc::clone(&socket));
                let answers = Arc::clone(&socket);
                answering.push(answer(&listener, answers, client));
                socket
            }
        };
        let _ = socket.send(&buffer[..length]).await;
    }
}

async fn towards(to: SocketAddr) -> std::io::Result<UdpSocket> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// Carries a container's answers to one client until that is idle.
async fn answer(
    listener: &UdpSocket,
    answers: Arc<UdpSocket>,
    client: SocketAddr,
) -> SocketAddr {
    let mut buffer = vec![0; 1 << 16];
    // An error says that the container's port is closed now (ECONNREFUSED),
    // which may change: only idleness ends this.
    while let Ok(got) =
        tokio::time::timeout(UDP_IDLE, answers.recv(&mut buffer)).await
    {
        if let Ok(length) = got {
            let _ = listener.send_to(&buffer[..length], client).await;
        }
    }
    client
}
