//! From a logical line to an [`Instruction`].

use super::error::SyntaxError;
use super::health;
use super::instruction::{
    Command, CommandLine, Copy, CopySource, From, Instruction, Run,
};
use super::lines::Logical;
use super::run_mount::RunMount;
use super::words::{self, Flag};
use std::ops::Range;

/// Every parser here either has its piece or knows where it went wrong.
type Parsed<T> = Result<T, SyntaxError>;

/// All of Docker's instructions, for the hint after a typing mistake.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// The line being parsed, its flags already taken off.
pub(super) struct Line<'a> {
    pub(super) logical: &'a Logical,
    pub(super) keyword: String,
    pub(super) flags: Vec<Flag>,
    /// What follows the flags.
    pub(super) rest: Range<usize>,
    escape: char,
}

/// Parses one logical line.
pub(super) fn instruction(
    logical: &Logical,
    escape: char,
) -> Parsed<Instruction> {
    let keyword = logical.text[logical.keyword()].to_ascii_uppercase();
    let after = logical.keyword().end..logical.text.len();
    let (flags, rest) = words::flags(&logical.text, after);
    let line = Line { logical, keyword, flags, rest, escape };
    Ok(Instruction {
        command: line.command()?,
        text: logical.text.clone(),
        excerpt: logical.excerpt(0..logical.text.len()),
    })
}

