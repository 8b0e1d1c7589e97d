//! What a RUN gets only if whoever builds has allowed it by name.
//!
//! A Dockerfile is often somebody else's. Without these two it can do to this
//! machine what any container can; with one of them far more.

use super::dockerfile::Run;
use super::options::BuildOptions;
use std::fmt;
use std::str::FromStr;

/// A value of `--allow`, by BuildKit's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `network.host`: `RUN --network=host`, the machine's own network.
    HostNetwork,
    /// `security.insecure`: `RUN --security=insecure`, all capabilities and
    /// devices.
    Insecure,
}

impl fmt::Display for Entitlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostNetwork => "network.host",
            Self::Insecure => "security.insecure",
        })
    }
}

impl FromStr for Entitlement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::HostNetwork, Self::Insecure];
        known.into_iter().find(|it| it.to_string() == text).ok_or_else(|| {
            format!(
                "unknown entitlement {text}: network.host or \
                 security.insecure"
            )
        })
    }
}

/// Refuses what was not allowed. Who gives the host's network to the whole
/// build has allowed it.
pub(super) fn check(run: &Run, options: &BuildOptions) -> Result<(), String> {
    let host = |network: &Option<String>| network.as_deref() == Some("host");
    let insecure = run.security.as_deref() == Some("insecure");
    let wanted = [
        (insecure, Entitlement::Insecure),
        (
            host(&run.network) && !host(&options.network),
            Entitlement::HostNetwork,
        ),
    ];
    let missing = wanted
        .into_iter()
        .find(|(wanted, it)| *wanted && !options.allow.contains(it));
    match missing {
        None => Ok(()),
        Some((_, it)) => Err(format!(
            "{it} is not allowed: if you trust this Dockerfile, build it \
             with --allow {it}"
        )),
    }
}
