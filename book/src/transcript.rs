//! The console blocks of the chapters, run as sessions.
//!
//! All blocks of a chapter are one session. A block below a comment
//! `<!-- not run: REASON -->` is left out; the tests hold the number of those
//! down.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ::transcript::sandbox::{self, Network};
use ::transcript::{Session, Statuses, cargo};
use anyhow::{Context, Result, bail};

use crate::lint;

const NOT_RUN: &str = "<!-- not run: ";

/// Run before a chapter's own commands: what the text has told the reader
/// to put on the path.
const BEFORE: &str = r#"
export PATH="$PWD/target/debug:$PATH" CARGO_NET_OFFLINE=true
export CARGO_TERM_COLOR=never CARGO_TERM_QUIET=true
"#;

/// Run after a chapter's own commands: only the images that were there before
/// stay, or a second run would find the first one's build cache.
const AFTER: &str = r#"
if [ -S /run/skiff.sock ]; then
  {
    skiff rm -f -v $(skiff ps -aq)
    skiff volume prune -af
    skiff rmi -f $(skiff images --format '{{.Repository}}:{{.Tag}}' |
      grep -vE '^(busybox|debian|nginx|<none>):')
    skiff image prune -f
    skiff builder prune -af
  } >/dev/null 2>&1
fi
true
"#;

/// Runs the sessions of every chapter whose file name contains `only`.
pub(crate) fn run_all(
    root: &Path,
    only: Option<&str>,
    bless: bool,
) -> Result<()> {
    if let Some(reason) = sandbox::missing() {
        println!("SKIP: transcripts: {reason}");
        return Ok(());
    }
    let mut failures = Vec::new();
    for file in lint::chapters(&root.join("book/text"))? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        match run_chapter(root, &file, bless) {
            Ok(0) => {}
            Ok(count) => println!("{name}: {count} commands ran as printed"),
            Err(error) => failures.push(format!("{name}: {error:#}")),
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    bail!("the text and this machine differ\n\n{}", failures.join("\n"))
}

/// The commands run what is built from this checkout, not what an earlier
/// build left behind.
pub(crate) fn build(root: &Path, script: &str) -> Result<()> {
    // Each by itself, as `cargo run -p` does: built together, their libraries
    // would get the features of all and be built again for each.
    for package in packages(script) {
        let built = cargo::command()
            .args(["build", "--quiet", "--bins", "-p", package])
            .current_dir(root)
            .status()
            .context("run cargo build")?;
        if !built.success() {
            bail!("{package}, which the chapter runs, does not build: {built}");
        }
    }
    Ok(())
}

/// The packages whose programs a script runs.
fn packages(script: &str) -> BTreeSet<&str> {
    let words: Vec<&str> = script.split_whitespace().collect();
    let named = words.windows(2).filter(|pair| pair[0] == "-p");
    let mut packages: BTreeSet<&str> = named
        .map(|pair| pair[1])
        .filter(|name| name.starts_with("step-"))
        .collect();
    if words.contains(&"skiff") {
        packages.insert("final");
    }
    packages
}

/// What the images are made of comes over the network, once; the chapters
/// themselves run without one.
fn fetch_images(root: &Path) -> Result<()> {
    // This daemon works in the machine's own network. One that is told to
    // end takes its bridge and its firewall with it; one that dies with the
    // sandbox leaves them to the next.
    let script = "skiff daemon & daemon=$!\n\
                  until [ -S /run/skiff.sock ]; do\n\
                  kill -0 $daemon || exit; sleep 0.1; done\n\
                  for i in busybox debian nginx; do\n\
                  skiff image inspect $i >/dev/null 2>&1 || skiff pull -q $i\n\
                  done; skiff images; kill $daemon; wait $daemon";
    let printed = run_in_sandbox(root, script, Network::Host)?;
    for image in ["busybox", "debian", "nginx"] {
        if !printed.lines().any(|line| line.starts_with(image)) {
            bail!("no image `{image}` for the transcripts:\n{printed}");
        }
    }
    Ok(())
}

/// The images are kept from chapter to chapter below `target`.
fn run_in_sandbox(
    root: &Path,
    script: &str,
    network: Network,
) -> Result<String> {
    let script = format!("{BEFORE}{script}\n{AFTER}");
    let data = root.join("target/book-images");
    sandbox::run(root, &script, network, Some(&data))
}

fn run_chapter(root: &Path, file: &Path, bless: bool) -> Result<usize> {
    let text = fs::read_to_string(file)?;
    let lines = console_lines(&text);
    let session =
        Session::new(&text, Statuses::Hidden, |line| lines.contains(&line));
    if session.is_empty() {
        return Ok(0);
    }
    let script = session.script();
    build(root, &script)?;
    if packages(&script).contains("final") {
        fetch_images(root)?;
    }
    let printed = run_in_sandbox(root, &script, Network::Own)?;
    let comparison = session.compare(&printed)?;
    if comparison.is_same() {
        return Ok(session.len());
    }
    if bless {
        fs::write(file, comparison.blessed())
            .with_context(|| format!("write {}", file.display()))?;
        return Ok(session.len());
    }
    bail!("\n{}", comparison.report())
}

/// The numbers of the lines inside console blocks that are to be run.
fn console_lines(text: &str) -> BTreeSet<usize> {
    let mut lines = BTreeSet::new();
    let (mut inside, mut skip) = (false, false);
    for (number, line) in text.lines().enumerate() {
        if line.starts_with(NOT_RUN) {
            skip = true;
        } else if !inside && line.trim_end() == "```console" {
            inside = true;
        } else if inside && line.trim_end() == "```" {
            (inside, skip) = (false, false);
        } else if inside && !skip {
            lines.insert(number);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_with_a_reason_above_it_is_left_out() {
        let text = "a\n```console\n$ b\n```\n\n<!-- not run: c -->\n\
                    ```console\n$ d\n```\n";
        assert_eq!(console_lines(text), BTreeSet::from([2]));
    }

    #[test]
    fn what_a_session_runs_is_built_before_it() {
        let script = "cargo run -q -p step-01-x -- ps\nps -p 3\nskiff ps\n";
        assert_eq!(packages(script), BTreeSet::from(["final", "step-01-x"]));
    }

    #[test]
    fn the_number_of_blocks_that_are_not_run_may_only_shrink() {
        let root = crate::workspace_root();
        let mut reasons = Vec::new();
        for file in lint::chapters(&root.join("book/text")).unwrap() {
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().filter(|it| it.starts_with(NOT_RUN));
            reasons.extend(lines.map(str::to_owned));
        }
        assert!(reasons.is_empty(), "{reasons:#?}");
    }

    #[test]
    fn every_console_block_prints_on_this_machine_what_the_text_shows() {
        let _building = crate::tests::building();
        run_all(&crate::workspace_root(), None, false).unwrap();
    }
}
