//! `pack`: everything of the workshop in one directory, to carry into a room
//! without a network.
//!
//! ```text
//! README.txt        what to type there
//! sources.tar.gz    this workspace as committed, and all crates it needs
//! images.tar        the images of the chapters, for `skiff load`
//! book/             the book, to be opened in a browser
//! SHA256SUMS        to see whether the stick has copied it all
//! ```
//!
//! The sources travel as an archive because a stick's file system knows
//! neither links nor which files are programs.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ::transcript::cargo;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::{render, transcript};

/// The directory's name inside of the archive.
const INSIDE: &str = "skiff";

const README: &str = "\
The workshop, without a network. On each machine that has Rust:

    sha256sum -c SHA256SUMS
    tar -xzf sources.tar.gz && cd skiff
    for package in final book $(ls steps | sed s/^/step-/); do
        cargo build --offline -p $package
    done
    export PATH=\"$PWD/target/debug:$PATH\"
    sudo env PATH=\"$PATH:/usr/sbin\" HOME=\"$HOME\" bash
    skiff load -i ../images.tar

The book is book/index.html; any browser can open it. One machine can give
the images to all the others, see `skiff registry serve --help`.
";

/// Packs into `dir`, which is made and must not have been there.
pub(crate) fn pack(root: &Path, dir: &Path, images: &[String]) -> Result<()> {
    fs::create_dir(dir).with_context(|| {
        format!(
            "make the directory {}; a bundle is packed into a new one",
            dir.display()
        )
    })?;
    fs::write(dir.join("README.txt"), README)?;
    println!("sources, with all crates…");
    let work = tempfile::tempdir_in(dir)?;
    unpack_sources(root, &work.path().join(INSIDE))?;
    vendor(&work.path().join(INSIDE))?;
    archive(work.path(), &dir.join("sources.tar.gz"))?;
    work.close()?;
    println!("the book…");
    render::build(root)?;
    copy_tree(&root.join("target/book"), &dir.join("book"))?;
    println!("images: {}…", images.join(", "));
    save_images(root, images, &dir.join("images.tar"))?;
    fs::write(dir.join("SHA256SUMS"), sums(dir)?)?;
    println!("{} is ready; README.txt in it says how to use it", dir.display());
    Ok(())
}

/// What is committed, without history: a bundle of half an idea would fail
/// thirty times at once.
fn unpack_sources(root: &Path, to: &Path) -> Result<()> {
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(words).current_dir(root);
        git
    };
    let status = git(&["status", "--porcelain"]).output()?;
    let changed = String::from_utf8_lossy(&status.stdout);
    if !changed.trim().is_empty() {
        println!("  these changes are not committed and stay here:\n{changed}");
    }
    fs::create_dir_all(to)?;
    let mut archive = git(&["archive", "HEAD"])
        .stdout(Stdio::piped())
        .spawn()
        .context("run git archive")?;
    let stream = archive.stdout.take().context("git archive's output")?;
    let tar = Command::new("tar")
        .args(["-x", "-C"])
        .arg(to)
        .stdin(stream)
        .status()
        .context("run tar")?;
    let archived = archive.wait()?;
    ensure!(archived.success() && tar.success(), "git archive | tar failed");
    Ok(())
}

/// Puts the sources of all crates beside ours, and tells cargo so.
fn vendor(sources: &Path) -> Result<()> {
    let output = cargo::command()
        .args(["vendor", "--locked", "--versioned-dirs", "vendor"])
        .current_dir(sources)
        .output()
        .context("run cargo vendor")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo vendor failed:\n{told}");
    // What it prints is the configuration; --quiet would silence that, too.
    let config = sources.join(".cargo");
    fs::create_dir_all(&config)?;
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(config.join("config.toml"))?;
    file.write_all(&output.stdout)?;
    Ok(())
}

fn archive(dir: &Path, to: &Path) -> Result<()> {
    run(Command::new("tar").arg("-czf").arg(to).arg("-C").arg(dir).arg(INSIDE))
}

