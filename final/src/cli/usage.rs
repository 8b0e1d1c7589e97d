//! What was mistyped, in the docker command's words and with its exit codes:
//! 125 for a flag, 1 for anything else.

use std::error::Error;
use std::num::ParseIntError;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Parser};

use super::failure::Failure;
use super::{Cli, pflag};

/// Prints help that was asked for, or says what is wrong with the words.
pub(super) fn report(wrong: &clap::Error, words: &[String]) -> ExitCode {
    match wrong.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Printing can only fail if nobody reads it.
            let _ = match Cli::try_parse() {
                Err(help) if help.kind() == wrong.kind() => help.print(),
                _ => wrong.print(),
            };
            ExitCode::SUCCESS
        }
        _ => {
            let mut command = spoken(pflag::command(), words);
            let (text, code) = explain(wrong, &mut command, words);
            eprintln!("{text}");
            ExitCode::from(code)
        }
    }
}

/// The command that the words lead to.
fn spoken(mut root: Command, words: &[String]) -> Command {
    root.build();
    let mut at = root;
    for word in words {
        if let Some(below) = at.find_subcommand(word) {
            at = below.clone();
        }
    }
    at
}

/// `help VERB`.
pub(super) fn help(mut root: Command, words: &[String]) -> anyhow::Result<u8> {
    root.build();
    let mut at = root;
    for word in words {
        let Some(below) = at.find_subcommand(word) else {
            let text = format!("unknown help topic: {}", words.join(" "));
            return Err(Failure::new(1, text).into());
        };
        at = below.clone();
    }
    print!("{}", at.render_help());
    Ok(0)
}

fn explain(
    wrong: &clap::Error,
    command: &mut Command,
    words: &[String],
) -> (String, u8) {
    let name = command.get_bin_name().unwrap_or("skiff").to_owned();
    let (first, code) = match sentence(wrong, command, words) {
        Wrong::Flag(text) => (text, 125),
        Wrong::Words(text) => (format!("skiff: {text}"), 1),
    };
    let usage = command.render_usage().to_string();
    let usage = match wrong.kind() {
        // What it would take is in the help, with all the verbs.
        ErrorKind::InvalidSubcommand if name == "skiff" => String::new(),
        ErrorKind::InvalidSubcommand => format!("Usage:  {name}\n\n"),
        _ => {
            let usage = usage.trim_start_matches("Usage:").trim();
            format!("Usage:  {}\n\n", as_docker(usage))
        }
    };
    let text =
        format!("{first}\n\n{usage}Run '{name} --help' for more information");
    (text, code)
}

/// clap's way to write what a command takes, in docker's way.
fn as_docker(usage: &str) -> String {
    let words = usage.split(' ').map(|word| {
        let (one, many) = match word.strip_suffix("...") {
            Some(one) => (one, true),
            None => (word, false),
        };
        let required =
            one.strip_prefix('<').and_then(|it| it.strip_suffix('>'));
        let optional =
            one.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        match (required, optional, many) {
            (Some("COMMAND"), _, true) => "COMMAND [ARG...]".to_owned(),
            (_, Some("COMMAND"), true) => "[COMMAND] [ARG...]".to_owned(),
            (Some(name), _, true) => format!("{name} [{name}...]"),
            (_, Some(name), true) => format!("[{name}...]"),
            (Some(name), _, false) => name.to_owned(),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Which half of a command line is wrong.
enum Wrong {
    Flag(String),
    Words(String),
}

fn sentence(wrong: &clap::Error, command: &Command, words: &[String]) -> Wrong {
    let arg = text(wrong, ContextKind::InvalidArg);
    let value = text(wrong, ContextKind::InvalidValue);
    match wrong.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = command.get_bin_name().unwrap_or("skiff");
            let word = text(wrong, ContextKind::InvalidSubcommand);
            Wrong::Words(format!("unknown command: {name} {word}"))
        }
        ErrorKind::UnknownArgument if arg.starts_with("--") => {
            let flag = arg.split('=').next().unwrap_or_default();
            Wrong::Flag(format!("unknown flag: {flag}"))
        }
        ErrorKind::UnknownArgument if arg.starts_with('-') => {
            let letter = arg.trim_start_matches('-');
            let rest = shorthands(words)
                .find_map(|it| it.find(letter).map(|at| &it[at..]))
                .unwrap_or(letter);
            Wrong::Flag(format!(
                "unknown shorthand flag: '{letter}' in -{rest}"
            ))
        }
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues => {
            Wrong::Words(arguments(command))
        }
        ErrorKind::MissingRequiredArgument if !arg.starts_with('-') => {
            Wrong::Words(arguments(command))
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            let flag = arg.split(' ').next().unwrap_or_default();
            let flag = match shorthands(words).last() {
                Some(letters)
                    if words.last().is_some_and(|it| is_shorthand(it)) =>
                {
                    let letter = letters.chars().next_back();
                    let letter = letter.unwrap_or_default();
                    format!("'{letter}' in -{letter}")
                }
                _ => flag.to_owned(),
            };
            Wrong::Flag(format!("flag needs an argument: {flag}"))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let flag = both_names(command, &arg);
            let reason = reason(wrong, &value);
            Wrong::Flag(format!(
                "invalid argument {value:?} for {flag:?} flag: {reason}"
            ))
        }
        _ => Wrong::Flag(first_line(wrong)),
    }
}

fn is_shorthand(word: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--")
}

/// The letters of `-a`, `-it`.
fn shorthands(words: &[String]) -> impl Iterator<Item = &str> {
    words.iter().filter(|it| is_shorthand(it)).map(|it| &it[1..])
}

/// A part of what clap knows about the mistake.
fn text(wrong: &clap::Error, kind: ContextKind) -> String {
    match wrong.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(all)) => all.join(", "),
        _ => String::new(),
    }
}

