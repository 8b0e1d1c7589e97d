//! Why a step was carried out again: this build laid beside the last one of
//! the same thing.
//!
//! The two are laid side by side by what the instructions *say* and not by
//! their numbers, as diff(1) does it with lines: an instruction that was
//! inserted is then new, and all that follow it are still known. What
//! instructions that say the same depended on is compared one by one.

use super::cache::Inputs;
use super::tree::Print;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// A step as the next build will want to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    /// The instruction as written.
    text: String,
    /// What it depended on; none if no build has come so far.
    inputs: Option<Inputs>,
    /// The ONBUILD instructions that a FROM has carried out.
    triggers: Vec<(String, Inputs)>,
}

/// The steps of a build, in the order of the file.
pub(super) type Trace = Vec<Step>;

/// Which step is being looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    /// Its number, the first is 1.
    pub(super) number: usize,
    /// The instruction, if it is a trigger that this step's FROM brought.
    pub(super) trigger: Option<&'a str>,
}

/// What has made everything after it another thing than in the last build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// The step of this number.
    Step(usize),
    /// An instruction that is gone.
    Removed(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(number) => {
                write!(f, "because a step before it changed (step {number})")
            }
            Self::Removed(text) => {
                write!(f, "because a step before it is gone: {text}")
            }
        }
    }
}

/// This build and the last one of the same thing.
#[derive(Debug)]
pub(super) struct Comparison {
    steps: Vec<Pair>,
    /// Whether there was one.
    known: bool,
}

/// An instruction of this build and what the last one had in its place.
#[derive(Debug)]
struct Pair {
    text: String,
    last: Option<Step>,
    /// What the last build had before it and this one has not.
    removed: Option<String>,
}

impl Comparison {
    /// `now` is what this build's instructions say.
    pub(super) fn new(now: Vec<String>, last: Option<Trace>) -> Self {
        let known = last.is_some();
        let last = last.unwrap_or_default();
        let was: Vec<&str> = last.iter().map(|it| it.text.as_str()).collect();
        let says: Vec<&str> = now.iter().map(String::as_str).collect();
        let places = align(&was, &says);
        let mut last = last.into_iter().enumerate();
        let steps = now.into_iter().zip(places).map(|(text, place)| {
            let mut pair = Pair { text, last: None, removed: None };
            let Some(place) = place else { return pair };
            for (index, step) in last.by_ref() {
                if index == place {
                    pair.last = Some(step);
                    break;
                }
                pair.removed = Some(step.text);
            }
            pair
        });
        Self { steps: steps.collect(), known }
    }

    /// Whether the step depends on just what it depended on the last time.
    pub(super) fn is_same(&self, at: At<'_>, inputs: &Inputs) -> bool {
        let pair = self.steps.get(at.number - 1);
        let last = pair.and_then(|it| it.last.as_ref());
        last.is_some_and(|it| it.inputs.as_ref() == Some(inputs))
    }

    /// What is different from the last time, in words. Whatever it is, is
    /// the `cause` for the steps that follow.
    pub(super) fn reason(
        &self,
        at: At<'_>,
        inputs: &Inputs,
        cause: &mut Option<Cause>,
    ) -> String {
        if !self.known {
            return "there is no earlier build to compare with".into();
        }
        let mut own = |reason: String| {
            *cause = Some(Cause::Step(at.number));
            reason
        };
        let pair = self.steps.get(at.number - 1);
        let Some((pair, step)) =
            pair.and_then(|it| Some((it, it.last.as_ref()?)))
        else {
            return own("new instruction".into());
        };
        let edited = at.trigger.is_none() && step.text != pair.text;
        let last = match at.trigger {
            None => step.inputs.as_ref(),
            Some(text) => {
                let known = step.triggers.iter().find(|it| it.0 == text);
                match known {
                    Some((_, inputs)) => Some(inputs),
                    None => return own("new build trigger".into()),
                }
            }
        };
        let Some(last) = last else {
            return own("the last build did not get this far".into());
        };
        if last == inputs && !edited {
            return "the result of the last build is gone".into();
        }
        let mut reasons = Vec::new();
        if edited {
            let was = &step.text;
            reasons.push(format!("the instruction changed, it was: {was}"));
        } else if last.instruction != inputs.instruction {
            reasons.push(reads(&last.instruction, &inputs.instruction));
        }
        reasons.extend(changes(last, inputs));
        if !reasons.is_empty() {
            return own(reasons.join("; "));
        }
        if cause.is_none() {
            *cause = pair.removed.clone().map(Cause::Removed);
        }
        match cause {
            Some(cause) => cause.to_string(),
            None => "because a step before it changed".into(),
        }
    }

