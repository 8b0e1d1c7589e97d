//! Compiling a learner's file together with the check of its exercise.
//!
//! rustc is called directly, with the libraries that Cargo has already built
//! for this tool: that takes a third of a second, works without a network,
//! and puts nothing of the learner's into the workspace.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use ::transcript::cargo;
use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::exercise::Exercise;
use super::files;

/// The crates that a learner's file may use.
const CRATES: [&str; 5] = ["exercises", "flate2", "libc", "rustix", "sha2"];

/// How to call rustc.
#[derive(Debug)]
pub(crate) struct Compiler {
    root: PathBuf,
    /// In an order of their own: Cargo tells of them in another one each
    /// time, and a program made of them is found again by a hash.
    libraries: BTreeSet<(String, PathBuf)>,
}

/// A program, or what rustc said.
pub(crate) type Compiled = Result<PathBuf, String>;

impl Compiler {
    /// Asks Cargo where the libraries are. They have been built with this
    /// tool; if it was moved they are built now.
    pub(crate) fn find(root: &Path) -> Result<Compiler> {
        let output = cargo::command()
            .args(["build", "--quiet", "--offline", "-p", "book"])
            .args(["--message-format", "json"])
            .current_dir(root)
            .output()
            .context("run cargo to find the libraries")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("the libraries of the exercises do not build:\n{said}");
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        let libraries: BTreeSet<_> =
            messages.lines().filter_map(library).collect();
        for name in CRATES {
            if !libraries.iter().any(|(found, _)| found == name) {
                bail!("cargo has built no library `{name}`");
            }
        }
        Ok(Compiler { root: root.to_owned(), libraries })
    }

    /// Compiles `learner` for an exercise; a program that was made of the
    /// same texts before is used again.
    pub(crate) fn compile(
        &self,
        exercise: &Exercise,
        learner: &Path,
    ) -> Result<Compiled> {
        let check = exercise.dir.join("check.rs");
        let mut hasher = DefaultHasher::new();
        fs::read(learner)
            .with_context(|| format!("read {}", learner.display()))?
            .hash(&mut hasher);
        learner.hash(&mut hasher);
        fs::read(&check)?.hash(&mut hasher);
        for (_, library) in &self.libraries {
            library.hash(&mut hasher);
            fs::metadata(library)?.modified()?.hash(&mut hasher);
        }
        let dir = self.root.join("target/exercises");
        files::make_dir(&self.root, &dir)?;
        let name = format!("{}-{:016x}", exercise.id, hasher.finish());
        let program = dir.join(&name);
        if program.exists() {
            return Ok(Ok(program));
        }
        let main = dir.join(format!("{name}.rs"));
        fs::write(
            &main,
            format!(
                "#[path = {learner:?}]\nmod learner;\n#[path = {check:?}]\n\
                 mod check;\nfn main() -> std::process::ExitCode {{\n    \
                 exercises::run(check::check)\n}}\n"
            ),
        )
        .with_context(|| format!("write {}", main.display()))?;
        let unfinished = dir.join(format!("{name}.part"));
        let said = self.rustc(&main, &unfinished)?;
        fs::remove_file(&main)?;
        if let Some(said) = said {
            return Ok(Err(said));
        }
        fs::rename(&unfinished, &program)?;
        Ok(Ok(program))
    }

    /// `None` if all went well, otherwise the errors.
    fn rustc(&self, main: &Path, program: &Path) -> Result<Option<String>> {
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let mut command = Command::new(rustc);
        command
            .args(["--edition", "2024", "--crate-type", "bin"])
            // A half-finished file has unused names, and they are no news.
            .args(["--cap-lints", "allow", "--crate-name", "exercise"])
            .args(["-C", "debuginfo=0", "-C", "strip=symbols"])
            .arg("--remap-path-prefix")
            .arg(format!("{}/=", self.root.display()))
            .arg("-o")
            .arg(program)
            .arg(main)
            .current_dir(&self.root);
        let mut dirs = BTreeSet::new();
        for (name, path) in &self.libraries {
            dirs.extend(path.parent());
            if CRATES.contains(&name.as_str()) {
                command
                    .arg("--extern")
                    .arg(format!("{name}={}", path.display()));
            }
        }
        for dir in dirs {
            command.arg("-L").arg(format!("dependency={}", dir.display()));
        }
        let output = command.output().context("run rustc")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((!output.status.success()).then_some(said))
    }
}

/// The name and the file of a library, from a line of Cargo's messages.
fn library(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    // Build scripts have copies of some libraries for themselves, which Cargo
    // compiles without debug information; they do not fit to ours.
    let debug = &message["profile"]["debuginfo"];
    if message["reason"] != "compiler-artifact"
        || debug.is_null()
        || *debug == 0
    {
        return None;
    }
    let name = message["target"]["name"].as_str()?.replace('-', "_");
    let files = message["filenames"].as_array()?;
    let rlib = files.iter().filter_map(Value::as_str);
    let rlib = rlib.into_iter().find(|file| file.ends_with(".rlib"))?;
    Some((name, rlib.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workshop::exercise;

    #[test]
    fn what_was_compiled_before_is_found_again() {
        let _building = crate::tests::building();
        let root = crate::workspace_root();
        let all = exercise::all(&root).unwrap();
        let solution = all[0].dir.join("solution.rs");
        let compile = || {
            let compiler = Compiler::find(&root).unwrap();
            compiler.compile(&all[0], &solution).unwrap().unwrap()
        };
        let program = compile();
        for _ in 0..3 {
            assert_eq!(compile(), program);
        }
    }
}
