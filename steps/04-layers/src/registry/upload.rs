//! An upload that goes on where it broke.
//!
//! ```text
//! POST  /v2/app/blobs/uploads/                  I have a blob for you: where?
//!   ◀ 202 Location: …/UUID?_state=…
//! PATCH …/UUID   Content-Range: 0-67108863      the first piece
//!   ◀ 202 Location: …/UUID?…  Range: 0-67108863 so far have I got it
//! GET   …/UUID                                  the line broke: how far is it?
//!   ◀ 204 Range: 0-23068671
//! PUT   …/UUID?digest=sha256:ddd…               that was all; keep it
//! ```
//!
//! The registry moves the address with every answer: some keep in it what
//! they know of the upload.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use ureq::Body;
use ureq::http::{Response, header};

use super::RegistryError;
use super::client::{Ask, Client, Payload, Verdict, joined, location};
use crate::error::{Error, Result, io_at};
use crate::manifest::Descriptor;

/// Says whether the registry has a blob in this repository.
pub(super) fn is_there(client: &Client, blob: &Descriptor) -> Result<bool> {
    let path = format!("/blobs/{}", blob.digest);
    let ask = Ask { method: "HEAD", path: &path, headers: &[] };
    Ok(client.ask(ask)?.status().is_success())
}

/// Asks for a blob of another repository on the same registry. `false` when
/// it is not there or not for us: that is no error, it is then sent.
pub(super) fn mount(
    client: &Client,
    blob: &Descriptor,
    from: &str,
) -> Result<bool> {
    let path = format!("/blobs/uploads/?mount={}&from={from}", blob.digest);
    let ask = Ask { method: "POST", path: &path, headers: &[] };
    Ok(client.ask(ask)?.status() == 201)
}

/// Sends a blob. `open` opens it at its start, `report` hears how many of its
/// bytes have gone.
pub(super) fn send(
    client: &Client,
    blob: &Descriptor,
    open: &dyn Fn() -> Result<File>,
    report: &dyn Fn(u64),
) -> Result<()> {
    let begun = begin(client)?;
    let mut upload = Upload { client, blob, open, report, sent: 0, begun };
    upload.pieces()?;
    upload.close()
}

/// An upload that the registry has opened for us.
struct Begun {
    /// A whole URL.
    url: String,
    /// Bytes in a piece.
    piece: u64,
}

fn begin(client: &Client) -> Result<Begun> {
    let path = "/blobs/uploads/";
    let answer = client.ask(Ask { method: "POST", path, headers: &[] })?;
    let base = client.url(path);
    match location(&answer).filter(|_| answer.status() == 202) {
        Some(to) => Ok(Begun {
            url: joined(&base, to),
            // What object stores behind registries want, the last aside.
            piece: number(&answer, "oci-chunk-min-length")
                .unwrap_or(0)
                .max(client.piece),
        }),
        None => {
            let status = answer.status().as_u16();
            let problem = format!("it does not begin an upload ({status})");
            Err(RegistryError::Protocol { url: base, problem }.into())
        }
    }
}

struct Upload<'a> {
    client: &'a Client,
    blob: &'a Descriptor,
    open: &'a dyn Fn() -> Result<File>,
    report: &'a dyn Fn(u64),
    /// Bytes that the registry has confirmed.
    sent: u64,
    begun: Begun,
}

