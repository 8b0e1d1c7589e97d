//! The build context as a tar archive, without what `.dockerignore` names.

use std::fs::{self, File, FileType};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use layers::build::ignore::Ignore;

use crate::cli::failure::errno;

/// What is sent to the builder.
#[derive(Debug, Clone)]
pub(crate) struct BuildContext {
    root: PathBuf,
    ignore: Ignore,
    /// The Dockerfile's path in the archive.
    pub(crate) dockerfile: String,
    /// What is added to the directory's files: a Dockerfile from elsewhere,
    /// and what is to be ignored with it.
    added: Vec<(String, Vec<u8>)>,
}

impl BuildContext {
    /// Looks at the directory `root`. `dockerfile` is what `-f` names, `-`
    /// for standard input.
    ///
    /// # Errors
    /// If there is no such directory or file, or the ignore file is wrong.
    pub(crate) fn open(
        root: &Path,
        dockerfile: Option<&Path>,
    ) -> anyhow::Result<BuildContext> {
        let root = root.canonicalize().map_err(|_| {
            anyhow::anyhow!(
                "unable to prepare context: path {:?} not found",
                root.display()
            )
        })?;
        anyhow::ensure!(
            root.is_dir(),
            "unable to prepare context: {} is not a directory",
            root.display()
        );
        let given =
            dockerfile.map_or_else(|| root.join("Dockerfile"), Path::to_owned);
        let (dockerfile, outside) = if given == Path::new("-") {
            let text = io::read_to_string(io::stdin())?;
            (OUTSIDE.to_owned(), Some(text.into_bytes()))
        } else {
            locate(&root, &given)?
        };
        let file = ignore_file(&root, &given);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(it) if it.kind() == io::ErrorKind::NotFound => String::new(),
            Err(why) => anyhow::bail!("cannot read {}: {why}", file.display()),
        };
        let ignore = Ignore::parse(&text)
            .map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?;
        let added = match outside {
            None => Vec::new(),
            Some(content) => {
                let own = format!("{OUTSIDE}{IGNORE}");
                // COPY must not see what is not in the directory.
                let all = format!("{text}\n{OUTSIDE}\n{own}\n");
                vec![(OUTSIDE.into(), content), (own, all.into_bytes())]
            }
        };
        Ok(BuildContext { root, ignore, dockerfile, added })
    }

    /// Whether everything that is to be sent can be read. Found out before
    /// anything is: a request that breaks off in the middle would put the
    /// blame on the daemon.
    ///
    /// # Errors
    /// In Docker's words, with the path.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let walked = self.walk(Path::new(""), &mut |path, kind| {
            let place = self.root.join(path);
            match kind.is_file() {
                true => File::open(&place).map(drop),
                false => Ok(()),
            }
            .map_err(|why| named(&place, &why))
        });
        walked.map_err(|why| match why.kind() {
            io::ErrorKind::PermissionDenied => anyhow::anyhow!(
                "error checking context: no permission to read from {why}"
            ),
            _ => anyhow::anyhow!("error checking context: {why}"),
        })
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// If a file cannot be read, with its path.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut builder = tar::Builder::new(out);
        builder.follow_symlinks(false);
        self.walk(Path::new(""), &mut |path, kind| {
            append(&mut builder, &self.root.join(path), path, kind)
        })?;
        for (name, text) in &self.added {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, name, text.as_slice())?;
        }
        builder.into_inner()?.flush()
    }

    /// Goes through everything that is sent, directories first.
    fn walk(
        &self,
        dir: &Path,
        visit: &mut dyn FnMut(&Path, FileType) -> io::Result<()>,
    ) -> io::Result<()> {
        let at = self.root.join(dir);
        let mut entries: Vec<_> = fs::read_dir(&at)
            .and_then(Iterator::collect)
            .map_err(|why| named(&at, &why))?;
        // In order, so that the same files make the same archive.
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = dir.join(entry.file_name());
            let kind = entry.file_type()?;
            if !self.skips(&path) {
                visit(&path, kind)?;
            }
            if kind.is_dir() {
                // A later `!pattern` may bring something back from inside.
                self.walk(&path, visit)?;
            }
        }
        Ok(())
    }

    /// The builder itself needs the Dockerfile and the ignore files even if
    /// they are ignored; it keeps COPY from seeing them.
    fn skips(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        let needed = text == IGNORE
            || text.strip_suffix(IGNORE).unwrap_or(&text) == self.dockerfile;
        !needed && self.ignore.excludes(&text)
    }
}

/// Alone for the directory; at the end of a Dockerfile's name for that.
const IGNORE: &str = ".dockerignore";

/// The name under which a Dockerfile from elsewhere is sent.
const OUTSIDE: &str = ".dockerfile.outside";

