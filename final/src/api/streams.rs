//! Long answers and large uploads: from blocking code to HTTP and back.
//!
//! The engine reads and writes with the blocking traits of std. Channels of
//! a few pieces connect that to the asynchronous bodies, so that a slow
//! client slows the work down instead of filling the memory.

use std::io::{self, Read, Write};
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf, Bytes};
use cli_api::server::ApiError;
use futures_util::StreamExt;
use futures_util::stream;
use http::{StatusCode, header};
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::engine::progress::Progress;
use crate::engine::{Engine, Error};

/// How many pieces may lie between the two sides.
const QUEUE: usize = 16;

/// Reads a body that nobody wants to its end. A client that is still sending
/// when the connection closes sees a broken pipe, and not our answer.
pub(super) async fn drain(body: Body) {
    let mut pieces = body.into_data_stream();
    while let Some(Ok(_)) = pieces.next().await {}
}

/// How a long verb ends.
type Done = Result<(), Error>;

/// Runs a verb that tells how it goes, a line of JSON at a time.
///
/// The status of the answer is open until the first line: a failure before
/// it is an ordinary error, one after it a last line.
pub(super) async fn lines(
    engine: Arc<Engine>,
    work: impl FnOnce(&Arc<Engine>, &Progress) -> Done + Send + 'static,
) -> Result<Response, ApiError> {
    let (progress, mut lines) = Progress::channel();
    let job = tokio::task::spawn_blocking(move || {
        let result = work(&engine, &progress);
        if let (Err(error), true) = (&result, progress.began()) {
            progress.error(&error.to_string(), None);
        }
        result
    });
    let Some(first) = lines.recv().await else {
        match job.await {
            Ok(Ok(())) => return Ok(json_lines(Body::empty())),
            Ok(Err(error)) => return Err(error.into()),
            Err(panic) => return Err(ApiError::internal(panic)),
        }
    };
    let first = stream::once(async { Ok::<_, io::Error>(first) });
    let rest = stream::unfold(lines, |mut lines| async {
        Some((Ok(lines.recv().await?), lines))
    });
    Ok(json_lines(Body::from_stream(first.chain(rest))))
}

/// An answer of lines of JSON.
pub(super) fn json_lines(body: Body) -> Response {
    with_type(body, "application/json")
}

fn with_type(body: Body, kind: &'static str) -> Response {
    let mut response = Response::new(body);
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The body of a request for blocking code.
pub(super) fn upload(body: Body) -> impl Read + Send + 'static {
    let (send, pieces) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut body = body.into_data_stream();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(io::Error::other);
            if send.send(piece).await.is_err() {
                // The work has failed; see `drain`.
                while let Some(Ok(_)) = body.next().await {}
            }
        }
    });
    Upload { pieces, piece: Bytes::new() }
}

struct Upload {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Runs a verb that writes a tar. As with [`lines`], a failure before the
/// first byte is an ordinary error; a later one breaks the connection, for a
/// tar that ends too early could be taken for a whole one.
pub(super) async fn download(
    engine: Arc<Engine>,
    work: impl FnOnce(&Arc<Engine>, &mut dyn Write) -> Done + Send + 'static,
) -> Result<Response, ApiError> {
    let (send, mut pieces) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
    let job = tokio::task::spawn_blocking(move || {
        let mut out = Download { pieces: send.clone(), began: false };
        let mut buffered = io::BufWriter::with_capacity(1 << 16, &mut out);
        let result = work(&engine, &mut buffered)
            .and_then(|()| buffered.flush().map_err(Error::internal));
        drop(buffered);
        match result {
            Err(error) if out.began => {
                let broken = io::Error::other(error.to_string());
                let _ = send.blocking_send(Err(broken));
                Ok(())
            }
            other => other,
        }
    });
    let Some(first) = pieces.recv().await else {
        return match job.await {
            Ok(Ok(())) => Ok(with_type(Body::empty(), "application/x-tar")),
            Ok(Err(error)) => Err(error.into()),
            Err(panic) => Err(ApiError::internal(panic)),
        };
    };
    let first = stream::once(async { first });
    let rest = stream::unfold(pieces, |mut pieces| async {
        Some((pieces.recv().await?, pieces))
    });
    let body = Body::from_stream(first.chain(rest));
    Ok(with_type(body, "application/x-tar"))
}

struct Download {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    began: bool,
}

impl Write for Download {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.began = true;
        let piece = Ok(Bytes::copy_from_slice(bytes));
        match self.pieces.blocking_send(piece) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the client has gone away",
            )),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The parameters behind `?` where some may come several times.
