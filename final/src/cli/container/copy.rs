//! `cp`: files between a container and here, as tar archives.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use cli_api::client::Payload;
use http::Method;
use http_body_util::BodyExt;
use serde::Deserialize;

use super::run::path;
use crate::cli::context::Context;
use crate::cli::download;
use crate::cli::query::Query;

/// Copy files between a container and here
#[derive(Debug, Clone, Args)]
pub(crate) struct CpArgs {
    /// Keep owners
    #[arg(short, long)]
    archive: bool,
    /// Follow a symbolic link in the source
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, PATH, or - for a tar archive
    source: String,
    /// CONTAINER:PATH, PATH, or - for a tar archive
    target: String,
}

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Inside { container: String, path: String },
    Here(PathBuf),
    Stream,
}

impl Place {
    /// A colon makes it a container's, unless the text is a path.
    fn parse(text: &str) -> Place {
        if text == "-" {
            return Place::Stream;
        }
        match text.split_once(':') {
            Some((container, path))
                if !text.starts_with(['/', '.']) && !container.is_empty() =>
            {
                Place::Inside {
                    container: container.to_owned(),
                    path: path.to_owned(),
                }
            }
            _ => Place::Here(PathBuf::from(text)),
        }
    }
}

/// What the engine says about a path: header
/// `X-Docker-Container-Path-Stat`, in base64.
#[derive(Debug, Clone, Deserialize)]
struct Stat {
    /// Go's `FileMode`, whose bit 31 means directory.
    mode: u32,
    #[serde(default, rename = "linkTarget")]
    link_target: String,
}

const GO_DIRECTORY: u32 = 1 << 31;

/// `cp`.
pub(crate) async fn cp(context: &Context, args: CpArgs) -> anyhow::Result<u8> {
    match (Place::parse(&args.source), Place::parse(&args.target)) {
        (
            Place::Inside { container, path },
            to @ (Place::Here(_) | Place::Stream),
        ) => {
            out(context, &args, &container, &path, &to).await?;
        }
        (
            from @ (Place::Here(_) | Place::Stream),
            Place::Inside { container, path },
        ) => {
            into(context, &args, &from, &container, &path).await?;
        }
        (Place::Inside { .. }, Place::Inside { .. }) => {
            anyhow::bail!("copying between containers is not supported")
        }
        _ => anyhow::bail!(
            "must specify at least one container source, as NAME:/path"
        ),
    }
    Ok(0)
}

fn said(args: &CpArgs) {
    if !args.quiet && std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        eprintln!("Successfully copied to {}", args.target);
    }
}

async fn stat(
    context: &Context,
    container: &str,
    inside: &str,
) -> Result<Stat, cli_api::Error> {
    let query =
        Query::new(path(container, "archive")).with("path", inside).build();
    let none = Payload::none();
    let answer = context.client.send(Method::HEAD, &query, none).await?;
    Ok(stat_of(&answer))
}

fn stat_of<B>(answer: &http::Response<B>) -> Stat {
    answer
        .headers()
        .get("x-docker-container-path-stat")
        .and_then(|it| STANDARD.decode(it).ok())
        .and_then(|it| serde_json::from_slice(&it).ok())
        .unwrap_or(Stat { mode: 0, link_target: String::new() })
}

/// From the container to here.
async fn out(
    context: &Context,
    args: &CpArgs,
    container: &str,
    inside: &str,
    to: &Place,
) -> anyhow::Result<()> {
    let mut inside = inside.to_owned();
    if args.follow_link {
        let target = stat(context, container, &inside).await?.link_target;
        if !target.is_empty() {
            let dir = Path::new(&inside).parent().unwrap_or(Path::new("/"));
            inside = dir.join(target).to_string_lossy().into_owned();
        }
    }
    let query =
        Query::new(path(container, "archive")).with("path", &inside).build();
    let answer =
        context.client.send(Method::GET, &query, Payload::none()).await?;
    let Place::Here(to) = to else {
        download::refuse_terminal(None)?;
        return download::save(answer, None).await;
    };
    let is_dir = stat_of(&answer).mode & GO_DIRECTORY != 0;
    let content_only = inside.ends_with("/.");
    let target = Target::choose(to, is_dir, content_only)?;
    // The archive goes through a file without a name: unpacking blocks.
    let mut spool = tempfile::tempfile()?;
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            spool.write_all(data)?;
        }
    }
    unpack(spool, &target, args.archive)?;
    said(args);
    Ok(())
}

/// Where an archive goes: into a directory, its first name replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    dir: PathBuf,
    /// Instead of the name in the archive; empty drops it.
    rename: Option<String>,
}

