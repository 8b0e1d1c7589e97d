//! Completions and man pages, made from the definitions of the commands.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Print completions for a shell
#[derive(Debug, Clone, Args)]
pub(crate) struct CompletionArgs {
    /// bash, zsh, fish, elvish or powershell
    shell: Shell,
}

/// Write a man page for each command
#[derive(Debug, Clone, Args)]
pub(crate) struct ManArgs {
    /// The directory to write them to
    dir: PathBuf,
}

/// `completion`: source the output from the shell's start-up file.
pub(crate) fn completion(args: &CompletionArgs, mut all: clap::Command) {
    let mut out = std::io::stdout();
    clap_complete::generate(args.shell, &mut all, "skiff", &mut out);
}

/// `man`.
///
/// # Errors
/// If the directory cannot be written to.
pub(crate) fn man(args: &ManArgs, all: clap::Command) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.dir)?;
    clap_mangen::generate_to(all, &args.dir)?;
    Ok(())
}
