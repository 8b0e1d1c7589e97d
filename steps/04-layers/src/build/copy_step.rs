//! COPY and ADD: which files, where to, and is it in the cache?

use super::add;
use super::cache::Inputs;
use super::copying::{Copier, stamps};
use super::dockerfile::{Copy, CopySource, Heredoc, Instruction};
use super::expand::expand_document;
use super::ignore::{Ignore, clean};
use super::link::{self, Way};
use super::metadata::workdir;
use super::mode::Chmod;
use super::mounted::Mounted;
use super::options::BuildError;
use super::rootpath::resolve;
use super::scope::Scope;
use super::stage::{StageBuild, State, say};
use super::tree::{Found, Print, Tree};
use super::users;
use crate::DiffId;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, BuildError>;

/// Sources that were found in one place.
struct Group {
    tree: Tree,
    found: Vec<Found>,
}

/// What the cache needs to know of sources, with or without having them.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Summary {
    names: Vec<String>,
    /// How many of them are directories.
    directories: usize,
    prints: Vec<Print>,
}

/// A COPY with its texts expanded and its sources found.
pub(super) struct Job<'a> {
    copy: &'a Copy,
    keyword: &'static str,
    summary: Summary,
    groups: Vec<Group>,
    /// Another stage's layers and the paths in it, looked at in earnest only
    /// when the step is carried out.
    other: Option<(Vec<DiffId>, Vec<String>)>,
    /// Absolute, with its trailing slash if it had one.
    destination: String,
    chown: Option<String>,
    /// The same in numbers, known when there is a root file system.
    owner: Option<(u32, u32)>,
    mode: Option<Chmod>,
    exclude: Ignore,
    /// Holds what was downloaded or written in the Dockerfile.
    scratch: tempfile::TempDir,
}

