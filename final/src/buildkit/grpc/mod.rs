//! gRPC, as much of it as BuildKit's clients speak: HTTP/2 requests whose
//! bodies are messages, each behind five bytes (a flag and a length), and
//! whose outcome stands in the trailers ("gRPC over HTTP2", PROTOCOL-HTTP2).
//!
//! hyper does HTTP/2 and prost the messages; what is left is below. The same
//! connection type serves both ways: on `/grpc` the client asks
//! ([`server`]), on `/session` the daemon does ([`client`]).

pub(super) mod client;
pub(super) mod server;

use std::convert::Infallible;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use prost::Message;

/// What goes out, in either direction.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// As much as BuildKit's own servers and clients take in one message.
const LARGEST: usize = 16 << 20;
/// The flag that says whether a message is compressed, and its length.
const PREFIX: usize = 5;

/// The codes of gRPC that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    NotFound = 5,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

impl Code {
    fn from_number(number: i32) -> Code {
        use Code::*;
        [
            Ok,
            Cancelled,
            InvalidArgument,
            NotFound,
            Unimplemented,
            Internal,
            Unavailable,
        ]
        .into_iter()
        .find(|it| *it as i32 == number)
        .unwrap_or(Unknown)
    }
}

/// Why a call has failed.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) code: Code,
    pub(super) message: String,
    /// `google.rpc.Status.details`.
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

impl Status {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Status {
        Status { code, message: message.into(), details: Vec::new() }
    }

    /// What went wrong and has no code of its own: clients then show the
    /// text alone.
    pub(super) fn unknown(message: impl fmt::Display) -> Status {
        Status::new(Code::Unknown, message.to_string())
    }

    fn broken(cause: impl fmt::Display) -> Status {
        let text = format!("the connection to the client broke: {cause}");
        Status::new(Code::Unavailable, text)
    }

    /// As trailers, or as the headers of an answer without a body.
    fn to_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from(self.code as i32));
        if self.code == Code::Ok {
            return headers;
        }
        let text = HeaderValue::try_from(percent_encoded(&self.message));
        if let Ok(text) = text {
            headers.insert("grpc-message", text);
        }
        if self.details.is_empty() {
            return headers;
        }
        let rpc = RpcStatus::from(self.clone()).encode_to_vec();
        let rpc = HeaderValue::try_from(STANDARD_NO_PAD.encode(rpc));
        if let Ok(rpc) = rpc {
            headers.insert("grpc-status-details-bin", rpc);
        }
        headers
    }

    /// An answer's outcome; one that says nothing was cut off.
    fn check(headers: &HeaderMap) -> Result<(), Status> {
        let text =
            |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
        let Some(number) = text("grpc-status").and_then(|it| it.parse().ok())
        else {
            return Err(Status::broken("an answer without an outcome"));
        };
        match Code::from_number(number) {
            Code::Ok => Ok(()),
            code => {
                let message = text("grpc-message").unwrap_or_default();
                Err(Status::new(code, percent_decoded(message)))
            }
        }
    }
}

impl From<Status> for RpcStatus {
    fn from(status: Status) -> RpcStatus {
        let Status { code, message, details } = status;
        RpcStatus { code: code as i32, message, details }
    }
}

impl From<RpcStatus> for Status {
    fn from(status: RpcStatus) -> Status {
        let RpcStatus { code, message, details } = status;
        Status { code: Code::from_number(code), message, details }
    }
}