impl Upload<'_> {
    /// Piece after piece until all are there. As with downloads, progress
    /// takes failures back: a line that breaks every minute will do.
    fn pieces(&mut self) -> Result<()> {
        let mut failures = 0;
        while self.sent < self.blob.size {
            let before = self.sent;
            let last = failures + 1 >= self.client.attempts();
            match self.piece(last)? {
                Verdict::Final(answer) => self.taken(&answer)?,
                Verdict::Later(wait) => {
                    self.client.wait(failures + 1, wait)?;
                    self.ask_how_far()?;
                }
            }
            failures = if self.sent > before { 0 } else { failures + 1 };
            if failures >= self.client.attempts() {
                return Err(self.stuck());
            }
        }
        Ok(())
    }

    fn stuck(&self) -> Error {
        let (sent, all) = (self.sent, self.blob.size);
        RegistryError::Protocol {
            url: self.begun.url.clone(),
            problem: format!(
                "the upload does not get beyond {sent} of {all} bytes"
            ),
        }
        .into()
    }

    /// Sends the next piece. A blob in one piece goes without a range, as
    /// Docker sends it: there are registries that know only that.
    fn piece(&self, last: bool) -> Result<Verdict> {
        let length = self.begun.piece.min(self.blob.size - self.sent);
        let end = self.sent + length - 1;
        let range = format!("{}-{end}", self.sent);
        let kind = ("Content-Type", "application/octet-stream");
        let headers = [kind, ("Content-Range", range.as_str())];
        let whole = length == self.blob.size;
        let ask = Ask {
            method: "PATCH",
            path: &self.begun.url,
            headers: if whole { &headers[..1] } else { &headers },
        };
        let (done, report) = (self.sent, self.report);
        let mut body = || {
            let mut file = (self.open)()?;
            let path = std::path::Path::new(self.blob.digest.as_str());
            file.seek(SeekFrom::Start(done)).map_err(io_at("read", path))?;
            let counted = Counted::new(file.take(length), done, report);
            Ok(Payload::Stream(Box::new(counted), length))
        };
        self.client.attempt(ask, &mut body, last)
    }

    /// After a piece. 416 says that the registry has another number of bytes
    /// than we think, 404 that it has forgotten the upload: both are found
    /// out by asking.
    fn taken(&mut self, answer: &Response<Body>) -> Result<()> {
        if !answer.status().is_success() {
            return self.ask_how_far();
        }
        let length = self.begun.piece.min(self.blob.size - self.sent);
        let all = self.sent + length;
        self.moved(answer);
        self.sent = received(answer).unwrap_or(all).min(all);
        Ok(())
    }

    /// After a break the registry knows better than we do what has arrived.
    fn ask_how_far(&mut self) -> Result<()> {
        let ask = Ask { method: "GET", path: &self.begun.url, headers: &[] };
        let answer = self.client.ask(ask)?;
        if answer.status().is_success() {
            self.moved(&answer);
            let got = received(&answer).unwrap_or(0);
            self.sent = got.min(self.blob.size);
            return Ok(());
        }
        self.begun = begin(self.client)?;
        self.sent = 0;
        Ok(())
    }

    fn moved(&mut self, answer: &Response<Body>) {
        if let Some(to) = location(answer) {
            self.begun.url = joined(&self.begun.url, to);
        }
    }

    /// The registry compares the digest and keeps the blob. If the answer
    /// was lost on its way, the upload is gone and the blob is there.
    fn close(&self) -> Result<()> {
        let url = &self.begun.url;
        let joint = if url.contains('?') { '&' } else { '?' };
        let path = format!("{url}{joint}digest={}", self.blob.digest);
        let ask = Ask { method: "PUT", path: &path, headers: &[] };
        let answer = self.client.ask(ask)?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            404 if is_there(self.client, self.blob)? => Ok(()),
            status => Err(RegistryError::Status {
                method: "PUT",
                url: path,
                status,
                detail: "the registry did not keep the blob".to_owned(),
            }
            .into()),
        }
    }
}

/// `Range: 0-1023` means that 1,024 bytes are there. None at all would be
/// `0--1`, and is written `0-0`: a single byte is sent twice then.
fn received(answer: &Response<Body>) -> Option<u64> {
    let text = answer.headers().get(header::RANGE)?.to_str().ok()?;
    let (_, end) = text.trim_start_matches("bytes=").split_once('-')?;
    match end.parse().ok()? {
        0 => Some(0),
        end => Some(end + 1),
    }
}

fn number(answer: &Response<Body>, name: &str) -> Option<u64> {
    answer.headers().get(name)?.to_str().ok()?.parse().ok()
}

/// Tells how much of a blob was read, now and then.
struct Counted<'a> {
    piece: io::Take<File>,
    done: u64,
    told: u64,
    report: &'a dyn Fn(u64),
}

impl Counted<'_> {
    fn new(
        piece: io::Take<File>,
        done: u64,
        report: &dyn Fn(u64),
    ) -> Counted<'_> {
        Counted { piece, done, told: done, report }
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.piece.read(buffer)?;
        self.done += read as u64;
        if self.done - self.told >= 1 << 19 || read == 0 {
            self.told = self.done;
            (self.report)(self.done);
        }
        Ok(read)
    }
}
