//! Sparse files: content with holes, in the four ways GNU tar writes them.
//!
//! | format | where the map is |
//! |---|---|
//! | old GNU (type `S`) | in the header, and in blocks that follow it |
//! | PAX 0.0 | `GNU.sparse.offset` and `.numbytes`, again and again |
//! | PAX 0.1 | `GNU.sparse.map`, numbers with commas |
//! | PAX 1.0 | at the start of the content, a number a line |

use super::pax::Pax;

/// Where the bytes of the content go; what is between them is a hole.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sparse {
    /// Offset and length, ascending.
    pub(super) map: Vec<(u64, u64)>,
    /// The file's length.
    pub(super) real: u64,
}

/// More pieces than this are no file that anybody has.
pub(super) const PIECES_MAX: usize = 1 << 20;

/// What the PAX records say of sparseness.
pub(super) enum PaxSparse {
    /// Nothing.
    No,
    /// The whole map (0.0, 0.1).
    Map(Sparse),
    /// That the content begins with the map (1.0), and the real length.
    InContent(u64),
}

/// Reads `GNU.sparse.*`. `name` is set when the entry's own path is only a
/// stand-in for programs that do not know the format.
pub(super) fn from_pax(pax: &mut Pax) -> Result<PaxSparse, String> {
    let mut major = None;
    let mut real = None;
    let mut map = Vec::new();
    for (key, value) in std::mem::take(&mut pax.sparse) {
        match key.as_slice() {
            b"name" if value.contains(&0) => {
                return Err("a path with a NUL byte".to_owned());
            }
            b"name" => pax.path = Some(value),
            b"major" => major = Some(number(&value)?),
            b"size" | b"realsize" => real = Some(number(&value)?),
            b"offset" => map.push((number(&value)?, 0)),
            b"numbytes" => match map.last_mut() {
                Some(piece) => piece.1 = number(&value)?,
                None => return Err("a sparse length before its offset".into()),
            },
            b"map" => {
                let numbers: Result<Vec<u64>, String> =
                    value.split(|b| *b == b',').map(number).collect();
                map = pairs(&numbers?)?;
            }
            _ => {}
        }
    }
    match (major, real) {
        (None | Some(0), None) => Ok(PaxSparse::No),
        (Some(1), Some(real)) => Ok(PaxSparse::InContent(real)),
        (None | Some(0), Some(real)) => {
            Sparse { map, real }.checked().map(PaxSparse::Map)
        }
        _ => Err("an unknown sparse format".to_owned()),
    }
}

impl Sparse {
    /// Pieces in order, without overlap, within the file.
    pub(super) fn checked(self) -> Result<Sparse, String> {
        if self.map.len() > PIECES_MAX {
            return Err(format!("a file in more than {PIECES_MAX} pieces"));
        }
        let mut end = 0;
        for (offset, length) in &self.map {
            let next = offset.checked_add(*length);
            match next.filter(|next| *next <= self.real) {
                Some(next) if *offset >= end => end = next,
                _ => {
                    return Err("a sparse map whose pieces overlap or reach \
                                past the file's end"
                        .to_owned());
                }
            }
        }
        Ok(self)
    }

    /// Bytes of content that the map accounts for.
    pub(super) fn stored(&self) -> u64 {
        self.map.iter().map(|(_, length)| length).sum()
    }
}

/// Offset, length, offset, length…
pub(super) fn pairs(numbers: &[u64]) -> Result<Vec<(u64, u64)>, String> {
    let pairs = numbers.chunks(2).map(|pair| match pair {
        [offset, length] => Ok((*offset, *length)),
        _ => Err("a sparse map of an odd length".to_owned()),
    });
    pairs.collect()
}

/// One number of a map.
pub(super) fn number(text: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(text).unwrap_or("?");
    text.parse().map_err(|_| format!("a sparse map with {text:?} in it"))
}
