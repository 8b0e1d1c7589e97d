//! The offline catalogue: images made here when no registry can be reached.
//!
//! A classroom loses its network, or all of it shares one address and hits
//! Docker Hub's pull limit. For the few images that everybody starts with
//! there is a recipe (the directory `images/`, built into this binary): our
//! own builder makes a real image, in several layers, out of the packages of
//! this machine's own distribution. The image says so in a label.

mod apt;
mod recipe;

pub use apt::AptError;
pub use recipe::{Recipe, RecipeError, all, find};

use cli_api::state::{read_json, write_json};
use include_dir::{Dir, include_dir};
use layers::build::{BuildError, BuildEvent, BuildOptions, Builder};
use layers::registry::Progress;
use layers::store::RemoveOptions;
use layers::{
    ImageId, ImageSource, Platform, Reference, RunStep, Snapshots, Store,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The recipes, as they are in the source tree.
static RECIPES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../images");

/// The label that names the recipe an image was made from.
pub const LABEL: &str = "skiff.offline-catalogue";

/// Which image a recipe has made here, so that a recipe finds the one it is
/// based on whatever `debian:latest` means on this machine.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    image: ImageId,
}

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The packages could not be fetched.
    #[error(transparent)]
    Apt(#[from] AptError),
    /// The build failed.
    #[error("the recipe of {name} failed: {source}")]
    Build {
        /// The recipe.
        name: String,
        /// What went wrong.
        source: Box<BuildError>,
    },
    /// The store said no.
    #[error(transparent)]
    Layers(#[from] layers::Error),
    /// The recipe's files could not be written.
    #[error("cannot write the recipe's files to {path}: {source}")]
    Write {
        /// Where.
        path: String,
        /// The errno.
        source: std::io::Error,
    },
    /// A recipe in this binary is broken.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

/// What the recipes are made with.
#[derive(Clone, Copy)]
pub struct Kitchen<'a> {
    /// Where the images go.
    pub store: &'a Store,
    /// Writable root file systems.
    pub snapshots: &'a dyn Snapshots,
    /// Runs the recipes' commands.
    pub runner: &'a dyn RunStep,
}

impl std::fmt::Debug for Kitchen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kitchen").field("store", self.store).finish()
    }
}

impl Kitchen<'_> {
    /// Where the catalogue keeps its packages and its memory.
    fn shelf(&self) -> PathBuf {
        self.store.root().join("images/catalogue")
    }

    fn note(&self, recipe: &str) -> PathBuf {
        self.shelf().join(format!("{recipe}.json"))
    }

    /// The image that was made before, unless somebody has removed it.
    fn made(&self, recipe: &str) -> Option<ImageId> {
        let made: Made = read_json(&self.note(recipe)).ok()?;
        self.store.image(&made.image).ok().map(|image| image.id)
    }

    fn remember(
        &self,
        recipe: &str,
        image: &ImageId,
    ) -> Result<(), CatalogueError> {
        let path = self.note(recipe);
        let made = Made { image: image.clone() };
        write_json(&path, &made).map_err(|error| CatalogueError::Write {
            path: path.display().to_string(),
            source: std::io::Error::other(error),
        })
    }

    /// Removes an image without a name that nobody has asked for. It has
    /// just been made, so no container uses it; the build cache keeps its
    /// layers for the next time.
    fn put_away(&self, image: &ImageId) -> Result<(), CatalogueError> {
        let options = RemoveOptions { force: false, parents: false };
        self.store.remove(image.as_str(), options, &Vec::new)?;
        Ok(())
    }
}