    /// For the next build: the steps that this one came to, and of the others
    /// what is known from the last.
    pub(super) fn trace(&self, mut done: BTreeMap<usize, Step>) -> Trace {
        let step = |(index, pair): (usize, &Pair)| {
            let known = done.remove(&(index + 1)).or_else(|| pair.last.clone());
            let known = known.unwrap_or_default();
            Step { text: pair.text.clone(), ..known }
        };
        self.steps.iter().enumerate().map(step).collect()
    }
}

/// Notes what the step `at` depends on.
pub(super) fn note(
    done: &mut BTreeMap<usize, Step>,
    at: At<'_>,
    inputs: Inputs,
) {
    let step = done.entry(at.number).or_default();
    match at.trigger {
        None => step.inputs = Some(inputs),
        Some(text) => step.triggers.push((text.to_owned(), inputs)),
    }
}

/// For each text of `now`, its place in `last`. First come those that are the
/// same; what lies between two of them and begins with the same keyword was
/// edited.
fn align(last: &[&str], now: &[&str]) -> Vec<Option<usize>> {
    let mut places = common(last, now, |text| text);
    let mut start = (0, 0);
    for end in 0..=now.len() {
        let place = match end == now.len() {
            true => Some(last.len()),
            false => places[end],
        };
        let Some(place) = place else { continue };
        let gap = (&last[start.0..place], &now[start.1..end]);
        let edited = common(gap.0, gap.1, keyword);
        for (offset, found) in edited.into_iter().enumerate() {
            places[start.1 + offset] = found.map(|at| start.0 + at);
        }
        start = (place + 1, end + 1);
    }
    places
}