impl<'a> StageBuild<'_, 'a> {
    /// Sources first, for their fingerprint decides whether anything has to be
    /// done at all; the file system of the stage is mounted only if it has.
    pub(super) fn copy_step(
        &mut self,
        state: &mut State,
        copy: &Copy,
        instruction: &Instruction,
    ) -> Result<()> {
        let failed =
            |message: String| BuildError::step(message, &instruction.excerpt);
        let mut job = self.job(state, copy, instruction, &failed)?;
        let below = state.key.clone();
        let way = copy.link.then(|| self.way(state, &job)).transpose()?;
        let parent = way.as_ref().map_or(below.clone(), Way::key);
        let inputs = Inputs {
            parent,
            instruction: job.canonical(),
            files: std::mem::take(&mut job.summary.prints),
            ..Inputs::default()
        };
        let by = job.created_by(&inputs.files);
        self.step_through(
            state,
            inputs,
            &by,
            instruction,
            |session, state| {
                if let Some(way) = &way {
                    return session.linked(&mut job, way, &failed);
                }
                let mounted = session.mount(&state.image.rootfs.diff_ids)?;
                // Kept mounted until the files are copied.
                let _other = session.mount_other(&mut job, &failed)?;
                job.carry_out(&mounted.path).map_err(&failed)?;
                session.commit(&mounted)
            },
        )?;
        if copy.link {
            self.put_on(&below, state)?;
        }
        Ok(())
    }

    /// Expands the flags and finds the sources. `failed` puts `COPY failed:`
    /// and the line of the Dockerfile around a message.
    fn job<'j>(
        &mut self,
        state: &State,
        copy: &'j Copy,
        instruction: &Instruction,
        failed: &dyn Fn(String) -> BuildError,
    ) -> Result<Job<'j>> {
        let say = |text: &str| say(&state.scope, text, instruction);
        let scratch =
            tempfile::tempdir_in(self.session.builder.store.scratch())
                .map_err(|error| failed(error.to_string()))?;
        let base = &state.image.config.working_dir;
        let chmod = copy.chmod.as_deref().map(say).transpose()?;
        let chown = copy.chown.as_deref().map(say).transpose()?;
        if copy.link {
            link::check_owner(chown.as_deref()).map_err(failed)?;
        }
        let mut job = Job {
            copy,
            keyword: instruction.command.keyword(),
            summary: Summary::default(),
            groups: Vec::new(),
            other: None,
            destination: destination(base, &say(&copy.destination)?),
            chown,
            owner: None,
            mode: chmod
                .as_deref()
                .map(Chmod::parse)
                .transpose()
                .map_err(failed)?,
            exclude: Ignore::of_patterns(&copy.exclude).map_err(failed)?,
            scratch,
        };
        let paths = job.sources(&state.scope, say, failed)?;
        match &copy.from {
            _ if paths.is_empty() => {}
            None => {
                let tree = self.session.context.clone();
                job.take(tree, &paths).map_err(failed)?;
            }
            Some(name) => {
                let layers = self.layers_of(name, instruction)?;
                self.summarize(&mut job, layers, paths, failed)?;
            }
        }
        Ok(job)
    }

    /// Layers never change, so what was read from them once need not be read
    /// again, nor even mounted.
    fn summarize(
        &mut self,
        job: &mut Job<'_>,
        layers: Vec<DiffId>,
        paths: Vec<String>,
        failed: &dyn Fn(String) -> BuildError,
    ) -> Result<()> {
        let what = format!("{layers:?} {paths:?}");
        job.other = Some((layers, paths));
        if let Some(known) = self.session.cache.prints(&what) {
            job.summary.add(known);
            return Ok(());
        }
        let mut group = Summary::default();
        std::mem::swap(&mut group, &mut job.summary);
        let mounted = self.mount_other(job, failed)?;
        std::mem::swap(&mut group, &mut job.summary);
        self.session.cache.put_prints(&what, &group)?;
        job.summary.add(group);
        // Found again, in a new mount, if the step is carried out.
        job.groups.pop();
        drop(mounted);
        Ok(())
    }

    /// Mounts the other stage, if the sources are there, and finds them.
    pub(super) fn mount_other(
        &self,
        job: &mut Job<'_>,
        failed: &dyn Fn(String) -> BuildError,
    ) -> Result<Option<Mounted<'a>>> {
        let Some((layers, paths)) = &job.other else { return Ok(None) };
        let mounted = self.mount(layers)?;
        let root = mounted.path.clone();
        let ignore = Ignore::default();
        let tree = Tree { root, ignore, owners: true };
        job.take(tree, &paths.clone()).map_err(failed)?;
        Ok(Some(mounted))
    }
}

impl Summary {
    /// Sources may come from several places; the key is about all of them.
    fn add(&mut self, other: Summary) {
        self.names.extend(other.names);
        self.directories += other.directories;
        self.prints.extend(other.prints);
    }
}

/// The text of a here-document, expanded unless its name was quoted.
fn document(
    doc: &Heredoc,
    scope: &Scope,
) -> std::result::Result<String, String> {
    if !doc.expand {
        return Ok(doc.content.clone());
    }
    let get = |name: &str| scope.get(name);
    expand_document(&doc.content, scope.escape, &get)
        .map_err(|error| error.to_string())
}

/// `.` and a trailing `/` mean a directory, and so does `/.`.
fn destination(base: &str, text: &str) -> String {
    let directory = text == "." || text.ends_with('/') || text.ends_with("/.");
    let mut path = workdir(base, text);
    if directory && !path.ends_with('/') {
        path.push('/');
    }
    path
}

/// Whether a relative path begins above where it starts.
fn leads_out(path: &str) -> bool {
    let mut depth = 0_i32;
    path.split('/').any(|part| {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        depth < 0
    }) && !path.starts_with('/')
}

/// An error with paths as the image sees them.
fn as_inside(error: &crate::Error, rootfs: &Path) -> String {
    let root = rootfs.display().to_string();
    format!("failed to copy files: {}", error.to_string().replace(&root, ""))
}

