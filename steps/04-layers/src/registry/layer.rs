//! One layer of a pull: from the registry into the store.
//!
//! ```text
//! is the diff ID in the store? ──yes──▶ Already exists
//!   │ no
//! is somebody else fetching it? ─yes──▶ wait, look again
//!   │ no
//! socket ─▶ blob file   ─▶ digest of the blob ┐ as the manifest says?
//!      └──▶ inflate     ─▶ digest of the tar  ┤ as the config says?
//!             └──▶ files in a scratch dir     ┘
//!                    └──▶ rename(2) into the store: Pull complete
//! ```

use std::collections::HashSet;
use std::io::Read;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::Client;
use super::flight::{Boarding, Pilot, board};
use super::{Progress, RegistryError, Report};
use crate::apply::{self, Options, TarError, Unpacked};
use crate::digest::{DiffId, Digest, Hasher};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, media};
use crate::store::{BlobWriter, LayerRecord, LayerWriter, Lease, Store};

/// Between two `Downloading` lines of one layer.
///
/// Docker's client redraws a line for each; more often would only cost time.
const TICK: Duration = Duration::from_millis(100);

/// What every layer of one pull needs.
pub(super) struct Job<'a> {
    pub(super) store: &'a Store,
    /// Keeps what this pull has and has not yet named.
    pub(super) lease: &'a Lease,
    pub(super) client: &'a Client,
    pub(super) report: Report<'a>,
    /// What this pull has put into the store, to be taken out again if the
    /// pull fails.
    pub(super) added: &'a Mutex<HashSet<Digest>>,
}

