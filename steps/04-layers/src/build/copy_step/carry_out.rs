//! Putting the sources where they belong.

use super::Job;
use crate::build::add;
use crate::build::copying::{Copier, stamps};
use crate::build::ignore::Ignore;
use crate::build::rootpath::resolve;
use crate::build::through::Through;
use crate::build::tree::{Found, Tree};
use crate::build::users;
use std::fs;
use std::path::Path;

impl Job<'_> {
    /// Copies everything. Names of owners can be looked up only now, in the
    /// image that they belong to.
    pub(in crate::build) fn carry_out(
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
            let to = into(self.destination.clone())?;
            return self.unpack(found, &to, rootfs);
        }
        if self.copy.parents {
            let kept = found.kept();
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
    fn unpack(
        &self,
        archive: &Found,
        to: &Path,
        rootfs: &Path,
    ) -> crate::Result<()> {
        let room = tempfile::tempdir_in(self.scratch.path())
            .map_err(crate::error::io_at("unpack", &archive.path))?;
        add::unpack(&archive.path, room.path())?;
        let root = room.path().to_owned();
        let (name, path) = (String::new(), root.clone());
        let whole = Found { name, pivot: 0, path };
        let ignore = Ignore::default();
        let tree = Tree { root, ignore, owners: true };
        // --chown and --chmod are for what is copied: an archive says itself
        // whose its files are.
        let mut copier = Copier::new(&tree, &self.exclude);
        copier.through = Some(Through::new(rootfs, &archive.path));
        copier.copy(&whole, to)?;
        copier.finish()
    }

    /// Whether a source came from the network or the Dockerfile.
    fn is_scratch(&self, found: &Found) -> bool {
        found.path.starts_with(self.scratch.path())
    }
}

/// An error with paths as the image sees them.
fn as_inside(error: &crate::Error, rootfs: &Path) -> String {
    let root = rootfs.display().to_string();
    format!("failed to copy files: {}", error.to_string().replace(&root, ""))
}
