//! `build --on-error=shell`: a look around where a RUN has failed.

use std::io::IsTerminal;

use clap::{Parser, ValueEnum};
use cli_api::client::Payload;
use cli_api::id;
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::container::RunArgs;
use crate::cli::context::Context;

/// What to do when a RUN fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OnError {
    /// Open a shell in the file system that the RUN has left
    Shell,
}

/// The words of a `run`, whose -h is the host name.
#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
struct Words {
    #[command(flatten)]
    run: RunArgs,
}

impl OnError {
    /// The parameter of the build. Where a shell can be opened, the build
    /// holds on for it, or the mounts of the RUN would be gone.
    pub(super) fn request(self) -> &'static str {
        match (self, has_terminal()) {
            (OnError::Shell, true) => "held",
            (OnError::Shell, false) => "1",
        }
    }
}

fn has_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// What the engine says of a RUN that failed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Failed {
    #[serde(rename = "FailedImage")]
    image: String,
    /// As for `--mount`.
    mounts: Vec<String>,
}

impl Failed {
    pub(super) fn of(aux: &Value) -> Option<Failed> {
        Failed::deserialize(aux).ok()
    }
}

/// Opens the shell in the image of the failed step, with what was mounted
/// there, and removes the image afterwards, for which the build waits.
/// Without a terminal it stays, and how to open it is said.
pub(super) async fn look(
    context: &Context,
    failed: &Failed,
) -> anyhow::Result<()> {
    let image = failed.image.as_str();
    let short = id::short(image);
    if !has_terminal() {
        eprintln!(
            "skiff: --on-error=shell: there is no terminal here. What the \
             failed step has left is image {short}:\n  skiff run -it --rm \
             --entrypoint /bin/sh {short}\n  skiff rmi {short}"
        );
        return Ok(());
    }
    eprintln!("skiff: a shell where the step has failed; exit to go on");
    let mut words = vec!["run", "-it", "--rm", "--entrypoint", "/bin/sh"];
    words.extend(failed.mounts.iter().flat_map(|it| ["--mount", it]));
    words.push(image);
    let words = Words::try_parse_from(words)?;
    // How the shell ends is of no interest; that it did not begin is.
    let opened = crate::cli::container::run(context, words.run).await;
    if let Err(error) = opened {
        eprintln!("{error:#}");
    }
    let path = format!("/images/{}?force=1", crate::cli::query::segment(image));
    context.client.send(Method::DELETE, &path, Payload::none()).await?;
    Ok(())
}
