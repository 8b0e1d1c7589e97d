//! What was mistyped, in the docker command's words and with its exit codes:
//! 125 for a flag, 1 for anything else.

use std::error::Error;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

/// Prints help that was asked for, or says what is wrong with the words.
pub(crate) fn report(
    wrong: &clap::Error,
    root: Command,
    words: impl Iterator<Item = String>,
) -> ExitCode {
    match wrong.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Printing can only fail if nobody reads it.
            let _ = wrong.print();
            ExitCode::SUCCESS
        }
        _ => {
            let (text, code) = explain(wrong, &mut spoken(root, words));
            eprintln!("{text}");
            ExitCode::from(code)
        }
    }
}

/// The command that the words lead to.
fn spoken(mut root: Command, words: impl Iterator<Item = String>) -> Command {
    root.build();
    let mut at = root;
    for word in words {
        if let Some(below) = at.find_subcommand(&word) {
            at = below.clone();
        }
    }
    at
}

fn explain(wrong: &clap::Error, command: &mut Command) -> (String, u8) {
    let name = command.get_bin_name().unwrap_or("skiff").to_owned();
    let said = sentence(wrong, command);
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let (first, code) = match said {
        Wrong::Flag(text) => (text, 125),
        Wrong::Words(text) => (format!("skiff: {text}"), 1),
    };
    let text = format!(
        "{first}\n\nUsage:  {usage}\n\nRun '{name} --help' for more \
         information"
    );
    (text, code)
}

/// Which half of a command line is wrong.
enum Wrong {
    Flag(String),
    Words(String),
}

fn sentence(wrong: &clap::Error, command: &Command) -> Wrong {
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
            Wrong::Flag(format!("unknown shorthand flag: '{letter}' in {arg}"))
        }
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues => {
            Wrong::Words(arguments(command, Count::TooMany))
        }
        ErrorKind::MissingRequiredArgument if !arg.starts_with('-') => {
            Wrong::Words(arguments(command, Count::TooFew))
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            let flag = arg.split(' ').next().unwrap_or_default();
            Wrong::Flag(format!("flag needs an argument: {flag}"))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let flag = both_names(command, &arg);
            let reason = reason(wrong);
            Wrong::Flag(format!(
                "invalid argument {value:?} for {flag:?} flag: {reason}"
            ))
        }
        _ => Wrong::Flag(first_line(wrong)),
    }
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

fn reason(wrong: &clap::Error) -> String {
    let choice = text(wrong, ContextKind::ValidValue);
    match wrong.source() {
        Some(source) => source.to_string(),
        None if choice.is_empty() => first_line(wrong),
        None => format!("must be one of {choice}"),
    }
}

/// `--memory <BYTES>` as `-m, --memory`.
fn both_names(command: &Command, arg: &str) -> String {
    let name = arg.split(' ').next().unwrap_or_default();
    let long = name.trim_start_matches("--");
    let found = command.get_arguments().find(|it| it.get_long() == Some(long));
    match found.and_then(Arg::get_short) {
        Some(short) => format!("-{short}, {name}"),
        None => name.to_owned(),
    }
}

/// In which direction the number of arguments is wrong.
#[derive(PartialEq)]
enum Count {
    TooFew,
    TooMany,
}

/// How many arguments a command wants.
fn arguments(command: &Command, count: Count) -> String {
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
    } else if count == Count::TooFew {
        format!("requires at least {}", plural(least))
    } else {
        format!("requires at most {}", plural(all.len()))
    };
    format!("'{name}' {wanted}")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::super::Cli;
    use super::*;

    /// What is said about a command line, and the exit code.
    fn said(line: &str) -> String {
        let words = || line.split(' ').map(str::to_owned);
        let wrong = Cli::try_parse_from(words()).unwrap_err();
        let mut command = spoken(Cli::command(), words().skip(1));
        let (text, code) = explain(&wrong, &mut command);
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
            "skiff ps extra",
            "skiff rm",
            "skiff tag busybox",
            "skiff nosuch",
            "skiff image nosuch",
        ];
        insta::assert_snapshot!(lines.map(said).join("\n\n"));
    }
}