/// Puts one thing into the archive. Sockets and devices mean nothing
/// elsewhere.
fn append(
    builder: &mut tar::Builder<&mut dyn Write>,
    place: &Path,
    path: &Path,
    kind: FileType,
) -> io::Result<()> {
    let appended = if kind.is_dir() {
        builder.append_dir(path, place)
    } else if kind.is_file() || kind.is_symlink() {
        builder.append_path_with_name(place, path)
    } else if kind.is_fifo() {
        // Its entry only: opening it would wait for a writer.
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&fs::symlink_metadata(place)?);
        header.set_entry_type(tar::EntryType::Fifo);
        header.set_size(0);
        builder.append_data(&mut header, path, io::empty())
    } else {
        Ok(())
    };
    appended.map_err(|why| named(place, &why))
}

fn named(path: &Path, why: &io::Error) -> io::Error {
    io::Error::new(why.kind(), format!("{}: {why}", path.display()))
}

fn locate(
    root: &Path,
    given: &Path,
) -> anyhow::Result<(String, Option<Vec<u8>>)> {
    // As Docker: relative to the current directory, or else to the context.
    let found = given
        .canonicalize()
        .or_else(|_| root.join(given).canonicalize())
        .map_err(|why| {
            anyhow::anyhow!(
                "unable to prepare context: unable to evaluate symlinks in \
                 Dockerfile path: lstat {}: {}",
                root.join(given).display(),
                errno(&why)
            )
        })?;
    match found.strip_prefix(root) {
        Ok(inside) => Ok((inside.to_string_lossy().into_owned(), None)),
        Err(_) => Ok((OUTSIDE.to_owned(), Some(fs::read(found)?))),
    }
}

/// `NAME.dockerignore` beside the Dockerfile, which is looked for as
/// [`locate`] does it; else the directory's own.
fn ignore_file(root: &Path, dockerfile: &Path) -> PathBuf {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(IGNORE);
    let own = match dockerfile.exists() {
        true => PathBuf::from(own),
        false => root.join(own),
    };
    match own.is_file() {
        true => own,
        false => root.join(IGNORE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(context: &BuildContext) -> Vec<String> {
        let mut out = Vec::new();
        context.write(&mut out).unwrap();
        let mut archive = tar::Archive::new(out.as_slice());
        let entries = archive.entries().unwrap();
        let name = |it: tar::Entry<'_, _>| it.path().unwrap().into_owned();
        entries
            .map(|it| name(it.unwrap()).to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn the_archive_has_what_is_not_ignored_in_a_fixed_order() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("node_modules/x")).unwrap();
        fs::create_dir_all(root.join("src")).unwrap();
        let files = ["Dockerfile", "src/b", "src/a", "node_modules/x/y", "z"];
        for file in files {
            fs::write(root.join(file), "FROM x").unwrap();
        }
        let ignore = "node_modules\nDockerfile\nz\n!node_modules/x\n";
        fs::write(root.join(".dockerignore"), ignore).unwrap();
        let context = BuildContext::open(root, None).unwrap();
        assert_eq!(
            names(&context),
            [
                ".dockerignore",
                "Dockerfile",
                "node_modules/x",
                "node_modules/x/y",
                "src",
                "src/a",
                "src/b"
            ]
        );
    }

    #[test]
    fn a_dockerfile_from_elsewhere_comes_along() {
        let (one, two) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = two.path().join("My.dockerfile");
        fs::write(&file, "FROM y").unwrap();
        let context = BuildContext::open(one.path(), Some(&file)).unwrap();
        let ignore = format!("{OUTSIDE}{IGNORE}");
        assert_eq!(names(&context), [OUTSIDE, &ignore]);
        assert_eq!(context.dockerfile, OUTSIDE);
    }

    #[test]
    fn a_dockerfiles_own_ignore_file_wins_and_is_sent_along() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("Dockerfile.dev", "FROM y"),
            ("Dockerfile.dev.dockerignore", "*\n!b\n"),
            (".dockerignore", "b\n"),
            ("a", ""),
            ("b", ""),
        ];
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        // Named as seen from the context, which is not where we are.
        let file = Path::new("Dockerfile.dev");
        let context = BuildContext::open(dir.path(), Some(file)).unwrap();
        let sent = [
            ".dockerignore",
            "Dockerfile.dev",
            "Dockerfile.dev.dockerignore",
            "b",
        ];
        assert_eq!(names(&context), sent);
        let context =
            BuildContext::open(dir.path(), Some(&dir.path().join("a")));
        assert_eq!(names(&context.unwrap()).last().unwrap(), "a");
    }

    #[test]
    fn a_missing_dockerfile_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let why = BuildContext::open(dir.path(), None).unwrap_err();
        assert!(why.to_string().contains("Dockerfile"), "{why}");
    }
}