impl Target {
    /// cp(1)'s rule: into a directory that exists, else under that name.
    fn choose(
        to: &Path,
        source_is_dir: bool,
        content_only: bool,
    ) -> anyhow::Result<Target> {
        let wants_dir = to.as_os_str().as_encoded_bytes().ends_with(b"/");
        if to.is_dir() {
            let rename = content_only.then(String::new);
            return Ok(Target { dir: to.to_owned(), rename });
        }
        anyhow::ensure!(
            !(to.exists() && source_is_dir),
            "cannot copy directory to file {}",
            to.display()
        );
        anyhow::ensure!(
            source_is_dir || !wants_dir,
            "no such directory: {}",
            to.display()
        );
        let parent = match to.parent() {
            Some(dir) if dir != Path::new("") => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        anyhow::ensure!(
            parent.is_dir(),
            "no such directory: {}",
            parent.display()
        );
        let name = to.file_name().unwrap_or_default();
        let rename = Some(name.to_string_lossy().into_owned());
        Ok(Target { dir: parent, rename })
    }
}

/// Unpacks an archive that a container made, which means: not trusted. The
/// tar crate refuses names with `..` and links that lead out of `dir`.
fn unpack(
    mut spool: File,
    target: &Target,
    owners: bool,
) -> anyhow::Result<()> {
    use std::io::Seek;
    spool.rewind()?;
    let mut archive = tar::Archive::new(spool);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_preserve_ownerships(owners);
    let Some(rename) = &target.rename else {
        archive.unpack(&target.dir)?;
        return Ok(());
    };
    let inside = tempfile::tempdir_in(&target.dir)?;
    archive.unpack(inside.path())?;
    let Some(first) = std::fs::read_dir(inside.path())?.next() else {
        return Ok(());
    };
    let first = first?.path();
    if !rename.is_empty() {
        std::fs::rename(first, target.dir.join(rename))?;
        return Ok(());
    }
    for entry in std::fs::read_dir(&first)? {
        let entry = entry?;
        std::fs::rename(entry.path(), target.dir.join(entry.file_name()))?;
    }
    Ok(())
}

/// From here into the container.
async fn into(
    context: &Context,
    args: &CpArgs,
    from: &Place,
    container: &str,
    inside: &str,
) -> anyhow::Result<()> {
    let there = stat(context, container, inside).await;
    let is_dir = matches!(&there, Ok(stat) if stat.mode & GO_DIRECTORY != 0);
    let (dir, body) = match from {
        Place::Stream => {
            anyhow::ensure!(
                is_dir,
                "destination \"{container}:{inside}\" must be a directory"
            );
            let body = download::upload(None, "application/x-tar").await?;
            (inside.to_owned(), body)
        }
        Place::Here(source) => {
            let (dir, name) = inside_target(source, inside, is_dir)?;
            (dir, pack(source, name, args.follow_link)?)
        }
        Place::Inside { .. } => unreachable!("the caller has matched it"),
    };
    let query = Query::new(path(container, "archive"))
        .with("path", dir)
        .with("noOverwriteDirNonDir", "true");
    let query = match args.archive {
        true => query.with("copyUIDGID", "true"),
        false => query,
    };
    context.client.send(Method::PUT, &query.build(), body).await?;
    said(args);
    Ok(())
}

/// The directory inside and the name there: cp(1)'s rule again.
fn inside_target(
    source: &Path,
    inside: &str,
    is_dir: bool,
) -> anyhow::Result<(String, String)> {
    let text = source.to_string_lossy();
    if is_dir {
        let name = match text.ends_with("/.") || text == "." {
            true => ".".to_owned(),
            false => source
                .canonicalize()
                .map_err(|why| lstat_failed(source, &why))?
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        };
        return Ok((inside.to_owned(), name));
    }
    let target = Path::new(inside.trim_end_matches('/'));
    let dir = target.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let dir = if dir.is_empty() { "/".into() } else { dir };
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    Ok((dir.into_owned(), name.into_owned()))
}

/// Docker's words for a source that is not there.
fn lstat_failed(path: &Path, why: &std::io::Error) -> anyhow::Error {
    let path = path.display();
    match why.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow::anyhow!("lstat {path}: no such file or directory")
        }
        _ => anyhow::anyhow!("lstat {path}: {why}"),
    }
}

/// `source` as an archive in which it is called `name`.
fn pack(source: &Path, name: String, follow: bool) -> anyhow::Result<Payload> {
    let source = source.to_owned();
    let missing = |why| lstat_failed(&source, &why);
    let about = match follow {
        true => source.metadata(),
        false => source.symlink_metadata(),
    }
    .map_err(missing)?;
    Ok(download::written("application/x-tar", move |out| {
        let mut builder = tar::Builder::new(out);
        builder.follow_symlinks(follow);
        if about.is_dir() {
            builder.append_dir_all(&name, &source)?;
        } else {
            builder.append_path_with_name(&source, &name)?;
        }
        builder.into_inner()?.flush()
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_colon_makes_a_container() {
        let inside = Place::Inside {
            container: "web".to_owned(),
            path: "/etc".to_owned(),
        };
        assert_eq!(Place::parse("web:/etc"), inside);
        assert_eq!(Place::parse("./a:b"), Place::Here("./a:b".into()));
        assert_eq!(Place::parse("/a:b"), Place::Here("/a:b".into()));
        assert_eq!(Place::parse("-"), Place::Stream);
    }

    #[test]
    fn names_are_chosen_as_cp_does() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        let into = Target::choose(here, true, false).unwrap();
        assert_eq!(into, Target { dir: here.to_owned(), rename: None });
        let new = Target::choose(&here.join("x"), true, false).unwrap();
        assert_eq!(new.rename.as_deref(), Some("x"));
        let content = Target::choose(here, true, true).unwrap();
        assert_eq!(content.rename.as_deref(), Some(""));
        assert!(Target::choose(&here.join("a/b"), false, false).is_err());
    }

    #[test]
    fn an_archive_is_unpacked_under_the_new_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = tar::Builder::new(tempfile::tempfile().unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o640);
        builder.append_data(&mut header, "passwd", &b"hi"[..]).unwrap();
        let file = builder.into_inner().unwrap();
        let target = Target {
            dir: dir.path().to_owned(),
            rename: Some("new".to_owned()),
        };
        unpack(file, &target, false).unwrap();
        let mut text = String::new();
        let mut file = File::open(dir.path().join("new")).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
