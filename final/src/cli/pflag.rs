//! Words read as the docker command reads them, where clap is stricter.
//!
//! docker's parser takes `--rm=true` for `--rm`, so that scripts can put a
//! variable there, and takes what follows a flag for its value, whatever it
//! begins with: `--name -x`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use super::Cli;

/// Parses a command line, the program's name first.
pub(super) fn parse(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Cli, clap::Error> {
    let mut command = command();
    let mut matches = command.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches_mut(&mut matches)
        .map_err(|wrong| wrong.format(&mut command))
}

/// The commands as they are parsed. Help is printed of [`Cli::command`],
/// where a flag is no more than a flag.
pub(super) fn command() -> Command {
    relaxed(Cli::command())
}

fn relaxed(command: Command) -> Command {
    command.mut_args(argument).mut_subcommands(relaxed)
}

fn argument(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(boolean),
        // `--sig-proxy`, which is on unless it is said to be off.
        ArgAction::Set if arg.get_default_values() == ["true"] => {
            arg.value_parser(boolean)
        }
        ArgAction::Set | ArgAction::Append
            if !arg.is_positional() && !arg.is_require_equals_set() =>
        {
            arg.allow_hyphen_values(true)
        }
        _ => arg,
    }
}

/// As Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => {
            Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Command as Verb;
    use super::super::container;
    use super::*;

    fn body(line: &str) -> serde_json::Value {
        let cli = parse(line.split(' ')).unwrap();
        let Verb::Container(container::Verb::Create(args)) = cli.command else {
            panic!("{line}");
        };
        args.body().unwrap()
    }

    #[test]
    fn a_flag_may_say_whether_it_is_meant() {
        for (line, on) in [
            ("skiff create --rm=true x", true),
            ("skiff create --rm x", true),
            ("skiff create --rm=false x", false),
            ("skiff create --rm --rm=0 x", false),
            ("skiff create x --rm=true", false),
        ] {
            assert_eq!(body(line)["HostConfig"]["AutoRemove"], on, "{line}");
        }
        let both = body("skiff create -it x");
        assert_eq!(
            (&both["Tty"], &both["OpenStdin"]),
            (&true.into(), &true.into())
        );
        assert_eq!(body("skiff create -t=false x")["Tty"], false);
        let run = ["skiff", "run", "--sig-proxy=0", "x"];
        assert!(parse(run).is_ok(), "a flag that is on by default");
        let wrong = parse(["skiff", "create", "--rm=x", "y"]).unwrap_err();
        assert!(wrong.to_string().contains("strconv.ParseBool"), "{wrong}");
    }

    #[test]
    fn what_follows_a_flag_is_its_value() {
        let made = body("skiff create -e -A=b --label --rm x");
        assert_eq!(made["Env"], serde_json::json!(["-A=b"]));
        assert_eq!(made["Labels"], serde_json::json!({ "--rm": "" }));
    }

    #[test]
    fn every_command_can_be_parsed_like_that() {
        command().debug_assert();
    }
}
