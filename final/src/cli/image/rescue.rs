//! `build --on-error=shell`: a look around where a RUN has failed.

use std::io::IsTerminal;

use clap::{Parser, ValueEnum};
use cli_api::client::Payload;
use cli_api::id;
use http::Method;

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

/// Opens the shell in the image of the failed step and removes the image
/// afterwards; without a terminal it stays, and how to open it is said.
pub(super) async fn look(context: &Context, image: &str) -> anyhow::Result<()> {
    let short = id::short(image);
    let terminal =
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !terminal {
        eprintln!(
            "skiff: --on-error=shell: there is no terminal here. What the \
             failed step has left is image {short}:\n  skiff run -it --rm \
             --entrypoint /bin/sh {short}\n  skiff rmi {short}"
        );
        return Ok(());
    }
    eprintln!("skiff: a shell where the step has failed; exit to go on");
    let words = ["run", "-it", "--rm", "--entrypoint", "/bin/sh", image];
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
