//! Getting the sources: paths, here-documents, URLs.

use super::{Group, Job, Result, Summary};
use crate::build::add;
use crate::build::dockerfile::{CopySource, Heredoc};
use crate::build::expand::expand_document;
use crate::build::ignore::{Ignore, clean};
use crate::build::options::BuildError;
use crate::build::remote::Remote;
use crate::build::scope::Scope;
use crate::build::tree::{Found, Tree};
use crate::registry::Cancel;
use std::fs;
use std::path::PathBuf;

impl Job<'_> {
    /// Gets here-documents and URLs; returns the paths that are left.
    pub(super) fn sources(
        &mut self,
        scope: &Scope,
        say: impl Fn(&str) -> Result<String>,
        failed: &dyn Fn(String) -> BuildError,
        cancel: &Cancel,
    ) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        for source in &self.copy.sources {
            match source {
                CopySource::Path(text) => {
                    let text = say(text)?;
                    let remote = Remote::of(&text).is_some();
                    match self.keyword == "ADD" && remote {
                        true => {
                            self.download(&text, cancel).map_err(failed)?;
                        }
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
    pub(super) fn take(
        &mut self,
        tree: Tree,
        paths: &[String],
    ) -> std::result::Result<(), String> {
        let failed = |message| format!("{} failed: {message}", self.keyword);
        let mut found = Vec::new();
        for path in paths {
            if self.copy.from.is_none() && leads_out(path) {
                return Err(failed(format!(
                    "forbidden path outside the build context: {path} (only \
                     what is below the context's directory is sent)"
                )));
            }
            found.extend(tree.find(path).map_err(failed)?);
        }
        let prints = tree.prints(&found).map_err(|e| e.to_string())?;
        self.summary.add(Summary {
            names: found.iter().map(|it| self.said(it)).collect(),
            directories: found.iter().filter(|f| f.path.is_dir()).count(),
            prints,
        });
        self.groups.push(Group { tree, found });
        Ok(())
    }

    /// A source as a part of the key.
    fn said(&self, found: &Found) -> String {
        match self.copy.parents && found.pivot > 0 {
            true => format!("{}:{}", found.pivot, found.name),
            false => found.name.clone(),
        }
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
    fn download(
        &mut self,
        url: &str,
        cancel: &Cancel,
    ) -> std::result::Result<(), String> {
        let checksum = self.copy.checksum.as_deref();
        let root = self.room()?;
        let name = add::download(url, checksum, &root, cancel)
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