impl Job<'_> {
    /// Brings a layer into the store that was not there a moment ago. Its
    /// digests are pinned already.
    pub(super) fn layer(
        &self,
        blob: &Descriptor,
        diff_id: &DiffId,
    ) -> Result<()> {
        loop {
            if self.store.has_layer(diff_id) {
                // Another pull has brought it, or this one: an image may
                // have the same layer twice.
                self.say(blob, "Pull complete");
                return Ok(());
            }
            let root = self.store.root().to_owned();
            match board(root, &blob.digest) {
                Boarding::Passenger(flight) => {
                    while !flight.wait(TICK) {
                        self.client.cancel.check()?;
                        let done = flight.seen();
                        self.say_bytes(blob, "Downloading", done);
                    }
                }
                // It may have landed since we looked.
                Boarding::Pilot(_) if self.store.has_layer(diff_id) => {}
                Boarding::Pilot(pilot) => {
                    return self.download(&pilot, blob, diff_id);
                }
            }
        }
    }

    /// The bytes go from the socket into the layer's files at once. Nothing
    /// is visible before all three digests are right: the blob's, the tar's
    /// and, through it, the image's.
    fn download(
        &self,
        pilot: &Pilot,
        blob: &Descriptor,
        diff_id: &DiffId,
    ) -> Result<()> {
        if media::is_foreign(&blob.media_type) {
            return Err(RegistryError::Unsupported {
                what: format!("layer {} ({})", blob.digest, blob.media_type),
                why: "foreign layers (of Windows images) may only be fetched \
                      from their maker"
                    .to_owned(),
            }
            .into());
        }
        let last = Mutex::new(None::<Instant>);
        let progress = |done: u64| {
            pilot.flight.bytes.store(done, Ordering::Relaxed);
            let Ok(mut last) = last.lock() else { return };
            let due = last.is_none_or(|last| last.elapsed() >= TICK);
            if due || done == blob.size {
                *last = Some(Instant::now());
                self.say_bytes(blob, "Downloading", done);
            }
            if done == blob.size {
                self.say(blob, "Verifying Checksum");
            }
        };
        let reader = self.client.blob(blob, &progress);
        let layer = self.store.layer_writer()?;
        let mut file = self.store.blob_writer(&blob.digest)?;
        let result = self.unpack(reader, &layer, &mut file);
        let unpacked = self.verified(result, file, blob)?;
        self.finish(layer, unpacked, blob, diff_id)
    }

    /// The blob is written on the way: a later push or save sends the very
    /// same bytes, which cannot be made again from the files.
    fn unpack(
        &self,
        reader: impl Read + Send,
        layer: &LayerWriter,
        file: &mut BlobWriter,
    ) -> Result<Unpacked> {
        let options = Options::for_this_user();
        apply::unpack(reader, &layer.files(), Some(file), &options)
    }

    /// A damaged blob cannot be inflated, but "invalid deflate stream" is
    /// not what matters about it: its digest is.
    fn verified(
        &self,
        result: Result<Unpacked>,
        file: BlobWriter,
        blob: &Descriptor,
    ) -> Result<Unpacked> {
        let whole = file.bytes() == blob.size;
        let damaged = matches!(
            &result,
            Err(Error::Tar {
                source: TarError::Read(_) | TarError::Header { .. },
                ..
            })
        );
        if whole && (result.is_ok() || damaged) {
            let what = self.name(blob);
            self.adding(&blob.digest);
            file.commit(self.store, self.lease, &what, Some(&blob.digest))?;
        }
        result.map_err(|error| match error {
            Error::Tar { source, .. } => {
                Error::Tar { layer: blob.digest.to_string(), source }
            }
            other => other,
        })
    }

    /// The blob was the right one; whether the config told the truth about
    /// what is in it shows only now.
    fn finish(
        &self,
        layer: LayerWriter,
        unpacked: Unpacked,
        blob: &Descriptor,
        diff_id: &DiffId,
    ) -> Result<()> {
        if unpacked.diff_id != *diff_id {
            return Err(Error::Mismatch {
                what: format!("{}, unpacked,", self.name(blob)),
                expected: diff_id.0.clone(),
                got: unpacked.diff_id.0,
            });
        }
        self.say(blob, "Download complete");
        self.say_bytes(blob, "Extracting", blob.size);
        self.adding(&diff_id.0);
        let media_type = unpacked.compression.media_type();
        let kept = Descriptor::new(media_type, blob.digest.clone(), blob.size);
        let record = LayerRecord {
            size: unpacked.size,
            blobs: vec![kept],
            implied: unpacked.implied,
        };
        layer.commit(self.store, self.lease, unpacked.diff_id, record)?;
        for warning in unpacked.warnings {
            (self.report)(Progress::line(format!("Warning: {warning}")));
        }
        self.say(blob, "Pull complete");
        Ok(())
    }

    /// Called before the thing is put in place. What was there before is not
    /// ours to take away.
    fn adding(&self, digest: &Digest) {
        let mut added =
            self.added.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.store.has_blob(digest) {
            added.insert(digest.clone());
        }
    }

    fn name(&self, blob: &Descriptor) -> String {
        let image = self.client.reference.familiar();
        format!("layer {} of {image}", blob.digest.short())
    }

    /// Lines begin with twelve digits of the *blob's* digest, as Docker's do.
    fn say(&self, blob: &Descriptor, status: &str) {
        (self.report)(Progress::of(blob.digest.short(), status));
    }

    fn say_bytes(&self, blob: &Descriptor, status: &str, done: u64) {
        (self.report)(Progress {
            bytes: Some((done, blob.size)),
            ..Progress::of(blob.digest.short(), status)
        });
    }
}

/// Checks a small blob that is in memory.
pub(crate) fn check(what: &str, bytes: &[u8], blob: &Descriptor) -> Result<()> {
    if bytes.len() as u64 != blob.size {
        return Err(Error::Length {
            what: what.to_owned(),
            expected: blob.size,
            got: bytes.len() as u64,
        });
    }
    check_digest(what, bytes, &blob.digest)
}

/// Says both digests: comparing them with the registry's shows which side is
/// wrong.
pub(super) fn check_digest(
    what: &str,
    bytes: &[u8],
    expected: &Digest,
) -> Result<()> {
    let mut hasher = Hasher::like(expected);
    hasher.update(bytes);
    let got = hasher.finish();
    if got == *expected {
        return Ok(());
    }
    let (what, expected) = (what.to_owned(), expected.clone());
    Err(Error::Mismatch { what, expected, got })
}