/// One image at a time: two containers that are started at once must not
/// make the same image twice.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Recipe {
    /// Makes the image and gives it the name that was asked for. An image
    /// that was made before is only named. `progress` gets lines of text.
    pub fn build(
        &self,
        kitchen: &Kitchen<'_>,
        name: &Reference,
        progress: &mut (dyn FnMut(String) + Send),
    ) -> Result<ImageId, CatalogueError> {
        // A panic in another build leaves nothing half-made behind.
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
        let id = self.obtain(kitchen, progress)?;
        kitchen.store.tag(&name.clone().or_latest(), &id)?;
        Ok(id)
    }

    fn obtain(
        &self,
        kitchen: &Kitchen<'_>,
        progress: &mut (dyn FnMut(String) + Send),
    ) -> Result<ImageId, CatalogueError> {
        if let Some(id) = kitchen.made(&self.name) {
            return Ok(id);
        }
        let mut options = BuildOptions {
            network: Some("none".into()),
            labels: self.labels(),
            ..BuildOptions::default()
        };
        let mut base = None;
        if let Some(other) = &self.base {
            let id = recipe::named(other)?.obtain(kitchen, progress)?;
            options.args.insert("BASE".into(), id.to_string());
            base = Some(id);
        }
        let tools = self.borrow_tools(kitchen, &mut options, progress)?;
        let context = tempfile::tempdir_in(kitchen.store.scratch())
            .map_err(write_to(kitchen.store.scratch()))?;
        self.extract(context.path())?;
        progress(format!("{}: fetching packages with apt", self.name));
        let installed = match &base {
            Some(id) => apt::status_of(kitchen.store, id)?,
            None => String::new(),
        };
        let cache = kitchen.shelf();
        apt::fetch(self, &installed, &cache, context.path())?;
        let id = self.cook(kitchen, context.path(), &options, progress)?;
        kitchen.remember(&self.name, &id)?;
        if let Some(tools) = tools {
            kitchen.put_away(&tools)?;
        }
        Ok(id)
    }

    /// The image that is lent to RUN steps; returned if it was made for this
    /// purpose alone.
    fn borrow_tools(
        &self,
        kitchen: &Kitchen<'_>,
        options: &mut BuildOptions,
        progress: &mut (dyn FnMut(String) + Send),
    ) -> Result<Option<ImageId>, CatalogueError> {
        let Some(name) = &self.needs else { return Ok(None) };
        let there = kitchen.made(name).is_some();
        let id = recipe::named(name)?.obtain(kitchen, progress)?;
        options.args.insert("TOOLS".into(), id.to_string());
        Ok(Some(id).filter(|_| !there))
    }

    fn cook(
        &self,
        kitchen: &Kitchen<'_>,
        context: &Path,
        options: &BuildOptions,
        progress: &mut (dyn FnMut(String) + Send),
    ) -> Result<ImageId, CatalogueError> {
        let builder = Builder {
            store: kitchen.store,
            snapshots: kitchen.snapshots,
            runner: kitchen.runner,
            images: &OnlyWhatIsHere,
        };
        let mut output = String::new();
        let built = builder.build(context, options, &mut |event| match event {
            BuildEvent::Line(line) if line.starts_with("Step ") => {
                progress(format!("{}: {}", self.name, one_line(&line)));
            }
            BuildEvent::Output(_, bytes) => {
                output.push_str(&String::from_utf8_lossy(&bytes));
            }
            _ => {}
        });
        built.map_err(|source| {
            // What the failed command said is the reason; without failure
            // nobody wants to read it.
            for line in last_lines(&output, 20) {
                progress(line.to_owned());
            }
            let (name, source) = (self.name.clone(), Box::new(source));
            CatalogueError::Build { name, source }
        })
    }

    fn labels(&self) -> std::collections::BTreeMap<String, String> {
        let about = format!(
            "{} (made from this machine's own packages, not pulled)",
            self.about
        );
        [
            (LABEL.to_owned(), self.name.clone()),
            ("org.opencontainers.image.description".to_owned(), about),
        ]
        .into()
    }

    fn extract(&self, to: &Path) -> Result<(), CatalogueError> {
        for file in self.files() {
            let name = file.path().file_name().unwrap_or_default();
            let path = to.join(name);
            std::fs::write(&path, file.contents()).map_err(write_to(&path))?;
        }
        Ok(())
    }
}

fn write_to(path: &Path) -> impl FnOnce(std::io::Error) -> CatalogueError {
    let path = path.display().to_string();
    move |source| CatalogueError::Write { path, source }
}

/// An instruction may be many lines long; its beginning says which it is.
fn one_line(text: &str) -> String {
    const WIDTH: usize = 64;
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn last_lines(text: &str, count: usize) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

/// Recipes name their base by its ID, so nothing is ever to be fetched.
struct OnlyWhatIsHere;

impl ImageSource for OnlyWhatIsHere {
    fn fetch(
        &self,
        reference: &Reference,
        _: Option<&Platform>,
        _: bool,
        _: &(dyn Fn(Progress) + Sync),
    ) -> layers::Result<ImageId> {
        Err(layers::Error::NoSuchImage(reference.familiar()))
    }
}