impl Job<'_> {
    /// Gets here-documents and URLs; returns the paths that are left.
    fn sources(
        &mut self,
        scope: &Scope,
        say: impl Fn(&str) -> Result<String>,
        failed: &dyn Fn(String) -> BuildError,
    ) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        for source in &self.copy.sources {
            match source {
                CopySource::Path(text) => {
                    let text = say(text)?;
                    match self.keyword == "ADD" && add::is_remote(&text) {
                        true => self.download(&text).map_err(failed)?,
                        false => paths.push(text),
                    }
                }
                CopySource::Inline(doc) => {
                    let text = document(doc, scope).map_err(failed)?;
                    self.inline(&doc.name, &text).map_err(failed)?;
                }
            }
        }
        Ok(paths)
    }

    /// Finds paths in a tree and adds them to the sources.
    fn take(
        &mut self,
        tree: Tree,
        paths: &[String],
    ) -> std::result::Result<(), String> {
        let failed = |message| format!("{} failed: {message}", self.keyword);
        let mut found = Vec::new();
        for path in paths {
            if self.copy.from.is_none() && leads_out(path) {
                return Err(failed(format!(
                    "forbidden path outside the build context: {path} ()"
                )));
            }
            found.extend(tree.find(path).map_err(failed)?);
        }
        let prints = tree.prints(&found).map_err(|e| e.to_string())?;
        self.summary.add(Summary {
            names: found.iter().map(|f| f.name.clone()).collect(),
            directories: found.iter().filter(|f| f.path.is_dir()).count(),
            prints,
        });
        self.groups.push(Group { tree, found });
        Ok(())
    }

    /// A here-document as a file.
    fn inline(
        &mut self,
        name: &str,
        text: &str,
    ) -> std::result::Result<(), String> {
        let name = clean(name);
        let root = self.room()?;
        let path = root.join(&name);
        add::write_fixed(&path, text.as_bytes())
            .map_err(|error| format!("{name}: {error}"))?;
        self.extra(root, &name)
    }

    /// Fetched for every build, as Docker does: whether the file behind a URL
    /// is still the same cannot be known without asking.
    fn download(&mut self, url: &str) -> std::result::Result<(), String> {
        let checksum = self.copy.checksum.as_deref();
        let root = self.room()?;
        let name = add::download(url, checksum, &root)
            .map_err(|message| format!("ADD failed: {message}"))?;
        self.extra(root, &name)
    }

    /// A directory of its own: two URLs may end in the same name.
    fn room(&self) -> std::result::Result<PathBuf, String> {
        let name = self.groups.len().to_string();
        let room = self.scratch.path().join(name);
        fs::create_dir(&room).map_err(|error| error.to_string())?;
        Ok(room)
    }

    /// A source that is not in the context: a directory with one file.
    fn extra(
        &mut self,
        root: PathBuf,
        name: &str,
    ) -> std::result::Result<(), String> {
        let ignore = Ignore::default();
        let tree = Tree { root, ignore, owners: false };
        self.take(tree, &[name.to_owned()])
    }

    /// The instruction as the cache sees it: what decides about the result
    /// besides the files.
    fn canonical(&self) -> String {
        let (flags, names) = (self.flags(), self.summary.names.join(" "));
        let keyword = self.keyword;
        format!("{keyword} {flags}{names} {}", self.destination)
    }

    /// Where to, seen from the root.
    pub(super) fn destination(&self) -> PathBuf {
        self.destination.split('/').filter(|part| !part.is_empty()).collect()
    }

    /// The flags that decide about the result, expanded.
    fn flags(&self) -> String {
        let mut text = String::new();
        if let Some(owner) = &self.chown {
            text.push_str(&format!("--chown={owner} "));
        }
        if let Some(mode) = &self.mode {
            text.push_str(&format!("--chmod={mode} "));
        }
        if self.copy.link {
            text.push_str("--link ");
        }
        if self.copy.parents {
            text.push_str("--parents ");
        }
        if let Some(unpack) = self.copy.unpack {
            text.push_str(&format!("--unpack={unpack} "));
        }
        for pattern in &self.copy.exclude {
            text.push_str(&format!("--exclude={pattern} "));
        }
        text
    }

    /// The history line holds the files' fingerprint, as Docker's does: so
    /// two images can be compared step by step (`--cache-from`).
    fn created_by(&self, prints: &[Print]) -> String {
        let bytes = serde_json::to_vec(prints).unwrap_or_default();
        let digest = crate::Digest::of(&bytes);
        let kind = match (self.summary.names.len(), self.summary.directories) {
            (1, 0) => "file",
            (1, _) => "dir",
            _ => "multi",
        };
        let (hex, to) = (digest.hex(), &self.destination);
        let (keyword, flags) = (self.keyword, self.flags());
        format!("/bin/sh -c #(nop) {keyword} {flags}{kind}:{hex} in {to} ")
    }

    /// Copies everything. Names of owners can be looked up only now, in the
    /// image that they belong to.
    pub(super) fn carry_out(
        &mut self,
        rootfs: &Path,
    ) -> std::result::Result<(), String> {
        let owner = self.chown.as_deref();
        self.owner =
            owner.map(|text| users::owner(rootfs, text)).transpose()?;
        let count: usize = self.groups.iter().map(|g| g.found.len()).sum();
        if count > 1 && !self.destination.ends_with('/') {
            return Err(format!(
                "When using {} with more than one source file, the \
                 destination must be a directory and end with a /",
                self.keyword
            ));
        }
        for group in &self.groups {
            let mut copier = Copier::new(&group.tree, &self.exclude);
            copier.owner = self.owner;
            copier.mode.clone_from(&self.mode);
            for found in &group.found {
                let one = self.one(&mut copier, found, rootfs);
                one.map_err(|error| as_inside(&error, rootfs))?;
            }
            copier.finish().map_err(|error| as_inside(&error, rootfs))?;
        }
        Ok(())
    }

    /// Docker's table of cases: an archive for ADD, `--parents`, a directory
    /// (its contents), a file into a directory, a file under another name.
    fn one(
        &self,
        copier: &mut Copier<'_>,
        found: &Found,
        rootfs: &Path,
    ) -> crate::Result<()> {
        let io = crate::error::io_at;
        let meta = fs::symlink_metadata(&found.path)
            .map_err(io("look at", &found.path))?;
        let into = |path: String| {
            let at = Path::new(&path).to_owned();
            resolve(rootfs, &at).map_err(io("resolve", &at))
        };
        let unpacks = self.copy.unpack.unwrap_or(!self.is_scratch(found));
        if self.keyword == "ADD"
            && unpacks
            && meta.is_file()
            && add::is_archive(&found.path)?
        {
            return self.unpack(found, &into(self.destination.clone())?);
        }
        if self.copy.parents {
            let kept = found.name.as_str();
            return copier
                .copy(found, &into(format!("{}/{kept}", self.destination))?);
        }
        let to = into(self.destination.clone())?;
        if meta.is_dir() {
            copier.make_directory(&to, &stamps(&meta))?;
            return copier.copy(found, &to);
        }
        let name = found.name.rsplit('/').next().unwrap_or_default();
        match self.destination.ends_with('/') || to.is_dir() {
            true => copier
                .copy(found, &into(format!("{}/{name}", self.destination))?),
            false => copier.copy(found, &to),
        }
    }

    /// Unpacked beside first, then copied: so the rules for what is there
    /// already are those of every other copy.
    fn unpack(&self, archive: &Found, to: &Path) -> crate::Result<()> {
        let room = tempfile::tempdir_in(self.scratch.path())
            .map_err(crate::error::io_at("unpack", &archive.path))?;
        add::unpack(&archive.path, room.path())?;
        let root = room.path().to_owned();
        let whole = Found { name: String::new(), path: root.clone() };
        let ignore = Ignore::default();
        let tree = Tree { root, ignore, owners: true };
        // --chown and --chmod are for what is copied: an archive says itself
        // whose its files are.
        let mut copier = Copier::new(&tree, &self.exclude);
        copier.copy(&whole, to)?;
        copier.finish()
    }

    /// Whether a source came from the network or the Dockerfile.
    fn is_scratch(&self, found: &Found) -> bool {
        found.path.starts_with(self.scratch.path())
    }
}
