//! PAX records: `LENGTH KEY=VALUE\n`, the extensible part of a tar header
//! (pax(1), "pax Extended Header").
//!
//! Values may contain anything, newlines and NULs included (extended
//! attributes do), so only the length says where a record ends.

use rustix::fs::Timespec;

/// What the extended header of one entry says; `None` is "see the header".
#[derive(Debug, Default)]
pub(super) struct Pax {
    /// The whole path: ustar has room for 255 bytes at most, and only if
    /// there is a slash at the right place.
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    /// Content length, for files of more than 8 GiB.
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// With nanoseconds, and before 1970.
    pub(super) mtime: Option<Timespec>,
    /// `SCHILY.xattr.NAME` and its older twin `LIBARCHIVE.xattr.NAME`.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// `GNU.sparse.*`, without that prefix, in order.
    pub(super) sparse: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Pax {
    /// Reads all records; the error says what is wrong.
    pub(super) fn parse(mut data: &[u8]) -> Result<Pax, String> {
        let mut pax = Pax::default();
        while !data.is_empty() {
            let (record, rest) = split(data)?;
            data = rest;
            let Some(at) = record.iter().position(|b| *b == b'=') else {
                return Err("a PAX record without =".to_owned());
            };
            pax.set(&record[..at], &record[at + 1..])?;
        }
        Ok(pax)
    }

    /// Keys that are not known (atime, ctime, comment, the makers' own) say
    /// nothing about a layer.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        // An empty value takes the keyword back (pax(1)).
        let some = (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" | b"linkpath" if value.contains(&0) => {
                return Err("a path with a NUL byte".to_owned());
            }
            b"path" => self.path = some,
            b"linkpath" => self.link = some,
            b"size" => self.size = number(key, value)?,
            b"uid" => self.uid = number(key, value)?,
            b"gid" => self.gid = number(key, value)?,
            b"mtime" => self.mtime = time(value)?,
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.retain(|(n, _)| n != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Cuts off one record: without its length, space and newline.
fn split(data: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let bad = || "a PAX record with a bad length".to_owned();
    let space = data.iter().take(20).position(|b| *b == b' ');
    let space = space.ok_or_else(bad)?;
    let length = std::str::from_utf8(&data[..space]).map_err(|_| bad())?;
    let length: usize = length.parse().map_err(|_| bad())?;
    if length < space + 2 || length > data.len() {
        return Err(bad());
    }
    let (record, rest) = data.split_at(length);
    match record.split_last() {
        Some((b'\n', record)) => Ok((&record[space + 1..], rest)),
        _ => Err(bad()),
    }
}

/// Digits only, so that the same text means the same to every reader.
fn number(key: &[u8], value: &[u8]) -> Result<Option<u64>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(value).ok();
    // A plain parse would accept a leading plus.
    match text.filter(|t| t.bytes().all(|b| b.is_ascii_digit())) {
        Some(text) => text.parse().map(Some).ok(),
        None => None,
    }
    .ok_or_else(|| {
        format!("a PAX {} that is no number", String::from_utf8_lossy(key))
    })
}

/// Seconds since 1970 with a fraction, both possibly negative: `-1.5` is
/// half a second before 23:59:59.
fn time(value: &[u8]) -> Result<Option<Timespec>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let bad = || "a PAX mtime that is no time".to_owned();
    let text = std::str::from_utf8(value).map_err(|_| bad())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let mut seconds: i64 = whole.parse().map_err(|_| bad())?;
    let nine: String =
        fraction.chars().chain("000000000".chars()).take(9).collect();
    let mut nanos: i64 = nine.parse().map_err(|_| bad())?;
    if whole.starts_with('-') && nanos > 0 {
        seconds = seconds.checked_sub(1).ok_or_else(bad)?;
        nanos = 1_000_000_000 - nanos;
    }
    Ok(Some(Timespec { tv_sec: seconds, tv_nsec: nanos }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_may_contain_newlines_and_nuls() {
        let data = b"33 SCHILY.xattr.user.a=x\n12 b\0\n=\n10 uid=12\n";
        let pax = Pax::parse(data).unwrap();
        assert_eq!(pax.xattrs[0].0, b"user.a");
        assert_eq!(pax.xattrs[0].1, b"x\n12 b\0\n=");
        assert_eq!(pax.uid, Some(12));
    }

    #[test]
    fn times_before_1970_count_backwards() {
        let time = |t: &str| {
            let t = time(t.as_bytes()).unwrap().unwrap();
            (t.tv_sec, t.tv_nsec)
        };
        assert_eq!(time("1.5"), (1, 500_000_000));
        assert_eq!(time("-1.25"), (-2, 750_000_000));
        assert_eq!(time("-0.5"), (-1, 500_000_000));
        assert_eq!(time("7"), (7, 0));
        assert_eq!(time("1.1234567891234"), (1, 123_456_789));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(
            data in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let _ = Pax::parse(&data);
        }
    }
}
