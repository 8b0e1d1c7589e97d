//! COPY and ADD: which files, where to, and is it in the cache?

use super::cache::Inputs;
use super::dockerfile::{Copy, Instruction};
use super::ignore::Ignore;
use super::link::{self, Way};
use super::metadata::workdir;
use super::mode::Chmod;
use super::mounted::Mounted;
use super::options::BuildError;
use super::stage::{StageBuild, State, say};
use super::tree::{Found, Print, Tree};
use crate::DiffId;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

mod carry_out;
mod sources;

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
        let paths = job.sources(
            &state.scope,
            say,
            failed,
            &self.session.options.cancel,
        )?;
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
        // Where a path is parted counts with `--parents` alone.
        let parents = job.copy.parents;
        let what = format!("{layers:?} {paths:?} parents: {parents}");
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
        let mounted = self.mount_source(layers)?;
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

/// `.` and a trailing `/` mean a directory, and so does `/.`.
fn destination(base: &str, text: &str) -> String {
    let directory = text == "." || text.ends_with('/') || text.ends_with("/.");
    let mut path = workdir(base, text);
    if directory && !path.ends_with('/') {
        path.push('/');
    }
    path
}

impl Job<'_> {
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
        let bytes = match self.copy.parents {
            // A pivot changes what the names become.
            true => serde_json::to_vec(&(prints, &self.summary.names)),
            false => serde_json::to_vec(prints),
        }
        .unwrap_or_default();
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
}
