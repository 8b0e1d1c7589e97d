//! Which device nodes a container may open.
//!
//! Making a device node is only half of access to a device: root in a
//! container could mknod(2) the host's disk and read it. The device
//! controller is asked at every open(2) and mknod(2), and says no.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceType {
    /// `a`: both kinds.
    #[serde(rename = "a")]
    All,
    /// `b`: disks.
    #[serde(rename = "b")]
    Block,
    /// `c`: everything else.
    #[serde(rename = "c")]
    Char,
}

/// One rule. Of several that match, the **last** one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// Kind of node.
    pub kind: DeviceType,
    /// Major number; `None` is any (`*`).
    pub major: Option<u32>,
    /// Minor number; `None` is any.
    pub minor: Option<u32>,
    /// Read (open for reading).
    pub read: bool,
    /// Write.
    pub write: bool,
    /// mknod(2).
    pub mknod: bool,
}

impl DeviceRule {
    /// A rule that allows `access`, letters of `rwm`.
    pub fn allow(
        kind: DeviceType,
        major: Option<u32>,
        minor: Option<u32>,
        access: &str,
    ) -> Self {
        Self {
            allow: true,
            kind,
            major,
            minor,
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
        }
    }

    /// The rule that denies everything, which starts every list.
    pub fn deny_all() -> Self {
        let all = Self::allow(DeviceType::All, None, None, "rwm");
        Self { allow: false, ..all }
    }

    /// Parses `--device-cgroup-rule`, as in `c 188:* rmw`.
    ///
    /// # Errors
    /// Docker's sentence, with the rule in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_opt(text)
            .ok_or_else(|| format!("invalid device cgroup format '{text}'"))
    }

    fn parse_opt(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let kind = match words.next()? {
            "a" => DeviceType::All,
            "b" => DeviceType::Block,
            "c" => DeviceType::Char,
            _ => return None,
        };
        let (major, minor) = words.next()?.split_once(':')?;
        let access = words.next()?;
        let good = !access.is_empty()
            && access.len() <= 3
            && access.chars().all(|c| "rwm".contains(c));
        if !good || words.next().is_some() {
            return None;
        }
        let major = number(major)?;
        Some(Self::allow(kind, major, number(minor)?, access))
    }

    /// Letters of `rwm`.
    pub fn access(&self) -> String {
        [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')]
            .into_iter()
            .filter_map(|(on, letter)| on.then_some(letter))
            .collect()
    }
}

/// `*` or a number; the outer `None` is "neither".
#[allow(clippy::option_option, reason = "absent and any are two answers")]
fn number(text: &str) -> Option<Option<u32>> {
    match text {
        "*" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

/// The form that v1's `devices.allow` takes, as in `c 1:3 rwm`.
impl fmt::Display for DeviceRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceType::All => 'a',
            DeviceType::Block => 'b',
            DeviceType::Char => 'c',
        };
        let show = |number: Option<u32>| {
            number.map_or_else(|| "*".to_owned(), |n| n.to_string())
        };
        let (major, minor) = (show(self.major), show(self.minor));
        write!(out, "{kind} {major}:{minor} {}", self.access())
    }
}

/// The list that Docker gives every container that is not privileged: the
/// harmless nodes of `/dev`, its own terminals, and mknod(2) of any node,
/// because package managers unpack some. A node that may be made and not
/// opened is only a name.
pub fn default_devices() -> Vec<DeviceRule> {
    use DeviceType::{Block, Char};
    let node =
        |major, minor| DeviceRule::allow(Char, Some(major), minor, "rwm");
    vec![
        DeviceRule::deny_all(),
        DeviceRule::allow(Char, None, None, "m"),
        DeviceRule::allow(Block, None, None, "m"),
        node(1, Some(3)), // null
        node(1, Some(5)), // zero
        node(1, Some(7)), // full
        node(1, Some(8)), // random
        node(1, Some(9)), // urandom
        node(5, Some(0)), // tty
        node(5, Some(1)), // console
        node(5, Some(2)), // ptmx
        node(136, None),  // pts/0, pts/1, …
                          // fuse is deliberately not here, as in Docker: --device adds it.
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_a_rule_is_refused_in_dockers_words() {
        for bad in ["", "c", "c 1:3", "d 1:3 r", "c 1:3 x", "c 1:3 r w"] {
            let error = DeviceRule::parse(bad).unwrap_err();
            assert_eq!(error, format!("invalid device cgroup format '{bad}'"));
        }
    }

    #[test]
    fn every_container_may_read_null_but_no_disk() {
        let rules = default_devices();
        let last = |major, minor| {
            rules
                .iter()
                .rev()
                .find(|r| {
                    r.read
                        && r.major.is_none_or(|m| m == major)
                        && r.minor.is_none_or(|m| m == minor)
                })
                .unwrap()
                .allow
        };
        assert!(last(1, 3));
        assert!(!last(8, 0));
    }

    proptest! {
        #[test]
        fn a_rule_survives_being_written_and_read(
            kind in "[abc]",
            major in proptest::option::of(any::<u32>()),
            minor in proptest::option::of(any::<u32>()),
            access in "r?w?m?",
        ) {
            prop_assume!(!access.is_empty());
            let show = |n: Option<u32>| {
                n.map_or("*".to_owned(), |n| n.to_string())
            };
            let text =
                format!("{kind} {}:{} {access}", show(major), show(minor));
            let rule = DeviceRule::parse(&text).unwrap();
            prop_assert_eq!(rule.to_string(), text);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = DeviceRule::parse(&text);
        }
    }
}
