//! Getting ready what `RUN --mount` lends to a step.

use super::copying::Copier;
use super::dockerfile::{Instruction, MountKind, RunMount as Asked};
use super::ignore::Ignore;
use super::mounted::Mounted;
use super::options::BuildError;
use super::stage::StageBuild;
use super::tree::{Found, Print, Tree};
use crate::error::io_at;
use crate::{MountSource, RunMount};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// What this module's functions return.
type Result<T> = std::result::Result<T, BuildError>;

/// Mounts ready for use, and what must live until the step has ended.
/// Dropping it unmounts, deletes and unlocks, in that order: fields are
/// dropped in the order in which they are written here.
#[derive(Default)]
pub(super) struct Lent<'a> {
    pub(super) mounts: Vec<RunMount>,
    pub(super) env: Vec<String>,
    mounted: Vec<Mounted<'a>>,
    directories: Vec<tempfile::TempDir>,
    locks: Vec<File>,
}

/// What the mounts of a RUN add to its cache key.
#[derive(Debug, Default)]
pub(super) struct MountInputs {
    /// Options.
    pub(super) text: String,
    /// Files of the context, and other stages as a whole.
    pub(super) files: Vec<Print>,
}

impl<'a> StageBuild<'_, 'a> {
    /// A bind mount's content decides about the result, a cache's and a
    /// secret's must not.
    pub(super) fn mount_inputs(
        &mut self,
        mounts: &[Asked],
        at: &Instruction,
    ) -> Result<MountInputs> {
        let mut inputs = MountInputs::default();
        for mount in mounts {
            inputs.text.push_str(&format!(" --mount={mount:?}"));
            match &mount.kind {
                MountKind::Bind { from: Some(name), .. } => {
                    let layers = self.layers_of(name, at)?;
                    inputs.files.push(Print::of_layers(name, &layers));
                }
                MountKind::Bind { from: None, source, .. } => {
                    let fail = |m| BuildError::step(m, &at.excerpt);
                    let found =
                        self.session.context.find(source).map_err(fail)?;
                    let prints = self.session.context.prints(&found);
                    inputs
                        .files
                        .extend(prints.map_err(|e| fail(e.to_string()))?);
                }
                _ => {}
            }
        }
        Ok(inputs)
    }

    /// Makes everything that the mounts need.
    pub(super) fn lend(
        &mut self,
        mounts: &[Asked],
        at: &Instruction,
    ) -> Result<Lent<'a>> {
        let mut lent = Lent::default();
        for mount in mounts {
            self.lend_one(&mut lent, mount, at)?;
        }
        Ok(lent)
    }

    /// By kind.
    fn lend_one(
        &mut self,
        lent: &mut Lent<'a>,
        mount: &Asked,
        at: &Instruction,
    ) -> Result<()> {
        let target = mount.target.clone();
        match &mount.kind {
            MountKind::Tmpfs { size } => {
                let size = Some(*size).filter(|size| *size > 0);
                let source = MountSource::Tmpfs { size };
                lent.mounts.push(RunMount { target, source });
            }
            MountKind::Bind { from, source, writable } => {
                let from = from.as_deref();
                let path = self.origin_path(lent, from, source, at)?;
                let path = match writable {
                    true => self.copy_of(lent, &path, from.is_some())?,
                    false => path,
                };
                lent.bind(target, path, !writable);
            }
            MountKind::Cache { readonly, .. } => {
                let path = self.cache_directory(lent, &mount.kind, at)?;
                lent.bind(target, path, *readonly);
            }
            MountKind::Secret { id, .. } => {
                self.secret(lent, id, &target, &mount.kind, at)?;
            }
            MountKind::Ssh { id, required, uid, gid, .. } => {
                if (*uid, *gid) != (0, 0) {
                    let message = "--mount=type=ssh: the agent's socket \
                                   keeps its owner, uid= and gid= are not \
                                   supported";
                    return Err(BuildError::step(message, &at.excerpt));
                }
                self.agent(lent, id, target, *required, at)?;
            }
        }
        Ok(())
    }

    /// A path in the context or in another stage.
    fn origin_path(
        &mut self,
        lent: &mut Lent<'a>,
        from: Option<&str>,
        source: &str,
        at: &Instruction,
    ) -> Result<PathBuf> {
        let fail = |message| BuildError::step(message, &at.excerpt);
        let Some(name) = from else {
            let found = self.session.context.find(source).map_err(fail)?;
            let path = found[0].path.clone();
            // Ignored files must not be seen; a mount cannot hide them.
            return match self.session.context.ignore.is_empty() {
                true => Ok(path),
                false => self.copy_of(lent, &path, false),
            };
        };
        let layers = self.layers_of(name, at)?;
        let mounted = self.mount_source(&layers)?;
        let root = mounted.path.clone();
        let ignore = Ignore::default();
        let tree = Tree { root, ignore, owners: true };
        let found = tree.find(source).map_err(fail)?;
        lent.mounted.push(mounted);
        Ok(found[0].path.clone())
    }

    /// A copy that may be written to and is thrown away.
    fn copy_of(
        &self,
        lent: &mut Lent<'a>,
        path: &Path,
        owners: bool,
    ) -> Result<PathBuf> {
        let room = self.room(lent, self.session.builder.store.scratch())?;
        let to = room.join("copy");
        self.copy_into(path, &to, owners)?;
        Ok(to)
    }

    /// Copies with the rules of the tree that `path` is in: the context has
    /// its ignored files, a stage has owners.
    fn copy_into(&self, path: &Path, to: &Path, owners: bool) -> Result<()> {
        let context = path.starts_with(&self.session.context.root);
        let tree = match context {
            true => self.session.context.clone(),
            false => Tree {
                root: path.to_owned(),
                ignore: Ignore::default(),
                owners,
            },
        };
        let none = Ignore::default();
        let mut copier = Copier::new(&tree, &none);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.into_owned();
        let (pivot, path) = (0, path.to_owned());
        copier.copy(&Found { name, pivot, path }, to)?;
        Ok(copier.finish()?)
    }

    /// A directory that goes with the step.
    fn room(&self, lent: &mut Lent<'a>, at: &Path) -> Result<PathBuf> {
        let room = tempfile::tempdir_in(at)
            .map_err(io_at("make a directory in", at))?;
        let path = room.path().to_owned();
        lent.directories.push(room);
        Ok(path)
    }

    /// `shared` and `locked` are flock(2) in its two forms, so builds of
    /// several processes respect each other; `private` is a lock that is not
    /// waited for. A new cache is made under the lock.
    fn cache_directory(
        &mut self,
        lent: &mut Lent<'a>,
        kind: &MountKind,
        at: &Instruction,
    ) -> Result<PathBuf> {
        let MountKind::Cache {
            id, from, source, sharing, mode, uid, gid, ..
        } = kind
        else {
            unreachable!()
        };
        let mut path = self.session.cache.mount(id);
        let lock = path.with_extension("lock");
        let file = File::create(&lock).map_err(io_at("make", &lock))?;
        let free = match sharing.as_str() {
            "locked" => file.lock().is_ok(),
            "private" => file.try_lock().is_ok(),
            _ => file.lock_shared().is_ok(),
        };
        if !free {
            // Private and in use: this build gets one that nobody keeps.
            let scratch = self.session.builder.store.scratch();
            path = self.room(lent, scratch)?.join("cache");
        }
        lent.locks.push(file);
        if path.exists() {
            return Ok(path);
        }
        match from {
            None => fs::create_dir(&path).map_err(io_at("make", &path))?,
            Some(name) => {
                let name = Some(name.as_str());
                let from = self.origin_path(lent, name, source, at)?;
                self.copy_into(&from, &path, true)?;
            }
        }
        own(&path, *mode, *uid, *gid)?;
        Ok(path)
    }

    /// A secret is no input of the step: a new token must not run a download
    /// again that has already succeeded.
    fn secret(
        &mut self,
        lent: &mut Lent<'a>,
        id: &str,
        target: &str,
        kind: &MountKind,
        at: &Instruction,
    ) -> Result<()> {
        let MountKind::Secret { env, required, mode, uid, gid, .. } = kind
        else {
            unreachable!()
        };
        let Some(content) = self.session.options.secrets.get(id) else {
            let message = format!(
                "secret {id}: not found; give it to the build with --secret \
                 id={id},src=FILE"
            );
            return missing(*required, message, at);
        };
        if let Some(name) = env {
            let text = String::from_utf8_lossy(content);
            lent.env.push(format!("{name}={text}"));
            if target.is_empty() {
                return Ok(());
            }
        }
        let path = self.room(lent, self.memory())?.join("secret");
        fs::write(&path, content).map_err(io_at("write", &path))?;
        own(&path, *mode, *uid, *gid)?;
        let target = match target {
            "" => format!("/run/secrets/{id}"),
            target => target.to_owned(),
        };
        lent.bind(target, path, true);
        Ok(())
    }

    /// In memory, where there is such a place: a secret that was never
    /// written to a disk cannot be found on it.
    fn memory(&self) -> &Path {
        let shm = Path::new("/dev/shm");
        match shm.is_dir() {
            true => shm,
            false => self.session.builder.store.scratch(),
        }
    }

    /// The agent's socket is mounted, the keys stay where they are.
    fn agent(
        &self,
        lent: &mut Lent<'a>,
        id: &str,
        target: String,
        required: bool,
        at: &Instruction,
    ) -> Result<()> {
        let Some(socket) = self.session.options.ssh.get(id) else {
            let message = format!(
                "no ssh agent {id:?} was given to the build; use --ssh {id}"
            );
            return missing(required, message, at);
        };
        let target = match target.as_str() {
            "" => format!("/run/buildkit/ssh_agent.{}", lent.mounts.len()),
            _ => target,
        };
        lent.env.push(format!("SSH_AUTH_SOCK={target}"));
        lent.bind(target, socket.clone(), false);
        Ok(())
    }
}

impl Lent<'_> {
    /// One more mount of a path on this machine.
    pub(super) fn bind(
        &mut self,
        target: String,
        path: PathBuf,
        read_only: bool,
    ) {
        let source = MountSource::Bind { path, read_only };
        self.mounts.push(RunMount { target, source });
    }
}

/// What a mount that was not given means.
fn missing(required: bool, message: String, at: &Instruction) -> Result<()> {
    match required {
        true => Err(BuildError::step(message, &at.excerpt)),
        false => Ok(()),
    }
}

/// Owner first: chown(2) clears bits of the mode.
fn own(path: &Path, mode: u32, uid: u32, gid: u32) -> Result<()> {
    chown(path, Some(uid), Some(gid)).map_err(io_at("chown", path))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(io_at("chmod", path))?;
    Ok(())
}
