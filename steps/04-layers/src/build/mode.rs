//! `--chmod`: a number, or changes in the words of chmod(1).

/// What `--chmod` makes of a file's mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chmod {
    /// `644`
    Absolute(u32),
    /// `u=rwX,go-w`
    Changes {
        /// As written.
        text: String,
        /// One after the other.
        list: Vec<Change>,
    },
}

/// One part of the symbolic form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The bits of all whom it is about.
    who: u32,
    operator: char,
    /// Permissions as for everybody: `r` is 0444.
    bits: u32,
    /// `X`: x for directories, and for what somebody may execute already.
    execute_if: bool,
}

impl Chmod {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return match u32::from_str_radix(text, 8) {
                Ok(mode) if mode <= 0o7777 => Ok(Self::Absolute(mode)),
                _ => Err(format!(
                    "invalid chmod parameter: '{text}'. it should be octal \
                     string and between 0 and 07777"
                )),
            };
        }
        let changes = text.split(',').map(change);
        let changes: Option<Vec<Vec<Change>>> = changes.collect();
        let changes = changes.ok_or_else(|| {
            format!(
                "invalid chmod parameter: '{text}'. it should be octal \
                 string, or changes such as u=rwX,go-w"
            )
        })?;
        Ok(Self::Changes { text: text.to_owned(), list: changes.concat() })
    }

    /// The new mode of what had the mode `old`.
    pub(super) fn apply(&self, old: u32, directory: bool) -> u32 {
        match self {
            Self::Absolute(mode) => *mode,
            Self::Changes { list, .. } => list
                .iter()
                .fold(old & 0o7777, |mode, it| it.apply(mode, directory)),
        }
    }
}

/// `WHO…(OPERATOR PERMISSION…)…`
fn change(text: &str) -> Option<Vec<Change>> {
    let end = text.find(|c| !"ugoa".contains(c))?;
    let (people, mut rest) = text.split_at(end);
    let who = people.chars().map(|c| match c {
        'u' => 0o4700,
        'g' => 0o2070,
        'o' => 0o1007,
        _ => 0o7777,
    });
    // Without anybody it is about all; no umask has a say in a build.
    let who = match people.is_empty() {
        true => 0o7777,
        false => who.fold(0, |all, bits| all | bits),
    };
    let mut changes = Vec::new();
    while !rest.is_empty() {
        let operator = rest.chars().next().filter(|c| "+-=".contains(*c))?;
        let after = &rest[1..];
        let end = after.find(['+', '-', '=']).unwrap_or(after.len());
        let (letters, left) = after.split_at(end);
        let (mut bits, mut execute_if) = (0, false);
        for letter in letters.chars() {
            match letter {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                'X' => execute_if = true,
                's' => bits |= 0o6000,
                't' => bits |= 0o1000,
                _ => return None,
            }
        }
        changes.push(Change { who, operator, bits, execute_if });
        rest = left;
    }
    (!changes.is_empty()).then_some(changes)
}

impl Change {
    fn apply(&self, mode: u32, directory: bool) -> u32 {
        let execute = self.execute_if && (directory || mode & 0o111 != 0);
        let all = self.bits | if execute { 0o111 } else { 0 };
        let bits = all & self.who;
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & !self.who | bits,
        }
    }
}

impl std::fmt::Display for Chmod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absolute(mode) => write!(f, "{mode:o}"),
            Self::Changes { text, .. } => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_those_of_chmod() {
        for (text, old, directory, new) in [
            ("640", 0o755, false, 0o640),
            ("u+x", 0o644, false, 0o744),
            ("go-rwx", 0o755, true, 0o700),
            ("a=rX", 0o600, false, 0o444),
            ("a=rX", 0o700, false, 0o555),
            ("u=rwX,go=rX", 0o700, true, 0o755),
            ("+t", 0o777, true, 0o1777),
            ("u+s,g-w", 0o775, false, 0o4755),
            ("u=r+w", 0o000, false, 0o600),
        ] {
            let chmod = Chmod::parse(text).unwrap();
            let got = chmod.apply(old, directory);
            assert_eq!(got, new, "{text} on {old:o}: {got:o}");
        }
        for text in ["", "u", "9", "77777", "u+q", "z=r", "u+r,"] {
            assert!(Chmod::parse(text).is_err(), "{text:?}");
        }
    }
}