#[derive(Debug, Default)]
pub(super) struct Query(pub(super) Vec<(String, String)>);

impl Query {
    /// The first value, or the empty string.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// All values.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let found = self.0.iter().filter(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).collect()
    }

    /// All values, and every line of each: some clients repeat the parameter
    /// and others send one with line breaks in it.
    pub(super) fn lines(&self, name: &str) -> Vec<String> {
        let all = self.all(name);
        let lines = all.iter().flat_map(|text| text.lines());
        let lines = lines.filter(|line| !line.trim().is_empty());
        lines.map(str::to_owned).collect()
    }

    /// Docker's idea of true: anything but these words.
    pub(super) fn flag(&self, name: &str) -> bool {
        super::flag(Some(self.get(name)))
    }

    /// The same for what is true unless said otherwise.
    pub(super) fn flag_or(&self, name: &str, default: bool) -> bool {
        if self.get(name).is_empty() { default } else { self.flag(name) }
    }

    /// `SOURCE_DATE_EPOCH` of our own client, in seconds since 1970.
    ///
    /// # Errors
    /// 400 for what is no such number.
    pub(super) fn epoch(&self) -> Result<Option<Timestamp>, ApiError> {
        let seconds = seconds(self.get("sourcedateepoch"))?;
        let seconds = seconds.and_then(|it| i64::try_from(it).ok());
        Ok(seconds.and_then(|it| Timestamp::from_second(it).ok()))
    }

    /// A value in JSON; absent, empty and `null` (an empty list in Go) mean
    /// the default.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub(super) fn json<T>(&self, name: &str) -> Result<T, ApiError>
    where
        T: serde::de::DeserializeOwned + Default,
    {
        match self.get(name) {
            "" | "null" => Ok(T::default()),
            text => serde_json::from_str(text).map_err(|error| {
                ApiError::new(
                    StatusCode::BAD_REQUEST,
                    format!("invalid parameter {name}: {error}"),
                )
            }),
        }
    }
}

/// A value of `SOURCE_DATE_EPOCH`; empty means none, as with BuildKit.
///
/// # Errors
/// 400 for what is no such number, or farther away than dates go.
pub(super) fn seconds(text: &str) -> Result<Option<u64>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let date = |it: &u64| {
        i64::try_from(*it).is_ok_and(|it| Timestamp::from_second(it).is_ok())
    };
    text.parse().ok().filter(date).map(Some).ok_or_else(|| {
        ApiError::bad_request(format!(
            "invalid SOURCE_DATE_EPOCH: {text}: it must be a number of \
             seconds since 1970"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_false_are_dockers() {
        let query = Query(vec![
            ("a".into(), "1".into()),
            ("b".into(), "False".into()),
            ("c".into(), "0".into()),
            ("d".into(), String::new()),
        ]);
        assert!(query.flag("a") && query.flag_or("z", true));
        assert!(!query.flag("b") && !query.flag("c") && !query.flag("d"));
        assert!(!query.flag_or("c", true));
    }

    #[test]
    fn an_upload_arrives_in_order_whatever_the_pieces() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let pieces = ["a", "", "bcd", "e"].map(Ok::<_, io::Error>);
        let body = Body::from_stream(stream::iter(pieces));
        let mut reader = runtime.block_on(async { upload(body) });
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcde");
    }
}
