//! Numbers in tar headers: octal text, or base 256 when that is too small.

/// Where a header has its numbers (ustar, POSIX.1-1988).
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    /// Permission bits; some writers put the file type in front.
    Mode,
    /// Seven octal digits: up to 2,097,151. More needs base 256 or PAX.
    Uid,
    Gid,
    /// Eleven octal digits: up to 8 GiB.
    Size,
    Mtime,
    /// Sum of the header's bytes.
    Checksum,
    Major,
    Minor,
}

impl Field {
    /// Offset and length are the same in all variants of the format.
    fn range(self) -> std::ops::Range<usize> {
        match self {
            Field::Mode => 100..108,
            Field::Uid => 108..116,
            Field::Gid => 116..124,
            Field::Size => 124..136,
            Field::Mtime => 136..148,
            Field::Checksum => 148..156,
            Field::Major => 329..337,
            Field::Minor => 337..345,
        }
    }

    /// Its value in a header; an empty field is 0, as in Go and GNU tar.
    pub(super) fn read(self, header: &[u8; 512]) -> Result<i64, String> {
        let bytes = &header[self.range()];
        let value = match bytes[0] & 0x80 {
            0 => octal(bytes),
            _ => base_256(bytes),
        };
        value.ok_or_else(|| format!("{self:?} is no number"))
    }

    /// The same, for what cannot be negative.
    pub(super) fn natural(self, header: &[u8; 512]) -> Result<u64, String> {
        let value = self.read(header)?;
        u64::try_from(value).map_err(|_| format!("{self:?} is negative"))
    }
}

/// Seven or eleven digits, with a space or NUL before or after them, as the
/// taste of the writer was.
fn octal(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.trim_matches([' ', '\0']);
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    digits.then(|| i64::from_str_radix(text, 8).ok())?
}

/// Two's complement, big endian; the first bit says that it is this form.
fn base_256(bytes: &[u8]) -> Option<i64> {
    let negative = bytes[0] & 0x40 != 0;
    let mut value: i128 = i128::from(bytes[0] & 0x3f);
    if negative {
        value -= 0x40;
    }
    for byte in &bytes[1..] {
        value = value.checked_mul(256)?.checked_add(i128::from(*byte))?;
    }
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mtime(bytes: &[u8; 12]) -> Option<i64> {
        let mut header = [0; 512];
        header[136..148].copy_from_slice(bytes);
        Field::Mtime.read(&header).ok()
    }

    #[test]
    fn both_forms_of_numbers_are_read() {
        assert_eq!(mtime(b"00000000017\0"), Some(15));
        assert_eq!(mtime(b"        17 \0"), Some(15));
        assert_eq!(mtime(&[0; 12]), Some(0));
        assert_eq!(mtime(b"00000000018\0"), None);
        assert_eq!(mtime(b"-0000000017\0"), None);
        let mut big = [0; 12];
        big[0] = 0x80;
        big[7] = 1;
        assert_eq!(mtime(&big), Some(1 << 32));
        assert_eq!(mtime(&[0xff; 12]), Some(-1));
        let mut huge = [0xff; 12];
        huge[0] = 0x80;
        assert_eq!(mtime(&huge), None);
    }
}
