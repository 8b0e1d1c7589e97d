//! Two output streams in one connection: Docker's frames.
//!
//! A process has standard output and standard error, but a connection is a
//! single line of bytes. So each piece travels behind a header of 8 bytes:
//!
//! ```text
//! ┌────────┬───┬───┬───┬────────────────┬───────────────┐
//! │ stream │ 0 │ 0 │ 0 │ length, u32 BE │ that many bytes│ …
//! └────────┴───┴───┴───┴────────────────┴───────────────┘
//! ```
//!
//! With a terminal (`-t`) there is only one stream, and no frames.

use bytes::{Buf, Bytes, BytesMut};

/// The stream of a frame; the number is the one in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Echo of the input; Docker reserves the number.
    Stdin = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// A message of the daemon itself: the stream broke, and why.
    System = 3,
}

impl Stream {
    /// The name in log files.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdin => "stdin",
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::System => "system",
        }
    }

    /// The stream with this [`name`](Stream::name).
    pub fn from_name(name: &str) -> Option<Stream> {
        let all = [Stream::Stdout, Stream::Stderr, Stream::Stdin];
        all.into_iter().find(|it| it.name() == name)
    }

    fn from_number(number: u8) -> Option<Stream> {
        [Stream::Stdin, Stream::Stdout, Stream::Stderr, Stream::System]
            .into_iter()
            .find(|it| *it as u8 == number)
    }
}

/// Length of the header in bytes.
pub const HEADER: usize = 8;

/// The header of a frame of `length` bytes.
pub fn header(stream: Stream, length: u32) -> [u8; HEADER] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream as u8, 0, 0, 0, a, b, c, d]
}

/// `data` as one frame. A frame holds 4 GiB; pieces that were read from a
/// pipe are never near that, and longer ones are cut into several frames.
pub fn encode(stream: Stream, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + data.len());
    for piece in data.chunks(1 << 30) {
        let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&header(stream, length));
        out.extend_from_slice(piece);
    }
    out
}

/// Takes frames apart again, however the network cut them up.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: BytesMut,
}

/// A header that no daemon of this kind sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized stream: {0}; was the output meant for a terminal (-t)?")]
pub struct UnknownStream(pub u8);

impl Decoder {
    /// Adds what has just been received.
    pub fn push(&mut self, received: &[u8]) {
        self.pending.extend_from_slice(received);
    }

    /// The next piece, `None` until more has been received.
    ///
    /// Does not wait for the end of a long frame: what is there is given
    /// out at once, so a frame may come in several pieces.
    ///
    /// # Errors
    /// [`UnknownStream`] if the bytes are no frames.
    pub fn next_piece(
        &mut self,
    ) -> Result<Option<(Stream, Bytes)>, UnknownStream> {
        if self.pending.len() <= HEADER {
            return Ok(None);
        }
        let number = self.pending[0];
        let stream =
            Stream::from_number(number).ok_or(UnknownStream(number))?;
        let mut length = [0; 4];
        length.copy_from_slice(&self.pending[4..HEADER]);
        let length = u32::from_be_bytes(length) as usize;
        self.pending.advance(HEADER);
        let have = length.min(self.pending.len());
        let piece = self.pending.split_to(have).freeze();
        if have < length {
            // What is still to come of this frame: as long as it is not
            // here, it is treated as a frame of its own.
            let rest = u32::try_from(length - have).unwrap_or(u32::MAX);
            let mut again = BytesMut::from(&header(stream, rest)[..]);
            again.unsplit(std::mem::take(&mut self.pending));
            self.pending = again;
        }
        Ok(Some((stream, piece)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn streams() -> impl Strategy<Value = Stream> {
        prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)]
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            frames in proptest::collection::vec(
                (streams(), proptest::collection::vec(any::<u8>(), 1..50)),
                0..10,
            ),
            cut in 1_usize..20,
        ) {
            let wire: Vec<u8> =
                frames.iter().flat_map(|(s, d)| encode(*s, d)).collect();
            let mut decoder = Decoder::default();
            let mut out = Vec::new();
            for piece in wire.chunks(cut) {
                decoder.push(piece);
                while let Some((stream, data)) = decoder.next_piece().unwrap()
                {
                    out.extend(data.iter().map(|byte| (stream, *byte)));
                }
            }
            let want: Vec<_> = frames
                .iter()
                .flat_map(|(s, d)| d.iter().map(|byte| (*s, *byte)))
                .collect();
            prop_assert_eq!(out, want);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_piece() {}
        }
    }

    #[test]
    fn the_header_is_dockers() {
        assert_eq!(encode(Stream::Stderr, b"hi"), b"\x02\0\0\0\0\0\0\x02hi");
        assert_eq!(encode(Stream::Stdout, b""), b"");
    }

    #[test]
    fn plain_text_is_not_taken_for_frames() {
        let mut decoder = Decoder::default();
        decoder.push(b"hello world");
        assert_eq!(decoder.next_piece(), Err(UnknownStream(b'h')));
    }
}
