//! Fetching packages with this machine's apt, without touching the machine.
//!
//! apt is told that another set of packages is installed (that of the base
//! image, or none at all), to fetch only, and to keep everything it writes
//! in directories of ours. The host's package lists are read; when they are
//! missing or out of date, fresh ones go to a directory of ours too.

use super::recipe::Recipe;
use layers::{ImageId, Store};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Why there are no packages.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// Not Debian, not Ubuntu.
    #[error(
        "the offline catalogue makes images from Debian's or Ubuntu's \
         packages, and this machine has no {program}: pull the image where \
         there is a network and bring it here with `skiff save` and \
         `skiff load`"
    )]
    NoApt {
        /// The program that is missing.
        program: &'static str,
    },
    /// apt ran and failed.
    #[error(
        "apt could not get the packages of the offline catalogue's {recipe} \
         ({said}): it needs its mirror, or packages fetched earlier"
    )]
    Failed {
        /// The recipe.
        recipe: String,
        /// The last line of its complaint.
        said: String,
    },
    /// A file of ours could not be written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// A verb.
        action: &'static str,
        /// The file.
        path: String,
        /// The errno.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, AptError>;

fn io_at(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> AptError {
    let path = path.display().to_string();
    move |source| AptError::Io { action, path, source }
}

/// The version of a package that would be installed here; `None` also for
/// one that is only spoken of by others.
pub(super) fn candidate(package: &str) -> Option<String> {
    let out = Command::new("apt-cache")
        .args(["policy", package])
        .env("LC_ALL", "C")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = text.lines().find_map(|l| l.trim().strip_prefix("Candidate:"));
    let version = line?.trim();
    (version != "(none)").then(|| version.to_owned())
}

/// dpkg's database in an image: the topmost layer that has it.
pub(super) fn status_of(
    store: &Store,
    image: &ImageId,
) -> std::result::Result<String, layers::Error> {
    let image = store.image(image)?;
    let files = image
        .layers()
        .iter()
        .rev()
        .map(|layer| store.layer_dir(layer).join("var/lib/dpkg/status"));
    let mut found = files.filter_map(|path| fs::read_to_string(path).ok());
    Ok(found.next().unwrap_or_default())
}

/// Fetches what `recipe` asks for and `installed` (a dpkg database) lacks
/// into `context/debs`, and unpacks what it wants unpacked to
/// `context/root`. Packages are kept in `cache` for the next time.
pub(super) fn fetch(
    recipe: &Recipe,
    installed: &str,
    cache: &Path,
    context: &Path,
) -> Result<()> {
    let apt = Apt::new(recipe, installed, cache, context)?;
    if let Some(package) = &recipe.unpack {
        let args = ["download".to_owned(), package.clone()];
        let debs = apt.with_fresh_lists(|apt| apt.download(&args))?;
        let root = context.join("root");
        for deb in debs {
            unpack(&deb, &root)?;
        }
    }
    if recipe.packages.is_empty() {
        return Ok(());
    }
    let into = context.join("debs");
    fs::create_dir(&into).map_err(io_at("make", &into))?;
    for deb in apt.with_fresh_lists(Apt::install)? {
        let to = into.join(deb.file_name().unwrap_or_default());
        place(&deb, &to)?;
    }
    let sources = context.join("sources.list");
    fs::write(&sources, apt.sources()?).map_err(io_at("write", &sources))
}

/// One run of apt with directories of its own.
struct Apt<'a> {
    recipe: &'a Recipe,
    /// `-o` options.
    options: Vec<String>,
    /// Fetched packages, kept.
    archives: PathBuf,
    /// Lists of our own, used when the host's do not do.
    lists: PathBuf,
    /// Where `download` puts its file: apt knows no option for it.
    here: PathBuf,
}