/// clap's own words, without the word in front.
fn first_line(wrong: &clap::Error) -> String {
    let all = wrong.to_string();
    let line = all.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

fn reason(wrong: &clap::Error, value: &str) -> String {
    let choice = text(wrong, ContextKind::ValidValue);
    let syntax = |parser: &str| {
        format!("strconv.{parser}: parsing {value:?}: invalid syntax")
    };
    match wrong.source() {
        Some(source) if source.is::<ParseIntError>() => syntax("ParseInt"),
        Some(source) => source.to_string(),
        None if choice == "true, false" => syntax("ParseBool"),
        None if choice.is_empty() => first_line(wrong),
        None => format!("must be one of {choice}"),
    }
}

/// `--memory <BYTES>` as `-m, --memory`.
fn both_names(command: &Command, arg: &str) -> String {
    let name = arg.split([' ', '[']).next().unwrap_or_default();
    let long = name.trim_start_matches("--");
    let found = command.get_arguments().find(|it| it.get_long() == Some(long));
    match found.and_then(Arg::get_short) {
        Some(short) => format!("-{short}, {name}"),
        None => name.to_owned(),
    }
}

/// How many arguments a command wants.
fn arguments(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or("skiff");
    let all: Vec<&Arg> = command.get_positionals().collect();
    let least = all.iter().filter(|it| it.is_required_set()).count();
    let open = all.iter().any(|it| {
        it.get_num_args().is_some_and(|range| range.max_values() > 1)
    });
    let plural = |n: usize| match n {
        1 => "1 argument".to_owned(),
        n => format!("{n} arguments"),
    };
    let wanted = if all.is_empty() {
        "accepts no arguments".to_owned()
    } else if !open && least == all.len() {
        format!("requires {}", plural(least))
    } else if open {
        format!("requires at least {}", plural(least))
    } else if least == 0 {
        format!("requires at most {}", plural(all.len()))
    } else {
        let most = plural(all.len());
        format!("requires at least {least} and at most {most}")
    };
    format!("'{name}' {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said about a command line, and the exit code.
    fn said(line: &str) -> String {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let wrong = pflag::parse(&words).unwrap_err();
        let mut command = spoken(pflag::command(), &words[1..]);
        let (text, code) = explain(&wrong, &mut command, &words[1..]);
        format!("{text}\n? {code}")
    }

    #[test]
    fn mistakes_are_explained_in_dockers_words() {
        let lines = [
            "skiff run",
            "skiff run --nosuch busybox",
            "skiff run -Z busybox",
            "skiff run --memory abc busybox",
            "skiff run --publish",
            "skiff run -p",
            "skiff ps -aZq",
            "skiff ps -n x",
            "skiff attach --sig-proxy=x y",
            "skiff commit",
            "skiff ps extra",
            "skiff rm",
            "skiff tag busybox",
            "skiff nosuch",
            "skiff image nosuch",
        ];
        insta::assert_snapshot!(lines.map(said).join("\n\n"));
    }
}