fn keyword(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// The most cells of [`table`]: a thousand lines that changed, of as many.
const CELLS: usize = 1_000_000;

/// A common subsequence by `key`, the longest unless what differs is huge:
/// for each of `now`, its place in `last`.
fn common<'t>(
    last: &[&'t str],
    now: &[&'t str],
    key: impl Fn(&'t str) -> &'t str + Copy,
) -> Vec<Option<usize>> {
    let last: Vec<_> = last.iter().map(|it| key(it)).collect();
    let now: Vec<_> = now.iter().map(|it| key(it)).collect();
    let same = |(l, n): &(&&str, &&str)| l == n;
    let head = last.iter().zip(&now).take_while(same).count();
    let (last, rest) = (&last[head..], &now[head..]);
    let ends = last.iter().rev().zip(rest.iter().rev());
    let tail = ends.take_while(same).count();
    let middle = (&last[..last.len() - tail], &rest[..rest.len() - tail]);
    let found = match middle.0.len().saturating_mul(middle.1.len()) {
        0..=CELLS => table(middle.0, middle.1),
        _ => in_turn(middle.0, middle.1),
    };
    let end = head + middle.0.len();
    let found = found.into_iter().map(|it| it.map(|place| head + place));
    let heads = (0..head).map(Some);
    heads.chain(found).chain((end..end + tail).map(Some)).collect()
}

/// The longest one.
fn table(last: &[&str], now: &[&str]) -> Vec<Option<usize>> {
    // How long it is from each pair of places on.
    let mut length = vec![vec![0; now.len() + 1]; last.len() + 1];
    for l in (0..last.len()).rev() {
        for n in (0..now.len()).rev() {
            length[l][n] = match last[l] == now[n] {
                true => length[l + 1][n + 1] + 1,
                false => length[l + 1][n].max(length[l][n + 1]),
            };
        }
    }
    let mut places = vec![None; now.len()];
    let (mut l, mut n) = (0, 0);
    while l < last.len() && n < now.len() {
        if last[l] == now[n] {
            places[n] = Some(l);
            (l, n) = (l + 1, n + 1);
        } else if length[l + 1][n] >= length[l][n + 1] {
            l += 1;
        } else {
            n += 1;
        }
    }
    places
}

/// Each with the next that says the same.
fn in_turn(last: &[&str], now: &[&str]) -> Vec<Option<usize>> {
    let mut by_text: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, text) in last.iter().enumerate() {
        by_text.entry(text).or_default().push(place);
    }
    let mut from = 0;
    let next = |text: &&str| {
        let places = by_text.get(text)?;
        let found = *places.get(places.partition_point(|it| *it < from))?;
        from = found + 1;
        Some(found)
    };
    now.iter().map(next).collect()
}

/// The same words that come to mean something else: by a variable, or by the
/// lines of a here-document.
fn reads(was: &str, is: &str) -> String {
    match was.contains('\n') || is.contains('\n') {
        true => "its here-document changed".into(),
        false => format!("it was {was}, it is {is}"),
    }
}

/// All that two steps depend on besides each other and their words.
fn changes(last: &Inputs, now: &Inputs) -> Vec<String> {
    let mut found = Vec::new();
    if last.base != now.base {
        found.push(format!(
            "the base image changed: it was {}, it is {}",
            short(&last.base),
            short(&now.base)
        ));
    }
    found.extend(changed_args(&last.args, &now.args));
    found.extend(changed_files(&last.files, &now.files));
    found
}

/// Twelve digits, as everywhere.
fn short(id: &str) -> &str {
    id.strip_prefix("sha256:").and_then(|hex| hex.get(..12)).unwrap_or(id)
}

/// Values are shown, as `docker history` shows them: an ARG is no place for a
/// secret, `--secret` is.
fn changed_args(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in new {
        match old.get(name) {
            None => found.push(format!("build argument {name} is new")),
            Some(was) if was != value => found.push(format!(
                "build argument {name} changed from {was:?} to {value:?}"
            )),
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    found.extend(gone.map(|name| format!("build argument {name} is gone")));
    found
}

/// What has become of the files, one list for each kind of change.
fn changed_files(old: &[Print], new: &[Print]) -> Vec<String> {
    fn by_path(prints: &[Print]) -> BTreeMap<&str, &Print> {
        prints.iter().map(|print| (print.path.as_str(), print)).collect()
    }
    let (old, new) = (by_path(old), by_path(new));
    let mut lists: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
    let mut add =
        |kind, name: String| lists.entry(kind).or_default().push(name);
    for (path, print) in &new {
        match old.get(path) {
            None => add(Kind::Added, place(path)),
            Some(was) => {
                if was.content != print.content || was.kind() != print.kind() {
                    add(Kind::Content, place(path));
                }
                let (before, now) = (was.permissions(), print.permissions());
                if before != now {
                    let path = place(path);
                    add(
                        Kind::Mode,
                        format!("{path} ({before:04o} to {now:04o})"),
                    );
                }
                if was.owner != print.owner {
                    add(Kind::Owner, place(path));
                }
            }
        }
    }
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        add(Kind::Removed, place(path));
    }
    let said = |(kind, names): (Kind, Vec<String>)| {
        format!("{}: {}", kind.words(), some(&names))
    };
    lists.into_iter().map(said).collect()
}

/// The directory that was named as the source has no path of its own.
fn place(path: &str) -> String {
    match path {
        "" => ".".into(),
        path => path.into(),
    }
}

/// What may become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Content,
    Mode,
    Owner,
    Added,
    Removed,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Content => "changed",
            Self::Mode => "mode changed",
            Self::Owner => "owner changed",
            Self::Added => "added",
            Self::Removed => "removed",
        }
    }
}

