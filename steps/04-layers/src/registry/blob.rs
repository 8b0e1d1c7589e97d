//! A download that goes on where it broke.
//!
//! Layers are large and networks are not what they should be. When the
//! connection ends early, the rest is asked for with `Range: bytes=N-`; the
//! reader's user notices nothing.

use std::io::{self, Read};

use ureq::http::header;
use ureq::{Body, http::Response};

use super::RegistryError;
use super::client::{Ask, Client};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;

/// Reads one blob. Errors are [`Error`]s inside of `io::Error`s; digests are
/// for the reader's user to check.
pub(super) struct BlobReader<'a> {
    /// Opens it again.
    client: &'a Client,
    blob: &'a Descriptor,
    /// The connection now; `None` before the first and after a broken one.
    body: Option<Box<dyn Read + Send>>,
    /// Bytes handed on so far: where to go on.
    at: u64,
    /// Attempts since there was progress.
    ///
    /// Progress takes them back: a line that breaks every minute still gets
    /// the layer here in the end.
    failures: u32,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl Client {
    /// Opens a blob; `progress` hears how many bytes have come.
    pub(super) fn blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> BlobReader<'a> {
        let (body, at, failures) = (None, 0, 0);
        BlobReader { client: self, blob, body, at, failures, progress }
    }

    /// A small blob as a whole, checked.
    pub(super) fn small_blob(
        &self,
        blob: &Descriptor,
        what: &str,
        most: u64,
    ) -> Result<Vec<u8>> {
        if blob.size > most {
            return Err(RegistryError::Unsupported {
                what: format!("{what} of {} bytes", blob.size),
                why: format!("more than {most} bytes are not believed"),
            }
            .into());
        }
        let mut bytes = Vec::new();
        let mut reader = self.blob(blob, &|_| {});
        reader.read_to_end(&mut bytes).map_err(unwrap)?;
        super::layer::check(what, &bytes, blob)?;
        Ok(bytes)
    }
}

impl BlobReader<'_> {
    /// Asks for what is missing. A server may ignore `Range` and send all
    /// (RFC 9110, 14.2), or not have it any more.
    fn open(&mut self) -> Result<Box<dyn Read + Send>> {
        let path = format!("/blobs/{}", self.blob.digest);
        let range = format!("bytes={}-", self.at);
        let headers = [("Range", range.as_str())];
        let headers = if self.at > 0 { &headers[..] } else { &[] };
        let ask = Ask { method: "GET", path: &path, headers };
        let answer = self.client.ask(ask)?;
        let status = answer.status().as_u16();
        match status {
            404 => Err(RegistryError::Status {
                method: "GET",
                url: self.client.url(&path),
                status,
                detail: "blob unknown: the registry has a manifest that \
                         names it, but not the blob itself"
                    .to_owned(),
            }
            .into()),
            206 if self.at > 0 => {
                self.check_range(&answer)?;
                Ok(Box::new(answer.into_body().into_reader()))
            }
            _ => self.whole_again(answer),
        }
    }

    /// The whole blob, though perhaps only its end was asked for.
    fn whole_again(
        &self,
        answer: Response<Body>,
    ) -> Result<Box<dyn Read + Send>> {
        let length = answer.body().content_length();
        if let Some(got) = length.filter(|got| *got != self.blob.size) {
            return Err(self.length(got));
        }
        let mut reader = answer.into_body().into_reader();
        let mut seen = reader.by_ref().take(self.at);
        // A break here shows in the reads that follow.
        let _ = io::copy(&mut seen, &mut io::sink());
        Ok(Box::new(reader))
    }

    /// `Content-Range: bytes 100-199/200` must begin where we stopped.
    fn check_range(&self, answer: &Response<Body>) -> Result<()> {
        let value = answer.headers().get(header::CONTENT_RANGE);
        let text = value.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let range = text.strip_prefix("bytes ").unwrap_or_default();
        let start = range.split('-').next().unwrap_or_default();
        if start.parse() == Ok(self.at) {
            return Ok(());
        }
        Err(RegistryError::Protocol {
            url: self.client.url(&format!("/blobs/{}", self.blob.digest)),
            problem: format!(
                "asked for bytes from {} on, got Content-Range {text:?}",
                self.at
            ),
        }
        .into())
    }

    /// The size is in the manifest, so more or less than that is wrong before
    /// any digest is.
    fn length(&self, got: u64) -> Error {
        Error::Length {
            what: format!("blob {}", self.blob.digest),
            expected: self.blob.size,
            got,
        }
    }

    /// One attempt to read; `None` means that it broke and may be resumed.
    fn attempt(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        self.client.cancel.check()?;
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.open()?,
        };
        match body.read(buffer) {
            Ok(0) if self.at < self.blob.size => Ok(None),
            Ok(read) => {
                self.at += read as u64;
                if self.at > self.blob.size {
                    return Err(self.length(self.at));
                }
                self.body = Some(body);
                self.failures = 0;
                if read > 0 {
                    (self.progress)(self.at);
                }
                Ok(Some(read))
            }
            Err(_) => Ok(None),
        }
    }
}

impl Read for BlobReader<'_> {
    /// Never says "end" early: a short body is an error or is resumed.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.attempt(buffer).map_err(io::Error::other)? {
                Some(read) => return Ok(read),
                None => self.failures += 1,
            }
            if self.failures >= self.client.attempts() {
                return Err(io::Error::other(self.length(self.at)));
            }
            self.client.wait(self.failures, None).map_err(io::Error::other)?;
        }
    }
}

/// Takes one of our errors out of the `io::Error` it travelled in.
pub(super) fn unwrap(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::Outside(Box::new(error)),
    }
}