/// `grpc-message` is ASCII without control characters; the rest is escaped.
fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'%' => out.push_str("%25"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What is no escape stands for itself.
fn percent_decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let byte = hex.and_then(|it| u8::from_str_radix(it, 16).ok());
        (rest, _) = match (first, byte) {
            (b'%', Some(byte)) => (&tail[2..], out.push(byte)),
            (byte, _) => (tail, out.push(*byte)),
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A message as it stands in a body.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes.freeze()
}

/// The messages of a body, one after the other.
pub(super) struct Inbox {
    source: Source,
    buffer: Frames,
}

/// Where messages come from.
enum Source {
    /// A request, which has no trailers: its end is its end.
    Request(Incoming),
    /// An answer that has not begun. A client may want to hear something
    /// before it does.
    Awaited(BoxFuture<'static, hyper::Result<Response<Incoming>>>),
    /// An answer, whose trailers say whether it is whole.
    Answer(Incoming),
}

impl Inbox {
    fn of(source: Source) -> Inbox {
        Inbox { source, buffer: Frames::default() }
    }

    /// The body, once there is one.
    async fn body(&mut self) -> Result<&mut Incoming, Status> {
        if let Source::Awaited(answer) = &mut self.source {
            let (head, body) =
                answer.await.map_err(Status::broken)?.into_parts();
            if !head.status.is_success() {
                let text = format!("it answers {}", head.status);
                return Err(Status::broken(text));
            }
            // An answer without a body has its outcome here.
            if head.headers.contains_key("grpc-status") {
                Status::check(&head.headers)?;
            }
            self.source = Source::Answer(body);
        }
        match &mut self.source {
            Source::Request(body) | Source::Answer(body) => Ok(body),
            Source::Awaited(_) => Err(Status::broken("it has no body")),
        }
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// What the other side has ended with, or a broken connection.
    pub(super) async fn next<M: Message + Default>(
        &mut self,
    ) -> Result<Option<M>, Status> {
        loop {
            if let Some(bytes) = self.buffer.next()? {
                return M::decode(bytes).map(Some).map_err(|error| {
                    let text = format!("a message does not decode: {error}");
                    Status::new(Code::InvalidArgument, text)
                });
            }
            let frame = self.body().await?.frame().await;
            match frame {
                None if matches!(self.source, Source::Request(_)) => {
                    return Ok(None);
                }
                None => return Err(Status::broken("an answer was cut off")),
                Some(Err(error)) => return Err(Status::broken(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.push(&data),
                    Err(frame) => {
                        let trailers = frame.into_trailers();
                        let trailers = trailers.unwrap_or_default();
                        return Status::check(&trailers).map(|()| None);
                    }
                },
            }
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

/// Cuts a body into messages.
#[derive(Debug, Default)]
struct Frames(BytesMut);

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next message, if all of it is here.
    fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let Some((flag, mut length)) = self.0.split_first() else {
            return Ok(None);
        };
        if length.remaining() < PREFIX - 1 {
            return Ok(None);
        }
        if *flag != 0 {
            let text = "compressed messages are not supported";
            return Err(Status::new(Code::Unimplemented, text));
        }
        let length = length.get_u32() as usize;
        if length > LARGEST {
            let text = format!(
                "a message of {length} bytes is too long: {LARGEST} is the \
                 limit"
            );
            return Err(Status::new(Code::InvalidArgument, text));
        }
        if self.0.len() < PREFIX + length {
            return Ok(None);
        }
        self.0.advance(PREFIX);
        Ok(Some(self.0.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_too_long_or_compressed_is_refused() {
        let next = |bytes: &[u8]| {
            let mut frames = Frames::default();
            frames.push(bytes);
            frames.next()
        };
        assert!(next(&[0, 0xff, 0, 0, 0]).is_err());
        assert!(next(&[1, 0, 0, 0, 0]).is_err());
        assert!(next(&[0, 0, 0]).unwrap().is_none());
    }

    #[test]
    fn an_outcome_that_is_missing_is_a_broken_connection() {
        let mut headers = HeaderMap::new();
        let missing = Status::check(&headers).unwrap_err();
        assert_eq!(missing.code, Code::Unavailable);
        headers.insert("grpc-status", HeaderValue::from(5));
        assert_eq!(Status::check(&headers).unwrap_err().code, Code::NotFound);
    }

    proptest! {
        #[test]
        fn messages_come_whole_however_the_body_is_cut(
            texts in prop::collection::vec("\\PC{0,40}", 0..6),
            cut in 1_usize..20,
        ) {
            let message = |text: &String| {
                let (type_url, value) = (text.clone(), Vec::new());
                Any { type_url, value }
            };
            let body: Vec<u8> = texts
                .iter()
                .flat_map(|text| framed(&message(text)).to_vec())
                .collect();
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in body.chunks(cut) {
                frames.push(piece);
                while let Some(bytes) = frames.next().unwrap() {
                    found.push(Any::decode(bytes).unwrap().type_url);
                }
            }
            prop_assert_eq!(found, texts);
        }

        #[test]
        fn a_text_survives_the_trip_through_a_header(text in "\\PC*|\\n") {
            let sent = Status::new(Code::NotFound, text.clone());
            let got = Status::check(&sent.to_headers()).unwrap_err();
            prop_assert_eq!(got.message, text);
        }

        #[test]
        fn nonsense_in_a_header_is_no_panic(text in "[%0-9a-zé]*") {
            percent_decoded(&text);
        }
    }
}
