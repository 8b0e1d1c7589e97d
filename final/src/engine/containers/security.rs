//! `--security-opt`, `--privileged`, `--cap-add`: what rights are left.

use namespaces::CapSet;
use namespaces::seccomp::Profile;

use super::host_config::HostConfig;
use crate::engine::error::{Error, Result};

/// What the security options say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// No program may raise rights again.
    pub no_new_privileges: bool,
    /// `None`: every system call is answered.
    pub seccomp: Option<Profile>,
    /// `systempaths=unconfined`: nothing is masked or read-only.
    pub unmasked: bool,
}

/// Parses `HostConfig.SecurityOpt`; separators are `=` and, as old clients
/// write it, `:`.
///
/// # Errors
/// [`Error::Invalid`] that names the option.
pub(super) fn parse(options: &[String]) -> Result<Options> {
    let mut result = Options {
        no_new_privileges: false,
        seccomp: Some(Profile::docker_default()),
        unmasked: false,
    };
    for option in options {
        let (key, value) =
            option.split_once(['=', ':']).unwrap_or((option.as_str(), ""));
        result.set(key, value)?;
    }
    Ok(result)
}

impl Options {
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match (key, value) {
            ("no-new-privileges", "" | "true") => {
                self.no_new_privileges = true;
            }
            ("no-new-privileges", "false") => {
                self.no_new_privileges = false;
            }
            ("seccomp", "unconfined") => self.seccomp = None,
            ("seccomp", "builtin") => {
                self.seccomp = Some(Profile::docker_default());
            }
            ("seccomp", json) => {
                let profile = Profile::from_json(json).map_err(|error| {
                    Error::Invalid(format!(
                        "Decoding seccomp profile failed: {error}"
                    ))
                })?;
                self.seccomp = Some(profile);
            }
            ("systempaths", "unconfined") => self.unmasked = true,
            // There is no other confinement here that could be taken off.
            ("apparmor", "unconfined") | ("label", "disable") => {}
            ("apparmor" | "label", _) => {
                return Err(Error::Invalid(format!(
                    "security option \"{key}={value}\": this engine sets no \
                     AppArmor profile and no SELinux label"
                )));
            }
            _ => {
                return Err(Error::Invalid(format!(
                    "invalid --security-opt: \"{key}={value}\""
                )));
            }
        }
        Ok(())
    }
}

/// The capabilities that are left, by Docker's rules: `ALL` on either side
/// is a starting point, single names then win.
pub(super) fn capabilities(host: &HostConfig) -> CapSet {
    if host.privileged {
        return CapSet::held();
    }
    let names = |list: &Option<Vec<String>>| -> (bool, CapSet) {
        let mut set = CapSet::EMPTY;
        let mut all = false;
        for name in list.iter().flatten() {
            all |= name.eq_ignore_ascii_case("all")
                || name.eq_ignore_ascii_case("cap_all");
            set.add(CapSet::parse(name).unwrap_or_default());
        }
        (all, set)
    };
    let (add_all, add) = names(&host.cap_add);
    let (drop_all, drop) = names(&host.cap_drop);
    let mut set = match (add_all, drop_all) {
        (true, _) => CapSet::held(),
        (false, true) => CapSet::EMPTY,
        (false, false) => CapSet::docker_default(),
    };
    if add_all {
        set.remove(drop);
        return set;
    }
    set.remove(drop);
    set.add(add);
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(json: &str) -> Vec<String> {
        let host: HostConfig = serde_json::from_str(json).unwrap();
        capabilities(&host).names()
    }

    #[test]
    fn dropping_all_and_adding_one_leaves_one() {
        let json = r#"{"CapDrop": ["ALL"], "CapAdd": ["CAP_NET_ADMIN"]}"#;
        assert_eq!(left(json), ["CAP_NET_ADMIN"]);
    }

    #[test]
    fn a_single_drop_takes_one_of_fourteen() {
        let left = left(r#"{"CapDrop": ["CAP_NET_RAW"]}"#);
        assert_eq!(left.len(), 13);
        assert!(!left.contains(&"CAP_NET_RAW".to_owned()));
    }

    #[test]
    fn options_are_understood_with_both_separators() {
        let options =
            ["no-new-privileges".to_owned(), "seccomp:unconfined".to_owned()];
        let options = parse(&options).unwrap();
        assert!(options.no_new_privileges && options.seccomp.is_none());
    }
}
