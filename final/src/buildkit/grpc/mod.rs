//! gRPC over connections that were HTTP/1 before.
//!
//! tonic frames the messages and carries how a call ends. What it does not
//! bring is the way there: it dials or listens, and here the connection has
//! been hijacked from a request, so hyper's HTTP/2 goes below it. The same
//! kind of connection serves both ways: on `/grpc` the client asks
//! ([`server`]), on `/session` the daemon does ([`client`]).

pub(super) mod client;
pub(super) mod server;

use std::fmt::Display;
use std::io;
use std::time::Duration;

use prost::Message;
pub(super) use tonic::{Code, Status};

use super::wire::RpcStatus;

/// A client that has vanished without a word, a laptop that was closed, shall
/// not keep its build: it is asked this often whether it is there,
const PING: Duration = Duration::from_secs(10);
/// and has so long to say that it is.
const PATIENCE: Duration = Duration::from_secs(30);

/// As much as BuildKit's own servers and clients take in one message.
const LARGEST: usize = 16 << 20;

/// What went wrong and has no code of its own: clients then show the text
/// alone.
pub(super) fn unknown(cause: impl Display) -> Status {
    Status::unknown(cause.to_string())
}

/// A call's failure while something is read or written through it.
pub(super) fn failed(status: &Status) -> io::Error {
    io::Error::other(status.message().to_owned())
}

impl From<RpcStatus> for Status {
    fn from(status: RpcStatus) -> Status {
        let details = status.encode_to_vec().into();
        let code = Code::from_i32(status.code);
        Status::with_details(code, status.message, details)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderMap;

    use super::client::Channel;
    use super::server::{Answer, Call, Service, serve};
    use super::*;
    use crate::buildkit::wire::Timestamp;
    use crate::buildkit::wire::session::BytesMessage;

    /// Says everything twice, and then that it is out of breath.
    struct Echo;

    impl Service for Echo {
        async fn answer(&self, call: Call) -> Answer {
            let many = async |said: BytesMessage| {
                let end = Status::cancelled("out of breath, à bout");
                let all = [Ok(said.clone()), Ok(said), Err(end)];
                Ok(futures_util::stream::iter(all))
            };
            match call.path() {
                "/test/Twice" => call.many(many).await,
                path => Status::not_found(path).into_http(),
            }
        }
    }

    async fn connected() -> Channel {
        let (here, there) = tokio::io::duplex(1 << 16);
        tokio::spawn(serve(here, Arc::new(Echo)));
        let (channel, connection) = Channel::open(there).await.unwrap();
        tokio::spawn(connection);
        channel
    }

    #[tokio::test]
    async fn a_talk_ends_with_what_the_other_side_says_last() {
        let channel = connected().await;
        let call = channel.call("/test/Twice", HeaderMap::new());
        let (outbox, mut inbox) = call.await.unwrap();
        let data = bytes::Bytes::from_static(b"x");
        outbox.send(BytesMessage { data: data.clone() }).await.unwrap();
        drop(outbox);
        for _ in 0..2 {
            assert_eq!(inbox.next().await.unwrap().unwrap().data, data);
        }
        let end = inbox.next().await.unwrap_err();
        assert_eq!(end.code(), Code::Cancelled);
        assert_eq!(end.message(), "out of breath, à bout");
    }

    #[tokio::test]
    async fn an_answer_without_a_message_tells_why() {
        let question = Timestamp::default();
        let answer = connected().await.ask("/test/No", question).await;
        let answer: Result<Timestamp, Status> = answer;
        assert_eq!(answer.unwrap_err().code(), Code::NotFound);
    }
}