impl<'a> Apt<'a> {
    fn new(
        recipe: &'a Recipe,
        installed: &str,
        cache: &Path,
        context: &Path,
    ) -> Result<Self> {
        let archives = cache.join("archives");
        let lists = cache.join("lists");
        for dir in [archives.join("partial"), lists.join("partial")] {
            fs::create_dir_all(&dir).map_err(io_at("make", &dir))?;
        }
        let status = context.join(".status");
        fs::write(&status, installed).map_err(io_at("write", &status))?;
        let set = |name: &str, value: &str| format!("-o{name}={value}");
        let path = |path: &Path| path.display().to_string();
        let options = vec![
            set("Dir::State::status", &path(&status)),
            set("Dir::State::extended_states", &path(&context.join(".ext"))),
            set("Dir::Cache::archives", &path(&archives)),
            // Caches of the host's lists, which root alone may write.
            set("Dir::Cache::pkgcache", ""),
            set("Dir::Cache::srcpkgcache", ""),
            // Nothing of the host's is locked, for nothing of it changes.
            set("Debug::NoLocking", "1"),
            // Its own user could not write into our directories.
            set("APT::Sandbox::User", "root"),
            set("APT::Install-Recommends", "false"),
            set("Acquire::Languages", "none"),
            // A classroom that is offline should hear of it soon.
            set("Acquire::Retries", "1"),
            set("Acquire::http::Timeout", "15"),
            // The host may delete what it has fetched; ours stays.
            set("APT::Keep-Downloaded-Packages", "true"),
        ];
        let here = context.to_owned();
        Ok(Self { recipe, options, archives, lists, here })
    }

    /// Tries with the host's lists, then with fresh ones.
    fn with_fresh_lists<T>(
        &self,
        work: impl Fn(&Self) -> Result<T>,
    ) -> Result<T> {
        let first = match work(self) {
            Err(AptError::Failed { said, .. }) => said,
            done => return done,
        };
        let lists = format!("-oDir::State::lists={}", self.lists.display());
        let mut fresh = Self {
            recipe: self.recipe,
            options: self.options.clone(),
            archives: self.archives.clone(),
            lists: self.lists.clone(),
            here: self.here.clone(),
        };
        fresh.options.push(lists);
        // Without a network there may still be lists of an earlier time.
        // By itself apt takes a mirror that it cannot reach for a success.
        let strict = "-oAPT::Update::Error-Mode=any".to_owned();
        let updated = fresh.run("apt-get", &["update".into(), strict]);
        work(&fresh).map_err(|error| match (error, updated) {
            (AptError::Failed { recipe, .. }, Err(_)) => {
                AptError::Failed { recipe, said: first }
            }
            (error, _) => error,
        })
    }

    fn run(&self, program: &'static str, args: &[String]) -> Result<Output> {
        let done = Command::new(program)
            .args(&self.options)
            .args(args)
            .current_dir(&self.here)
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => AptError::NoApt { program },
                _ => io_at("run", Path::new(program))(error),
            })?;
        if done.status.success() {
            return Ok(done);
        }
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let line = said.lines().rfind(|line| line.starts_with("E: "));
        let said = line.or(said.lines().last()).unwrap_or("no reason given");
        let recipe = self.recipe.name.clone();
        Err(AptError::Failed { recipe, said: said.to_owned() })
    }

    /// Where this machine gets its packages, as lines of sources.list(5):
    /// apt in the image shall ask the same mirrors.
    fn sources(&self) -> Result<String> {
        let format = "deb $(SITE) $(RELEASE) $(COMPONENT)";
        let args = ["indextargets", "--format", format, "Created-By: Packages"];
        let done = self.run("apt-get", &args.map(str::to_owned))?;
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let lines: std::collections::BTreeSet<&str> = text.lines().collect();
        Ok(lines.into_iter().map(|line| format!("{line}\n")).collect())
    }

    /// `apt-get download`: one package, without what it depends on.
    fn download(&self, args: &[String]) -> Result<Vec<PathBuf>> {
        self.run("apt-get", args)?;
        let list = fs::read_dir(&self.here);
        let list = list.map_err(io_at("list", &self.here))?;
        let debs = list.flatten().map(|entry| entry.path());
        Ok(debs.filter(|p| p.extension().is_some_and(|e| e == "deb")).collect())
    }

    /// `apt-get install --download-only`: with all that is missing.
    fn install(&self) -> Result<Vec<PathBuf>> {
        let mut args: Vec<String> =
            ["--yes", "--download-only", "install"].map(String::from).into();
        args.extend(self.recipe.packages.iter().cloned());
        let there = |name: &&String| candidate(name).is_some();
        args.extend(self.recipe.optional.iter().filter(there).cloned());
        let files = self.files(&args)?;
        let missing = |(path, size): &(PathBuf, u64)| {
            fs::metadata(path).map_or(true, |meta| meta.len() != *size)
        };
        // With everything here from an earlier time, no network is needed.
        if files.iter().any(missing) {
            self.run("apt-get", &args)?;
        }
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }

    /// The files that an installation consists of, with their sizes.
    /// `--print-uris` leaves out what has been fetched before, so it is
    /// asked with an empty cache.
    fn files(&self, args: &[String]) -> Result<Vec<(PathBuf, u64)>> {
        let empty = self.here.join(".empty");
        fs::create_dir_all(empty.join("partial"))
            .map_err(io_at("make", &empty))?;
        let mut with = vec![
            format!("-oDir::Cache::archives={}", empty.display()),
            "--print-uris".to_owned(),
        ];
        with.extend_from_slice(args);
        let out = self.run("apt-get", &with)?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let files = text.lines().filter_map(name_and_size);
        Ok(files.map(|(name, size)| (self.archives.join(name), size)).collect())
    }
}

