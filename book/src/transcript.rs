//! Transcripts: the console blocks of a chapter, run as one session.
//!
//! In a `console` block a line that begins with `$ ` is a command, one that
//! begins with `> ` continues it, and everything else is what it printed. All
//! blocks of a chapter run in order in one shell, in a sandbox of their own
//! ([`crate::sandbox`]). A block below a comment `<!-- not run: REASON -->` is
//! left out; the tests hold their number down.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use similar::TextDiff;

use crate::sandbox::{self, Network};
use crate::{lint, redact};

const NOT_RUN: &str = "<!-- not run: ";

/// Stands alone on a line between the outputs of two commands. The record
/// separator of ASCII is nothing that a program here prints by itself.
const MARK: char = '\u{1e}';

/// One command of a console block and what the text says it prints.
#[derive(Debug, PartialEq)]
struct Step {
    /// Lines of the chapter that hold the output: first, and one past last.
    output: std::ops::Range<usize>,
    command: String,
    shown: String,
}

/// Runs the transcripts of every chapter whose file name contains `only`.
pub(crate) fn run_all(
    root: &Path,
    only: Option<&str>,
    bless: bool,
) -> Result<()> {
    if let Some(reason) = sandbox::missing() {
        println!("SKIP: transcripts: {reason}");
        return Ok(());
    }
    build_binaries(root)?;
    fetch_images(root)?;
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
    match failures.is_empty() {
        true => Ok(()),
        false => {
            bail!("the text and this machine differ\n\n{}", failures.join("\n"))
        }
    }
}

/// The commands run what is built from this checkout, not what an earlier
/// build left behind.
fn build_binaries(root: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bins"])
        .current_dir(root)
        .status()
        .context("run cargo build")?;
    match built.success() {
        true => Ok(()),
        false => bail!("the workspace does not build: {built}"),
    }
}

/// What the images are made of comes over the network, once; the chapters
/// themselves run without one.
fn fetch_images(root: &Path) -> Result<()> {
    let script = "for i in busybox debian nginx; do\n\
                  skiff image inspect $i >/dev/null 2>&1 || skiff pull -q $i\n\
                  done; skiff images";
    let printed = sandbox::run(root, script, Network::Host)?;
    for image in ["busybox", "debian", "nginx"] {
        if !printed.lines().any(|line| line.starts_with(image)) {
            bail!("no image `{image}` for the transcripts:\n{printed}");
        }
    }
    Ok(())
}

fn run_chapter(root: &Path, file: &Path, bless: bool) -> Result<usize> {
    let text = fs::read_to_string(file)?;
    let steps = steps(&text);
    if steps.is_empty() {
        return Ok(0);
    }
    let printed = sandbox::run(root, &script(&steps), Network::Own)?;
    let printed = outputs(&printed, steps.len())?;
    let differing: Vec<_> = steps
        .iter()
        .zip(&printed)
        .filter(|(step, printed)| !redact::matches(&step.shown, printed))
        .collect();
    if differing.is_empty() {
        return Ok(steps.len());
    }
    if bless {
        fs::write(file, blessed(&text, &differing))
            .with_context(|| format!("write {}", file.display()))?;
        return Ok(steps.len());
    }
    let reports = differing.iter().map(|(step, printed)| {
        let (shown, printed) =
            (redact::redact(&step.shown), redact::redact(printed));
        let diff = TextDiff::from_lines(&shown, &printed);
        let diff = diff.unified_diff().header("text", "machine").to_string();
        format!("$ {}\n{diff}", step.command.trim_end())
    });
    bail!("\n{}", reports.collect::<Vec<_>>().join("\n"))
}

