//! Exit codes and messages.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use cli_api::Error;

/// Ends the program with this code, after this message.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// Docker's: 1 for most, 125 to 127 for `run`, or the container's own.
    pub(crate) code: u8,
    /// May be empty.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    /// Everything has been said.
    pub(crate) fn silent(code: u8) -> Failure {
        Failure::new(code, "")
    }
}

/// What the daemon said, in front of which Docker puts its name.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Error>() {
        Some(it @ Error::Api { .. }) => {
            format!("Error response from daemon: {it}")
        }
        _ => format!("{error:#}"),
    }
}

/// Says why a command failed, and with which code it ends.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let (code, text) = match error.downcast_ref::<Failure>() {
        Some(it) => (it.code, it.message.clone()),
        None => (1, sentence(error)),
    };
    if !text.is_empty() {
        eprintln!("{}", in_words(&text));
    }
    ExitCode::from(code)
}

/// Takes out the numbers that Rust puts behind the kernel's errors, as in
/// `No such file or directory (os error 2)`.
fn in_words(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|it: char| it.is_ascii_digit());
        words.push_str(rest.strip_prefix(')').unwrap_or(rest));
    }
    words
}

/// Go's words for a file that cannot be opened, which scripts look for.
pub(crate) fn cannot_open(path: &Path, cause: &io::Error) -> anyhow::Error {
    anyhow::anyhow!("open {}: {}", path.display(), errno(cause))
}

/// `no such file or directory`: what is wrong, without its number.
pub(crate) fn errno(cause: &io::Error) -> String {
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|it| it.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Does something for each name. Says at once what fails, goes on, and
/// fails at the end.
pub(crate) async fn each(
    names: &[String],
    work: impl AsyncFn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut failed = false;
    for name in names {
        if let Err(why) = work(name).await {
            eprintln!("{}", in_words(&sentence(&why)));
            failed = true;
        }
    }
    if failed { Err(Failure::silent(1).into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_kernel_are_told_without_their_numbers() {
        let missing = io::Error::from_raw_os_error(2);
        let denied = io::Error::from_raw_os_error(13);
        let text = in_words(&format!("a: {missing}, b: {denied}: c"));
        let want = "a: No such file or directory, b: Permission denied: c";
        assert_eq!(text, want);
        assert_eq!(
            in_words("exit code 2 (see above)"),
            "exit code 2 (see above)"
        );
    }
}
