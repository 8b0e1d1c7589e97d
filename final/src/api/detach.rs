//! Detach keys: what a person types to leave a container without ending it.

use cli_api::server::ApiError;

use super::Result;

/// `ctrl-p,ctrl-q`, as bytes, and how much of it has been typed.
#[derive(Debug, Clone)]
pub struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

impl DetachKeys {
    /// Parses `ctrl-X` and single characters, separated by commas; empty is
    /// Docker's `ctrl-p,ctrl-q`.
    ///
    /// # Errors
    /// 400 that names the key.
    pub fn parse(text: &str) -> Result<DetachKeys> {
        if text.is_empty() {
            return Ok(DetachKeys { keys: vec![16, 17], typed: 0 });
        }
        let key = |word: &str| {
            let bytes = word.as_bytes();
            if let [byte] = bytes {
                return Ok(*byte);
            }
            let control = word.strip_prefix("ctrl-").map(str::as_bytes);
            match control {
                Some([byte @ b'a'..=b'z']) => Ok(byte - b'a' + 1),
                Some([b'@']) => Ok(0),
                Some([b'[']) => Ok(27),
                Some([b'\\']) => Ok(28),
                Some([b']']) => Ok(29),
                Some([b'^']) => Ok(30),
                Some([b'_']) => Ok(31),
                _ => Err(ApiError::bad_request(format!(
                    "Invalid detach keys ({text}) provided"
                ))),
            }
        };
        let keys = text.split(',').map(key).collect::<Result<_>>()?;
        Ok(DetachKeys { keys, typed: 0 })
    }

    /// What of `input` goes to the process; `None` once all keys have been
    /// typed. The first keys are held back until the next one decides.
    pub fn filter(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        let mut pass = Vec::with_capacity(input.len());
        for &byte in input {
            if byte != self.keys[self.typed] {
                pass.extend_from_slice(&self.keys[..self.typed]);
                self.typed = 0;
            }
            if byte == self.keys[self.typed] {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return None;
                }
            } else {
                pass.push(byte);
            }
        }
        Some(pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_leave_and_everything_else_passes() {
        let mut keys = DetachKeys::parse("").unwrap();
        assert_eq!(keys.filter(b"ls\n").unwrap(), b"ls\n");
        assert_eq!(keys.filter(b"\x10").unwrap(), b"");
        assert_eq!(keys.filter(b"x").unwrap(), b"\x10x");
        assert_eq!(keys.filter(b"\x10").unwrap(), b"");
        assert!(keys.filter(b"\x11").is_none());
    }

    #[test]
    fn a_key_typed_twice_still_begins_the_sequence() {
        let mut keys = DetachKeys::parse("ctrl-p,ctrl-q").unwrap();
        assert_eq!(keys.filter(b"\x10\x10").unwrap(), b"\x10");
        assert!(keys.filter(b"\x11").is_none());
    }

    #[test]
    fn other_keys_may_be_chosen() {
        let mut keys = DetachKeys::parse("ctrl-x,q").unwrap();
        assert!(keys.filter(b"\x18q").is_none());
        let error = DetachKeys::parse("ctrl-1").unwrap_err();
        assert_eq!(error.message, "Invalid detach keys (ctrl-1) provided");
    }
}