impl Line<'_> {
    /// The table of the language. Keywords are not case sensitive; they have
    /// been made upper case before.
    fn command(&self) -> Parsed<Command> {
        Ok(match self.keyword.as_str() {
            "FROM" => Command::From(self.from()?),
            "RUN" => Command::Run(self.run()?),
            "CMD" => Command::Cmd(self.no_flags()?.command_line()?),
            "ENTRYPOINT" => {
                Command::Entrypoint(self.no_flags()?.command_line()?)
            }
            "LABEL" => Command::Label(self.no_flags()?.pairs()?),
            "ENV" => Command::Env(self.no_flags()?.pairs()?),
            "MAINTAINER" => Command::Maintainer(self.single()?),
            "EXPOSE" => Command::Expose(self.no_flags()?.list()?),
            "ADD" => Command::Add(self.copy()?),
            "COPY" => Command::Copy(self.copy()?),
            "VOLUME" => Command::Volume(self.volumes()?),
            "USER" => Command::User(self.single()?),
            "WORKDIR" => Command::Workdir(self.single()?),
            "ARG" => Command::Arg(self.args()?),
            "ONBUILD" => Command::Onbuild(self.onbuild()?),
            "STOPSIGNAL" => Command::StopSignal(self.single()?),
            "HEALTHCHECK" => Command::Healthcheck(health::parse(self)?),
            "SHELL" => Command::Shell(self.shell()?),
            unknown => return Err(self.unknown(unknown)),
        })
    }

    /// An error about the arguments, or about the keyword if there are none.
    pub(super) fn error(&self, message: impl Into<String>) -> SyntaxError {
        let at = match self.rest.is_empty() {
            true => self.logical.keyword(),
            false => self.rest.clone(),
        };
        self.logical.error(at, message)
    }

    /// A word that is one letter off gets a hint; a word that is farther off
    /// is left alone, for a wrong hint is worse than none.
    fn unknown(&self, word: &str) -> SyntaxError {
        let near = KEYWORDS.iter().find(|known| is_typo(word, known));
        let hint = near.map(|known| format!(" (did you mean {known}?)"));
        let hint = hint.unwrap_or_default();
        let message = format!("unknown instruction: {word}{hint}");
        self.logical.error(self.logical.keyword(), message)
    }

    /// The arguments as one text, without the flags.
    pub(super) fn text(&self) -> &str {
        &self.logical.text[self.rest.clone()]
    }

    /// Refuses flags on an instruction that has none.
    pub(super) fn no_flags(&self) -> Parsed<&Self> {
        self.known_flags(&[])?;
        Ok(self)
    }

    /// Refuses flags that are not in `known`, and repeated ones that may
    /// not be repeated.
    pub(super) fn known_flags(&self, known: &[&str]) -> Parsed<()> {
        for (index, flag) in self.flags.iter().enumerate() {
            if !known.contains(&flag.name.as_str()) {
                let message = format!("unknown flag: --{}", flag.name);
                return Err(self.logical.error(flag.at.clone(), message));
            }
            let repeated =
                self.flags[..index].iter().any(|f| f.name == flag.name);
            let list = matches!(flag.name.as_str(), "mount" | "exclude");
            if repeated && !list {
                let message =
                    format!("duplicate flag specified: {}", flag.name);
                return Err(self.logical.error(flag.at.clone(), message));
            }
        }
        Ok(())
    }

    /// An error about a flag's value.
    pub(super) fn flag_error(
        &self,
        name: &str,
        message: impl Into<String>,
    ) -> SyntaxError {
        let flag = self.flags.iter().find(|f| f.name == name);
        let at = flag.map_or(self.rest.clone(), |f| f.at.clone());
        self.logical.error(at, message)
    }

    /// A flag's value, `None` when the flag is not there. `--chown` without a
    /// value is a mistake and not an empty value.
    pub(super) fn flag(&self, name: &str) -> Parsed<Option<String>> {
        let Some(flag) = self.flags.iter().find(|f| f.name == name) else {
            return Ok(None);
        };
        flag.value.clone().map(Some).ok_or_else(|| {
            let message = format!("missing a value on flag: {name}");
            self.logical.error(flag.at.clone(), message)
        })
    }

    /// `--link` and `--link=true` are the same.
    fn bool_flag(&self, name: &str) -> Parsed<Option<bool>> {
        let Some(flag) = self.flags.iter().find(|f| f.name == name) else {
            return Ok(None);
        };
        match flag.value.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => {
                let message = format!(
                    "expecting boolean value for flag {name}, not: {other}"
                );
                Err(self.logical.error(flag.at.clone(), message))
            }
        }
    }

    /// A stage's name is compared in lower case ever after, so it is kept so.
    fn from(&self) -> Parsed<From> {
        self.known_flags(&["platform"])?;
        let words = words::plain_words(&self.logical.text, self.rest.clone());
        let name = match words.as_slice() {
            [_] => None,
            [_, r#as, name] if r#as.text.eq_ignore_ascii_case("as") => {
                let lower = name.text.to_ascii_lowercase();
                if !is_stage_name(&lower) {
                    let message = format!(
                        "invalid name for build stage: {:?}, name can't \
                         start with a number or contain symbols",
                        name.text
                    );
                    return Err(self.logical.error(name.at.clone(), message));
                }
                Some(lower)
            }
            _ => {
                let message = "FROM requires either one or three arguments";
                return Err(self.error(message));
            }
        };
        let platform = self.flag("platform")?;
        Ok(From { image: words[0].text.clone(), platform, name })
    }

    /// The JSON form, or the line for the shell.
    pub(super) fn command_line(&self) -> Parsed<CommandLine> {
        Ok(match self.json()? {
            Some(list) => CommandLine::Exec(list),
            None => CommandLine::Shell(self.text().to_owned()),
        })
    }

    /// The arguments as a JSON list, if they are one.
    fn json(&self) -> Parsed<Option<Vec<String>>> {
        words::json_list(self.text()).map_err(|message| self.error(message))
    }

    /// The flags of RUN are BuildKit's. Which of their values make sense
    /// together is known only when the step runs.
    fn run(&self) -> Parsed<Run> {
        self.known_flags(&["mount", "network", "security"])?;
        let mut mounts = Vec::new();
        for flag in self.flags.iter().filter(|f| f.name == "mount") {
            let value = flag.value.as_deref().unwrap_or_default();
            let mount = RunMount::parse(value).map_err(|message| {
                self.logical.error(flag.at.clone(), message)
            })?;
            mounts.push(mount);
        }
        if self.rest.is_empty() {
            return Err(self.error("RUN requires at least one argument"));
        }
        let network = self.choice("network", &["default", "none", "host"])?;
        let security = self.choice("security", &["sandbox", "insecure"])?;
        let (command, script) = self.run_command()?;
        Ok(Run { command, mounts, network, security, script })
    }

    /// A flag that takes one of a few words.
    fn choice(&self, name: &str, known: &[&str]) -> Parsed<Option<String>> {
        let value = self.flag(name)?;
        match &value {
            Some(text) if !known.contains(&text.as_str()) => {
                let message = format!("unsupported {name} mode {text:?}");
                Err(self.flag_error(name, message))
            }
            _ => Ok(value),
        }
    }

    /// `RUN <<EOF` alone is a script of its own; `RUN cat <<EOF >/x` is a
    /// shell line whose documents the shell itself must see again.
    fn run_command(&self) -> Parsed<(CommandLine, Option<super::Heredoc>)> {
        let docs = &self.logical.heredocs;
        Ok(match docs.as_slice() {
            [] => (self.command_line()?, None),
            [only] if only.at == self.rest => {
                (CommandLine::Shell(only.content.clone()), Some(only.clone()))
            }
            many => {
                let mut script = self.text().to_owned();
                for doc in many {
                    script.push('\n');
                    script.push_str(&doc.content);
                    script.push_str(&doc.name);
                }
                (CommandLine::Shell(script), None)
            }
        })
    }

    /// The pairs of ENV and LABEL keep their quotes: a `$` inside single
    /// quotes is no variable, and only the expansion can tell.
    fn pairs(&self) -> Parsed<Vec<(String, String)>> {
        let at = self.rest.clone();
        words::pairs(self.logical, at, self.escape, &self.keyword)
    }

    /// At least one word; EXPOSE without a port is surely a mistake.
    fn list(&self) -> Parsed<Vec<String>> {
        let at = self.rest.clone();
        let words = words::plain_words(&self.logical.text, at);
        if words.is_empty() {
            let name = &self.keyword;
            let message = format!("{name} requires at least one argument");
            return Err(self.error(message));
        }
        Ok(words.into_iter().map(|word| word.text).collect())
    }

    /// One argument that may hold blanks.
    fn single(&self) -> Parsed<String> {
        self.no_flags()?;
        let blank = self.text().contains(char::is_whitespace);
        // A path or an author's name may hold blanks, a signal cannot.
        if self.rest.is_empty() || blank && self.keyword == "STOPSIGNAL" {
            let name = &self.keyword;
            let message = format!("{name} requires exactly one argument");
            return Err(self.error(message));
        }
        Ok(self.text().to_owned())
    }

    /// COPY and ADD share most flags; what one has alone would be silently
    /// without effect on the other, and is refused there.
    fn copy(&self) -> Parsed<Copy> {
        let both = ["chown", "chmod", "link", "exclude"];
        let own: &[&str] = match self.keyword.as_str() {
            "COPY" => &["from", "parents"],
            _ => &["checksum", "keep-git-dir", "unpack"],
        };
        self.known_flags(&[&both[..], own].concat())?;
        let (sources, destination) = self.copy_paths()?;
        let from = self.flag("from")?;
        if from.as_deref().is_some_and(|name| name.contains('$')) {
            return Err(self.error(
                "variable expansion is not supported for --from, define a \
                 new stage with FROM using ARG from global scope as a \
                 workaround",
            ));
        }
        let exclude = self.flags.iter().filter(|f| f.name == "exclude");
        Ok(Copy {
            sources,
            destination,
            from,
            chown: self.flag("chown")?,
            chmod: self.flag("chmod")?,
            link: self.bool_flag("link")?.unwrap_or(false),
            parents: self.bool_flag("parents")?.unwrap_or(false),
            exclude: exclude.filter_map(|f| f.value.clone()).collect(),
            checksum: self.flag("checksum")?,
            keep_git_dir: self.bool_flag("keep-git-dir")?.unwrap_or(false),
            unpack: self.bool_flag("unpack")?,
        })
    }

    /// The last word is the destination. A word that opened a here-document
    /// stands for its content.
    fn copy_paths(&self) -> Parsed<(Vec<CopySource>, String)> {
        let name = &self.keyword;
        let words: Vec<(String, Range<usize>)> = match self.json()? {
            Some(list) => {
                list.into_iter().map(|w| (w, self.rest.clone())).collect()
            }
            None => {
                let at = self.rest.clone();
                words::plain_words(&self.logical.text, at)
                    .into_iter()
                    .map(|word| (word.text, word.at))
                    .collect()
            }
        };
        let Some(((destination, _), sources)) = words.split_last() else {
            let message = format!("{name} requires at least two arguments");
            return Err(self.error(message));
        };
        if sources.is_empty() {
            return Err(self.error(format!(
                "{name} requires at least two arguments, but only one was \
                 provided. Destination could not be determined"
            )));
        }
        let docs = &self.logical.heredocs;
        let source = |(text, at): &(String, Range<usize>)| match docs
            .iter()
            .find(|doc| doc.at == *at)
        {
            Some(doc) => CopySource::Inline(doc.clone()),
            None => CopySource::Path(text.clone()),
        };
        Ok((sources.iter().map(source).collect(), destination.clone()))
    }

    /// The JSON form is for paths with blanks. `VOLUME []` falls through to
    /// the other form and makes a volume named `[]`, as in Docker.
    fn volumes(&self) -> Parsed<Vec<String>> {
        self.no_flags()?;
        let list = match self.json()? {
            Some(list) if !list.is_empty() => list,
            _ => self.list()?,
        };
        if list.iter().any(|path| path.trim().is_empty()) {
            return Err(
                self.error("VOLUME specified can not be an empty string")
            );
        }
        Ok(list)
    }

    /// Several on one line are allowed, each with or without a default. The
    /// default may use the names before it.
    fn args(&self) -> Parsed<Vec<(String, Option<String>)>> {
        self.no_flags()?;
        let text = &self.logical.text;
        let words = words::quoted_words(text, self.rest.clone(), self.escape);
        if words.is_empty() {
            return Err(self.error("ARG requires at least one argument"));
        }
        let split = |word: words::Word| match word.text.split_once('=') {
            Some(("", _)) => {
                Err(self.logical.error(word.at, "ARG names can not be blank"))
            }
            Some((name, value)) => Ok((name.into(), Some(value.to_owned()))),
            None => Ok((word.text, None)),
        };
        words.into_iter().map(split).collect()
    }

    /// The trigger is parsed to find mistakes now, and kept as text: it is
    /// stored in the image and parsed again by whoever builds on it.
    fn onbuild(&self) -> Parsed<String> {
        self.no_flags()?;
        if self.rest.is_empty() {
            return Err(self.error("ONBUILD requires at least one argument"));
        }
        let end = self.text().find(char::is_whitespace);
        let word = &self.text()[..end.unwrap_or(self.text().len())];
        match word.to_ascii_uppercase().as_str() {
            "ONBUILD" => Err(self
                .error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")),
            word @ ("MAINTAINER" | "FROM") => Err(self
                .error(format!("{word} isn't allowed as an ONBUILD trigger"))),
            _ => {
                let after = self.rest.start + word.len()..self.rest.end;
                let text = &self.logical.text;
                let (flags, rest) = words::flags(text, after);
                let keyword = word.to_ascii_uppercase();
                let escape = self.escape;
                let logical = self.logical;
                Line { logical, keyword, flags, rest, escape }.command()?;
                Ok(self.text().to_owned())
            }
        }
    }

    /// The JSON form only: which shell would split a shell line that says
    /// which shell to use?
    fn shell(&self) -> Parsed<Vec<String>> {
        self.no_flags()?;
        match self.json()? {
            Some(list) if !list.is_empty() => Ok(list),
            Some(_) => Err(self.error("SHELL requires at least one argument")),
            None => {
                Err(self
                    .error("SHELL requires the arguments to be in JSON form"))
            }
        }
    }
}

/// Letters, digits, `-`, `_`, `.`, beginning with a letter.
fn is_stage_name(name: &str) -> bool {
    let tail = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c)
    };
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(tail)
}

/// One letter added, missing or wrong: `RUNN`, `WORKDR`, `COPPY`.
fn is_typo(word: &str, known: &str) -> bool {
    let (a, b) = (word.as_bytes(), known.as_bytes());
    if a.len().abs_diff(b.len()) > 1 || word.len() < 3 {
        return false;
    }
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same..], &b[same..]);
    match a.len().cmp(&b.len()) {
        std::cmp::Ordering::Equal => a.len() <= 1 || a[1..] == b[1..],
        std::cmp::Ordering::Less => a == &b[1..],
        std::cmp::Ordering::Greater => &a[1..] == b,
    }
}