/// Images that are not here are pulled, which makes those of the offline
/// catalogue without a registry.
fn save_images(root: &Path, images: &[String], to: &Path) -> Result<()> {
    transcript::build(root, "skiff")?;
    let skiff = root.join("target/debug/skiff");
    for image in images {
        let known = Command::new(&skiff)
            .args(["image", "inspect", image])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !known.success() {
            run(Command::new(&skiff).args(["pull", "-q", image]))?;
        }
    }
    run(Command::new(&skiff).args(["save", "-o"]).arg(to).args(images))?;
    // Who carries it may be another user than who uses it.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(to, readable)?;
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("run {command:?}"))?;
    match status.success() {
        true => Ok(()),
        false => bail!("{command:?}: {status}"),
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The lines that `sha256sum -c` reads, for every file below `dir`.
fn sums(dir: &Path) -> Result<String> {
    let mut files = Vec::new();
    list(dir, &mut files)?;
    files.sort();
    let mut lines = String::new();
    for file in files {
        let mut hash = Sha256::new();
        std::io::copy(&mut File::open(&file)?, &mut HashWriter(&mut hash))?;
        let digest = hash.finalize();
        let hex: String = digest.iter().map(|it| format!("{it:02x}")).collect();
        let name = file.strip_prefix(dir)?;
        lines += &format!("{hex}  {}\n", name.display());
    }
    Ok(lines)
}

/// `sha2` hashes slices; this makes it a place to copy to.
struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entry of a crate in this workspace's lock file: it has been
    /// fetched, or these tests would not run.
    fn locked(name: &str) -> String {
        let lock = crate::workspace_root().join("Cargo.lock");
        let lock = fs::read_to_string(lock).unwrap();
        let key = format!("name = \"{name}\"\n");
        let mut entries = lock.split("[[package]]\n");
        let entry = entries.find(|it| it.starts_with(&key)).unwrap();
        format!("[[package]]\n{entry}")
    }

    fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        fs::create_dir(at.join("src")).unwrap();
        let main = "fn main() { cfg_if::cfg_if! { if #[cfg(unix)] {} } }\n";
        fs::write(at.join("src/main.rs"), main).unwrap();
        let manifest = "[package]\nname = \"a\"\nedition = \"2024\"\n\
                        [dependencies]\ncfg-if = \"1\"\n";
        fs::write(at.join("Cargo.toml"), manifest).unwrap();
        let lock = format!(
            "version = 4\n\n[[package]]\nname = \"a\"\n\
             version = \"0.0.0\"\ndependencies = [\n \"cfg-if\",\n]\n\n{}",
            locked("cfg-if")
        );
        fs::write(at.join("Cargo.lock"), lock).unwrap();
        for words in [
            &["init", "-q"][..],
            &["add", "."],
            &[
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b.c",
                "commit",
                "-qm",
                "a",
            ],
        ] {
            let git = Command::new("git").args(words).current_dir(at).status();
            assert!(git.unwrap().success());
        }
        fs::write(at.join("scratch"), "not committed").unwrap();
        dir
    }

    #[test]
    fn the_archive_has_what_is_committed_and_builds_without_a_network() {
        let repository = repository();
        let work = tempfile::tempdir().unwrap();
        let sources = work.path().join(INSIDE);
        unpack_sources(repository.path(), &sources).unwrap();
        assert!(!sources.join("scratch").exists());
        vendor(&sources).unwrap();
        let packed = work.path().join("sources.tar.gz");
        archive(work.path(), &packed).unwrap();
        let room = tempfile::tempdir().unwrap();
        run(Command::new("tar")
            .arg("-xzf")
            .arg(&packed)
            .arg("-C")
            .arg(room.path()))
        .unwrap();
        let home = tempfile::tempdir().unwrap();
        run(Command::new("cargo")
            .args(["build", "--offline", "--quiet"])
            .current_dir(room.path().join(INSIDE))
            .env("CARGO_HOME", home.path())
            .env("CARGO_TARGET_DIR", home.path().join("target")))
        .unwrap();
    }

    #[test]
    fn a_file_that_was_copied_badly_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("book")).unwrap();
        fs::write(dir.path().join("book/a.html"), "a").unwrap();
        let sums = sums(dir.path()).unwrap();
        let listed = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785\
                      afee48bb  book/a.html\n";
        assert_eq!(sums, listed);
    }
}