/// Up to five names: enough to see that it was the editor's backup file again.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(path: &str, mode: u32, content: &str) -> Print {
        let (path, content) = (path.to_owned(), content.to_owned());
        Print { path, mode, owner: None, content }
    }

    fn inputs() -> Inputs {
        Inputs {
            parent: "p".into(),
            instruction: "COPY . .".into(),
            args: [("V".to_owned(), "1".to_owned())].into(),
            files: vec![
                print("a", 0o100_644, "1"),
                print("b", 0o100_644, "1"),
                print("m", 0o100_644, "1"),
            ],
            ..Inputs::default()
        }
    }

    #[test]
    fn a_huge_file_is_compared_without_a_huge_table() {
        let line = |nth: usize| format!("RUN {nth}");
        let was: Vec<_> = (0..20_000).map(line).collect();
        let is: Vec<_> = (10_000..30_000).map(line).collect();
        let was: Vec<&str> = was.iter().map(String::as_str).collect();
        let is: Vec<&str> = is.iter().map(String::as_str).collect();
        let places = common(&was, &is, |it| it);
        assert_eq!(places[0], Some(10_000));
        assert_eq!(places[9_999], Some(19_999));
        assert_eq!(places[10_000], None);
    }

    #[test]
    fn what_is_the_same_at_both_ends_is_laid_side_by_side() {
        let was = ["a", "b", "c", "d", "e"];
        let is = ["a", "x", "c", "e"];
        let places = common(&was, &is, |it| it);
        assert_eq!(places, [Some(0), None, Some(2), Some(4)]);
        assert_eq!(common(&was, &was, |it| it).len(), 5);
        assert_eq!(common(&["a", "a"], &["a"], |it| it), [Some(0)]);
    }

    #[test]
    fn what_changed_is_named_with_its_kind() {
        let now = Inputs {
            files: vec![
                print("a", 0o100_644, "2"),
                print("c", 0o100_644, "1"),
                print("m", 0o100_755, "1"),
            ],
            args: [("V".to_owned(), "2".to_owned())].into(),
            ..inputs()
        };
        assert_ne!(now.key(), inputs().key());
        insta::assert_snapshot!(changes(&inputs(), &now).join("\n"), @r#"
        build argument V changed from "1" to "2"
        changed: a
        mode changed: m (0644 to 0755)
        added: c
        removed: b
        "#);
    }

    /// `=`, `~` (edited) or `+` before each line of `now`.
    fn aligned(last: &str, now: &str) -> String {
        let last: Vec<&str> = last.split(", ").collect();
        let now: Vec<&str> = now.split(", ").collect();
        let marks =
            align(&last, &now).into_iter().zip(&now).map(|(at, text)| {
                let mark = match at {
                    Some(at) if last[at] == *text => '=',
                    Some(_) => '~',
                    None => '+',
                };
                format!("{mark}{text}")
            });
        marks.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn instructions_are_laid_side_by_side_by_what_they_say() {
        let last = "FROM a, RUN 1, RUN 2, COPY x y";
        assert_eq!(
            aligned(last, "FROM a, ENV A=1, RUN 1, RUN 2, COPY x y"),
            "=FROM a, +ENV A=1, =RUN 1, =RUN 2, =COPY x y"
        );
        assert_eq!(
            aligned(last, "FROM a, RUN 1, RUN 3, COPY x y, CMD z"),
            "=FROM a, =RUN 1, ~RUN 3, =COPY x y, +CMD z"
        );
        assert_eq!(
            aligned(last, "FROM b, RUN 2, COPY x y"),
            "~FROM b, =RUN 2, =COPY x y"
        );
        assert_eq!(aligned("", "FROM a"), "+FROM a");
    }
}
