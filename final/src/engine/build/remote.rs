//! A build context at a URL: a tar archive, a Dockerfile alone, or a git
//! repository.

use std::fs;
use std::io::Read;
use std::path::Path;

use layers::Store;
use layers::build::remote::{GITHUB, Remote, is_dockerfile};

use super::context::{Context, directory, receive};
use super::git::Git;
use crate::engine::error::{Error, Result};
use crate::engine::progress::Progress;
use crate::engine::remote;

/// What a Dockerfile that came alone is called.
const DOCKERFILE: &str = "Dockerfile";
/// How long such a one may be: no person writes more, and a stream without
/// an end must not fill the disk.
const LONGEST: u64 = 1 << 20;

/// Fetches the context, and tells what is loaded.
///
/// # Errors
/// [`Error::Internal`] with the URL and what the server or git said.
pub fn fetch(
    store: &Store,
    url: &str,
    progress: &Progress,
    tell: impl Fn(&str),
) -> Result<Context> {
    if let Some(repository) = Repository::parse(url) {
        return repository.check_out(store, progress);
    }
    tell(&format!("Downloading build context from {url}\n"));
    let body = remote::get(url, &progress.cancel())?;
    let (is_text, body) =
        is_dockerfile(body).map_err(|it| remote::failed(url, &it))?;
    if !is_text {
        return receive(store, body);
    }
    let mut context = Context::whole(directory(store)?);
    let file = context.path().join(DOCKERFILE);
    let copied = fs::File::create(&file)
        .and_then(|mut file| {
            std::io::copy(&mut body.take(LONGEST + 1), &mut file)
        })
        .map_err(|it| remote::failed(url, &it))?;
    if copied > LONGEST {
        return Err(Error::Invalid(format!(
            "the Dockerfile at {url} is longer than {LONGEST} bytes: is it \
             one? A context is a tar archive"
        )));
    }
    context.dockerfile = Some(DOCKERFILE.into());
    Ok(context)
}

/// `URL.git#REF:DIRECTORY`.
#[derive(Debug, PartialEq, Eq)]
struct Repository {
    url: String,
    reference: String,
    directory: String,
}

impl Repository {
    /// `None` for what Docker does not take for a repository.
    fn parse(text: &str) -> Option<Repository> {
        if Remote::of_context(text) != Some(Remote::Repository) {
            return None;
        }
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (reference, directory) =
            fragment.split_once(':').unwrap_or((fragment, ""));
        let reference = if reference.is_empty() { "HEAD" } else { reference };
        let url = match url.starts_with(GITHUB) {
            true => format!("https://{url}"),
            false => url.to_owned(),
        };
        Some(Repository {
            url,
            reference: reference.to_owned(),
            directory: directory.to_owned(),
        })
    }

    fn check_out(&self, store: &Store, progress: &Progress) -> Result<Context> {
        let dir = directory(store)?;
        let at = dir.path();
        let Repository { url, reference, .. } = self;
        if reference.starts_with('-') {
            return Err(Error::Invalid(format!("invalid ref: {reference}")));
        }
        let git = Git { dir: at, progress };
        git.run(["init", "--quiet"])?;
        git.run(["remote", "add", "--", "origin", url])?;
        let shallow =
            ["fetch", "--quiet", "--depth=1", "--", "origin", reference];
        if let Err(refused) = git.run(shallow) {
            // A commit by its name, or a server of files without sense.
            git.run(["fetch", "--quiet", "--tags", "--", "origin"])?;
            git.run(["checkout", "--quiet", "--detach", reference])
                .map_err(|_| refused)?;
        } else {
            git.run(["checkout", "--quiet", "FETCH_HEAD"])?;
        }
        let submodules =
            ["submodule", "--quiet", "update", "--init", "--recursive"];
        git.run(submodules)?;
        // Its times and packs differ from clone to clone, and would make
        // every COPY of the whole context a new one.
        let own = at.join(".git");
        fs::remove_dir_all(&own).map_err(Error::io("remove", &own))?;
        let root = self.root(at)?;
        Ok(Context { root, ..Context::whole(dir) })
    }

    /// The directory that was asked for; a link must not lead out.
    fn root(&self, at: &Path) -> Result<std::path::PathBuf> {
        let at = fs::canonicalize(at).map_err(Error::io("resolve", at))?;
        let inner = self.directory.trim_start_matches('/');
        let root = fs::canonicalize(at.join(inner)).ok();
        root.filter(|it| it.starts_with(&at) && it.is_dir()).ok_or_else(|| {
            let Repository { url, directory, .. } = self;
            Error::Invalid(format!(
                "{directory}: there is no such directory in {url}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<[String; 3]> {
        let it = Repository::parse(text)?;
        Some([it.url, it.reference, it.directory])
    }

    #[test]
    fn a_repository_is_what_docker_takes_for_one() {
        let want = |a: &str, b: &str, c: &str| {
            Some([a.to_owned(), b.to_owned(), c.to_owned()])
        };
        assert_eq!(
            parts("https://example.org/a.git#v1:sub/dir"),
            want("https://example.org/a.git", "v1", "sub/dir")
        );
        assert_eq!(
            parts("github.com/a/b"),
            want("https://github.com/a/b", "HEAD", "")
        );
        assert_eq!(
            parts("git@example.org:a/b#:dir"),
            want("git@example.org:a/b", "HEAD", "dir")
        );
        assert_eq!(parts("https://example.org/a.tar.gz"), None);
        assert_eq!(parts("https://example.org/a.git/Dockerfile"), None);
    }

    #[test]
    fn a_directory_beyond_the_repository_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        fs::create_dir(&inside).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        let root = |directory: &str| {
            let directory = directory.to_owned();
            let (url, reference) = (String::new(), String::new());
            Repository { url, reference, directory }.root(dir.path())
        };
        assert_eq!(root("/inside").unwrap(), fs::canonicalize(inside).unwrap());
        for bad in ["out", "../", "nosuch"] {
            assert!(root(bad).is_err(), "{bad}");
        }
    }
}