/// The commands of a chapter in order. Blocks that are not run are left out.
fn steps(text: &str) -> Vec<Step> {
    let lines: Vec<&str> = text.lines().collect();
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut skip, mut fresh) = (false, false, false);
    for (number, line) in lines.iter().enumerate() {
        if line.starts_with(NOT_RUN) {
            skip = true;
        } else if !inside && line.trim_end() == "```console" {
            (inside, fresh) = (true, false);
        } else if inside && line.trim_end() == "```" {
            (inside, skip) = (false, false);
        } else if !inside || skip {
        } else if let Some(command) = line.strip_prefix("$ ") {
            let output = number + 1..number + 1;
            let command = format!("{command}\n");
            steps.push(Step { output, command, shown: String::new() });
            fresh = true;
        } else if let Some(step) = steps.last_mut() {
            step.output.end = number + 1;
            match line.strip_prefix("> ").filter(|_| fresh) {
                Some(more) => {
                    step.command.push_str(&format!("{more}\n"));
                    step.output.start = number + 1;
                }
                None => {
                    fresh = false;
                    step.shown.push_str(&format!("{line}\n"));
                }
            }
        }
    }
    steps
}

/// How many blocks of the text are not run, and why.
#[cfg(test)]
fn not_run(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix(NOT_RUN)).collect()
}

fn script(steps: &[Step]) -> String {
    let mark = |step: &Step| format!("echo {MARK}\n{}", step.command);
    let body: String = steps.iter().map(mark).collect();
    format!("{body}echo {MARK}\n")
}

/// Cuts what the whole script printed into what each command printed.
fn outputs(printed: &str, steps: usize) -> Result<Vec<String>> {
    let mark = format!("{MARK}\n");
    let mut parts = printed.split(&mark);
    let before = parts.next().unwrap_or_default();
    let parts: Vec<String> = parts.map(str::to_owned).collect();
    if parts.len() != steps + 1 || !before.is_empty() {
        bail!(
            "{} of {steps} commands ran; the shell printed:\n{printed}",
            parts.len().saturating_sub(1)
        );
    }
    Ok(parts[..steps].to_vec())
}

/// The chapter with what was printed in place of what it showed.
fn blessed(text: &str, differing: &[(&Step, &String)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (step, printed) in differing.iter().rev() {
        let printed = printed.lines().map(|line| line.trim_end().to_owned());
        lines.splice(step.output.clone(), printed);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAPTER: &str = "\
text

```console
$ cat <<end
> one
> end
one
$ true
```

<!-- not run: needs the sea -->
```console
$ sail
```
";

    #[test]
    fn commands_continuations_and_outputs_are_told_apart() {
        let steps = steps(CHAPTER);
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].command, "cat <<end\none\nend\n");
        assert_eq!(steps[0].shown, "one\n");
        assert_eq!(steps[1].shown, "");
        assert_eq!(not_run(CHAPTER), ["needs the sea -->"]);
    }

    #[test]
    fn blessing_replaces_what_was_shown_and_nothing_else() {
        let steps = steps(CHAPTER);
        let (two, three) = ("two\n".to_owned(), "three\n".to_owned());
        let differing = [(&steps[0], &two), (&steps[1], &three)];
        let text = blessed(CHAPTER, &differing);
        assert!(text.contains("> end\ntwo\n$ true\nthree\n```"), "{text}");
    }

    #[test]
    fn a_session_that_breaks_off_is_reported_with_what_it_printed() {
        let error = outputs("\u{1e}\nhi\n", 2).unwrap_err().to_string();
        assert!(error.starts_with("0 of 2 commands ran"), "{error}");
    }

    #[test]
    fn the_number_of_blocks_that_are_not_run_may_only_shrink() {
        let root = crate::workspace_root();
        let mut reasons = Vec::new();
        for file in lint::chapters(&root.join("book/text")).unwrap() {
            let text = fs::read_to_string(&file).unwrap();
            reasons.extend(not_run(&text).into_iter().map(str::to_owned));
        }
        assert!(reasons.len() <= 4, "{reasons:#?}");
    }

    #[test]
    fn every_console_block_prints_on_this_machine_what_the_text_shows() {
        run_all(&crate::workspace_root(), None, false).unwrap();
    }
}
