//! `.dockerignore`, by Docker's own rules.
//!
//! They look like `.gitignore` and are not: every pattern starts at the
//! context's root (`node_modules` does not mean `a/node_modules`; that is
//! `**/node_modules`), and of all the patterns that match, the last one
//! decides. A directory that matches takes everything below it along, until
//! a later `!pattern` brings something back.

use super::glob::Pattern;
use std::path::{Component, Path};

/// The patterns of one file, in order.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    /// `!pattern`: bring back.
    negated: bool,
}

impl Ignore {
    /// Parses the file's text.
    ///
    /// ```
    /// use layers::build::ignore::Ignore;
    /// let ignore = Ignore::parse("*\n!src\nsrc/**/*.tmp\n").unwrap();
    /// assert!(ignore.excludes("README.md"));
    /// assert!(!ignore.excludes("src/main.rs"));
    /// assert!(ignore.excludes("src/a/b/x.tmp"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let line = line.trim();
            let (negated, line) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            if line.is_empty() && !negated {
                continue;
            }
            if line.is_empty() {
                return Err("illegal exclusion pattern: \"!\"".into());
            }
            let pattern = Pattern::with_directories(&clean(line))?;
            rules.push(Rule { pattern, negated });
        }
        Ok(Self { rules })
    }

    /// Builds a list from patterns that stand alone, such as `--exclude`.
    pub(super) fn of_patterns(patterns: &[String]) -> Result<Self, String> {
        Self::parse(&patterns.join("\n"))
    }

    /// Whether a path, relative to the context and without a leading slash,
    /// stays out of the build.
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            // A rule that would change nothing need not be matched.
            if rule.negated == excluded && rule.covers(path) {
                excluded = !rule.negated;
            }
        }
        excluded
    }

    /// Whether there are no patterns at all.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether nothing below an excluded directory can come back, so that
    /// it need not be walked.
    pub(super) fn prunes(&self) -> bool {
        self.rules.iter().all(|rule| !rule.negated)
    }
}

impl Rule {
    /// Matches the path itself or a directory that it is in.
    fn covers(&self, path: &str) -> bool {
        self.pattern.matches(path)
            || path
                .match_indices('/')
                .any(|(end, _)| self.pattern.matches(&path[..end]))
    }
}

/// The patterns of a file's text as BuildKit's clients want them: clean, one
/// by one, each with its `!`.
pub fn patterns(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.map(str::trim).filter(|line| !line.is_empty());
    let pattern = |line: &str| match line.strip_prefix('!') {
        Some(rest) => format!("!{}", clean(rest.trim())),
        None => clean(line),
    };
    lines.map(pattern).filter(|it| !it.is_empty()).collect()
}

/// Go's `filepath.Clean`, and no leading slash: `./a//b/../c/` is `a/c`.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => {
                parts.push(name.to_str().unwrap_or_default());
            }
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rules_are_dockers_not_gits() {
        let cases = [
            ("node_modules", "node_modules/x.js", true),
            ("node_modules", "a/node_modules", false),
            ("**/node_modules", "a/b/node_modules/x", true),
            ("**/node_modules", "node_modules", true),
            ("/build/", "build/out", true),
            ("*.md\n!README.md", "README.md", false),
            ("!README.md\n*.md", "README.md", true),
            ("*/temp*", "a/temporary.txt", true),
            ("*/temp*", "a/b/temporary.txt", false),
            ("temp?", "tempa", true),
            ("temp?", "temp/a", false),
            ("docs/**", "docs/a/b", true),
            ("docs/**", "docs", false),
            ("**", "anything/at/all", true),
            ("a[0-9]b", "a5b", true),
            ("a[^0-9]b", "a5b", false),
            ("\\*.txt", "*.txt", true),
            ("\\*.txt", "a.txt", false),
            ("#x\n #y", "#y", true),
            ("foo/../bar", "bar", true),
            ("*\n!a/b/c", "a/b/c/d", false),
            ("*\n!a/b/c", "a/b/x", true),
        ];
        for (rules, path, want) in cases {
            let ignore = Ignore::parse(rules).unwrap();
            assert_eq!(ignore.excludes(path), want, "{rules:?} {path}");
        }
    }

    #[test]
    fn a_broken_pattern_is_an_error() {
        assert!(Ignore::parse("a[").unwrap_err().contains("syntax error"));
        assert!(Ignore::parse("!").unwrap_err().contains("illegal"));
    }

    proptest! {
        #[test]
        fn no_pattern_makes_it_panic(
            rules in "[a*?/!\\[\\]\\\\^\n-]{0,24}",
            path in "[a/.]{0,24}",
        ) {
            if let Ok(ignore) = Ignore::parse(&rules) {
                let _ = ignore.excludes(&path);
            }
        }

        #[test]
        fn a_plain_name_excludes_itself_and_what_is_below(
            name in "[a-z]{1,8}", below in "[a-z]{1,8}",
        ) {
            let ignore = Ignore::parse(&name).unwrap();
            let inside = format!("{name}/{below}");
            let beside = format!("{name}{below}");
            prop_assert!(ignore.excludes(&name));
            prop_assert!(ignore.excludes(&inside));
            prop_assert!(!ignore.excludes(&beside));
        }
    }
}
