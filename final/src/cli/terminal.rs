//! The terminal of the user: raw mode, its size, keys to detach.

use std::io::IsTerminal;

use rustix::termios::{
    OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

/// Keeps the terminal in raw mode until it is dropped.
///
/// In raw mode the kernel neither echoes keys nor turns Ctrl-C into a
/// signal: every byte goes to the terminal *inside* the container, which
/// does both.
#[derive(Debug)]
pub(crate) struct Raw(Option<Termios>);

impl Raw {
    /// Switches to raw mode; without a terminal this does nothing.
    pub(crate) fn enter() -> Raw {
        let input = std::io::stdin();
        let Ok(before) = tcgetattr(&input) else { return Raw(None) };
        let mut raw = before.clone();
        raw.make_raw();
        match tcsetattr(&input, OptionalActions::Now, &raw) {
            Ok(()) => Raw(Some(before)),
            Err(_) => Raw(None),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // Drain: what has been printed comes out before the switch.
            let input = std::io::stdin();
            let _ = tcsetattr(&input, OptionalActions::Drain, before);
        }
    }
}

/// Rows and columns, `None` without a terminal.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_row > 0).then_some((size.ws_row, size.ws_col))
}

/// Refuses `-t` where the input is no terminal, in Docker's words.
///
/// # Errors
/// As said.
pub(crate) fn require_input(tty: bool, stdin: bool) -> anyhow::Result<()> {
    if tty && stdin && !std::io::stdin().is_terminal() {
        anyhow::bail!("the input device is not a TTY");
    }
    Ok(())
}

/// Looks for the keys that detach (Ctrl-P Ctrl-Q) among what is typed.
#[derive(Debug)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// `ctrl-p,ctrl-q`, `a,b`, `ctrl-@`; empty for Docker's default.
    ///
    /// # Errors
    /// Names what is no key.
    pub(crate) fn parse(text: &str) -> Result<DetachKeys, String> {
        let text = if text.is_empty() { "ctrl-p,ctrl-q" } else { text };
        let key = |name: &str| match (name.strip_prefix("ctrl-"), name) {
            (Some(it), _) if it.len() == 1 => {
                let it = it.as_bytes()[0].to_ascii_uppercase();
                // Ctrl takes the bits of @, A … _ down to 0 … 31.
                (b'@'..=b'_').contains(&it).then_some(it - b'@')
            }
            (None, it) if it.len() == 1 => Some(it.as_bytes()[0]),
            _ => None,
        };
        let keys: Option<Vec<_>> = text.split(',').map(key).collect();
        match keys {
            Some(keys) => Ok(DetachKeys { keys, matched: 0 }),
            None => Err(format!("invalid detach keys ({text}) provided")),
        }
    }

    /// What of `typed` goes to the container, and whether the keys came.
    /// Keys that only begin like the sequence are held back until the next.
    pub(crate) fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        for &byte in typed {
            if byte != self.keys[self.matched] {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if byte != self.keys[self.matched] {
                out.push(byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                return (out, true);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_found_across_reads_and_others_pass() {
        let mut keys = DetachKeys::parse("").unwrap();
        assert_eq!(keys.filter(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(keys.filter(b"b\x10\x10"), (b"\x10b\x10".to_vec(), false));
        assert_eq!(keys.filter(b"\x11z"), (Vec::new(), true));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(DetachKeys::parse("ctrl-a,x").unwrap().keys, [1, b'x']);
        assert!(DetachKeys::parse("shift-a").is_err());
        assert!(DetachKeys::parse("a,,b").is_err());
    }
}