/// From a line like `'http://…' bash_5.2_amd64.deb 1491 SHA256:…`.
fn name_and_size(line: &str) -> Option<(&str, u64)> {
    let mut words = line.strip_prefix('\'')?.split(' ').skip(1);
    let name = words.next().filter(|name| name.ends_with(".deb"))?;
    Some((name, words.next()?.parse().ok()?))
}

/// Puts a package into the context: linked where that works, for it is only
/// read. BusyBox cannot read zstd, which Ubuntu uses, so such a package is
/// written anew in gzip.
fn place(deb: &Path, to: &Path) -> Result<()> {
    let start = fs::read(deb).map_err(io_at("read", deb))?;
    // The members' names stand in the archive's headers (ar(5)).
    let needle = b"data.tar.zst";
    if start.windows(needle.len()).any(|window| window == needle) {
        return repack(deb, to);
    }
    if fs::hard_link(deb, to).is_err() {
        fs::copy(deb, to).map_err(io_at("copy", deb))?;
    }
    Ok(())
}

fn repack(deb: &Path, to: &Path) -> Result<()> {
    let tree = to.with_extension("tree");
    dpkg_deb(&["--raw-extract".as_ref(), deb, &tree])?;
    dpkg_deb(&[
        "-Zgzip".as_ref(),
        "-z1".as_ref(),
        "--build".as_ref(),
        &tree,
        to,
    ])?;
    fs::remove_dir_all(&tree).map_err(io_at("remove", &tree))
}

fn unpack(deb: &Path, to: &Path) -> Result<()> {
    dpkg_deb(&["--extract".as_ref(), deb, to])
}

fn dpkg_deb(args: &[&Path]) -> Result<()> {
    let program = "dpkg-deb";
    let done =
        Command::new(program).args(args).output().map_err(
            |error| match error.kind() {
                io::ErrorKind::NotFound => AptError::NoApt { program },
                _ => io_at("run", Path::new(program))(error),
            },
        )?;
    match done.status.success() {
        true => Ok(()),
        false => Err(AptError::Failed {
            recipe: args
                .last()
                .map_or(String::new(), |path| path.display().to_string()),
            said: String::from_utf8_lossy(&done.stderr).trim().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_read_from_apts_list() {
        let line = "'http://m/pool/x_1%3a2_amd64.deb' x_1%3a2_amd64.deb 9 \
                    SHA256:00";
        assert_eq!(name_and_size(line), Some(("x_1%3a2_amd64.deb", 9)));
        assert_eq!(name_and_size("Reading package lists..."), None);
    }
}
