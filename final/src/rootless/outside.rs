//! One thread that stays in the host's network, to open ports there.
//!
//! The network namespace is a property of the thread: this one is started
//! before all others move into the engine's. A socket belongs for ever to
//! the namespace that it was opened in, whoever uses it then.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Sender, channel};

use rustix::io::Errno;

use crate::network;

type Bound = Result<(OwnedFd, u16), Errno>;

/// The thread's address.
#[derive(Debug)]
pub(super) struct Outside {
    orders: Sender<Order>,
}

#[derive(Debug)]
struct Order {
    host: IpAddr,
    port: u16,
    udp: bool,
    answer: Sender<Bound>,
}

impl Outside {
    /// Starts the thread in the network namespace that the caller is in.
    pub(super) fn start() -> std::io::Result<Outside> {
        let (orders, inbox) = channel::<Order>();
        std::thread::Builder::new().name("skiff-outside".into()).spawn(
            move || {
                for order in inbox {
                    let Order { host, port, udp, answer } = order;
                    let _ = answer.send(network::bind(host, port, udp));
                }
            },
        )?;
        Ok(Outside { orders })
    }

    /// Opens a port there.
    pub(super) fn bind(&self, host: IpAddr, port: u16, udp: bool) -> Bound {
        let (answer, bound) = channel();
        let order = Order { host, port, udp, answer };
        self.orders.send(order).map_err(|_| Errno::SRCH)?;
        bound.recv().map_err(|_| Errno::SRCH)?
    }
}
