//! Which variables an instruction sees.
//!
//! - `ARG`s before the first FROM are global: every FROM sees them, a stage
//!   only after an `ARG NAME` of its own.
//! - Inside a stage, `ENV` beats `ARG`, and both last until the next FROM.
//! - `--build-arg` gives a value only to a name that some `ARG` declares;
//!   the proxies are declared everywhere, and are kept out of the cache key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Declared without being declared. They never decide about a cache hit: who
/// builds at home and at work would rebuild everything twice a day.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The variables at one point of a stage.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// The file's escape character.
    pub(super) escape: char,
    args: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
}

impl Scope {
    /// Nothing is set in the beginning; a stage starts from scratch.
    pub(super) fn new(escape: char) -> Self {
        let (args, env) = (BTreeMap::new(), BTreeMap::new());
        Self { escape, args, env }
    }

    /// A variable's value; `None` when nothing declares it.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.env.get(name).or_else(|| self.args.get(name)).cloned()
    }

    /// Sets an ARG.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.args.insert(name.to_owned(), value.to_owned());
    }

    /// Takes over the image's environment, `NAME=value` each.
    pub(super) fn see_env(&mut self, env: &[String]) {
        let split = |text: &String| {
            let (name, value) = text.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        self.env = env.iter().filter_map(split).collect();
    }

    /// The ARGs that a RUN sees besides the environment, as `NAME=value`.
    pub(super) fn run_args(&self) -> Vec<String> {
        let hidden = |name: &&String| !self.env.contains_key(*name);
        let names = self.args.keys().filter(hidden);
        names.map(|name| format!("{name}={}", self.args[name])).collect()
    }

    /// The ARGs that decide about a cache hit.
    pub(super) fn cache_args(&self) -> BTreeMap<String, String> {
        let counts =
            |(name, _): &(&String, &String)| !PROXIES.contains(&name.as_str());
        let args = self.args.iter().filter(counts);
        args.filter(|(name, _)| !self.env.contains_key(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// The values that the caller gave, and which of them were used.
#[derive(Debug, Default)]
pub(super) struct BuildArgs {
    given: BTreeMap<String, String>,
    /// Stages that run side by side note what they use.
    used: Mutex<BTreeSet<String>>,
}

impl BuildArgs {
    /// Nothing has been used yet.
    pub(super) fn new(given: &BTreeMap<String, String>) -> Self {
        Self { given: given.clone(), used: Mutex::default() }
    }

    /// The value for a declared name, if one was given.
    pub(super) fn take(&self, name: &str) -> Option<String> {
        let value = self.given.get(name)?;
        self.used().insert(name.to_owned());
        Some(value.clone())
    }

    /// The proxies among the values, for every RUN.
    pub(super) fn proxies(&self) -> Vec<String> {
        let given = PROXIES.iter().filter_map(|name| {
            Some(format!("{name}={}", self.given.get(*name)?))
        });
        given.collect()
    }

    /// What was given and never declared, for Docker's warning.
    /// `SOURCE_DATE_EPOCH` is for the builder itself.
    pub(super) fn unused(&self) -> Vec<String> {
        let used = self.used();
        let idle = |name: &&String| {
            !used.contains(*name)
                && !PROXIES.contains(&name.as_str())
                && *name != "SOURCE_DATE_EPOCH"
        };
        self.given.keys().filter(idle).cloned().collect()
    }

    fn used(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_beats_arg_and_proxies_do_not_count() {
        let mut scope = Scope::new('\\');
        scope.set("A", "arg");
        scope.set("B", "arg");
        scope.set("HTTP_PROXY", "http://proxy");
        scope.see_env(&["B=env".into(), "C=x=y".into()]);
        assert_eq!(scope.get("B").as_deref(), Some("env"));
        assert_eq!(scope.get("C").as_deref(), Some("x=y"));
        assert_eq!(scope.run_args(), ["A=arg", "HTTP_PROXY=http://proxy"]);
        let counted: Vec<String> = scope.cache_args().into_keys().collect();
        assert_eq!(counted, ["A"]);
    }

    #[test]
    fn an_argument_that_no_line_declares_is_reported() {
        let given = [("A", "1"), ("B", "2"), ("no_proxy", "x")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let args = BuildArgs::new(&given.into());
        assert_eq!(args.take("A").as_deref(), Some("1"));
        assert_eq!(args.unused(), ["B"]);
        assert_eq!(args.proxies(), ["no_proxy=x"]);
    }
}
