//! Reading a recipe, and finding the one for an image's name.

use super::RECIPES;
use include_dir::{Dir, File};
use layers::Reference;

/// How an image of the catalogue is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipe {
    /// The image's name without registry: `nginx`.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// The recipe whose image this one is FROM.
    pub(super) base: Option<String>,
    /// A recipe whose image is lent to RUN steps.
    pub(super) needs: Option<String>,
    /// Packages to install, for apt.
    pub(super) packages: Vec<String>,
    /// Packages that not every distribution has.
    pub(super) optional: Vec<String>,
    /// A package to unpack on this side, for a base without tools.
    pub(super) unpack: Option<String>,
    /// The package whose version is the image's.
    pub version: Option<String>,
    /// Tags that mean this image besides its version.
    pub tags: Vec<String>,
}

/// What is wrong with a recipe. It is part of this binary, so this is a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// No directory of this name.
    #[error("the offline catalogue has no recipe {0:?}")]
    Missing(String),
    /// A line that is not `key: value` with a known key.
    #[error("images/{name}/recipe: {line:?} is not understood")]
    Line {
        /// The recipe.
        name: String,
        /// The line.
        line: String,
    },
}

/// All recipes, by name.
pub fn all() -> Vec<Recipe> {
    let dirs = RECIPES.dirs().filter_map(|dir| read(dir)?.ok());
    let mut found: Vec<Recipe> = dirs.collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The recipe for an image's name, if the catalogue has one: only for
/// official images of Docker Hub, and only for a tag that means "whatever is
/// current" or the version that this machine's distribution has.
pub fn find(reference: &Reference) -> Option<Recipe> {
    let official = reference.domain() == layers::reference::DEFAULT_DOMAIN;
    let name = reference.path().strip_prefix(layers::reference::OFFICIAL)?;
    if !official || reference.digest().is_some() {
        return None;
    }
    let recipe = named(name).ok()?;
    let tag = reference.tag().unwrap_or(layers::reference::DEFAULT_TAG);
    recipe.answers_to(tag).then_some(recipe)
}

pub(super) fn named(name: &str) -> Result<Recipe, RecipeError> {
    let missing = || RecipeError::Missing(name.to_owned());
    let dir = RECIPES.get_dir(name).ok_or_else(missing)?;
    read(dir).ok_or_else(missing)?
}

fn read(dir: &Dir<'_>) -> Option<Result<Recipe, RecipeError>> {
    let name = dir.path().to_str()?;
    let text = dir.get_file(dir.path().join("recipe"))?.contents_utf8()?;
    Some(Recipe::parse(name, text))
}

impl Recipe {
    fn parse(name: &str, text: &str) -> Result<Self, RecipeError> {
        let mut recipe = Self { name: name.to_owned(), ..Self::default() };
        for line in text.lines() {
            let wrong = || RecipeError::Line {
                name: name.to_owned(),
                line: line.to_owned(),
            };
            let (key, value) = line.split_once(": ").ok_or_else(wrong)?;
            let one = || Some(value.to_owned());
            let list = || value.split(' ').map(String::from).collect();
            match key {
                "about" => recipe.about = value.to_owned(),
                "base" => recipe.base = one(),
                "needs" => recipe.needs = one(),
                "packages" => recipe.packages = list(),
                "optional" => recipe.optional = list(),
                "unpack" => recipe.unpack = one(),
                "version" => recipe.version = one(),
                "tags" => recipe.tags = list(),
                _ => return Err(wrong()),
            }
        }
        Ok(recipe)
    }

    /// The files beside the recipe, and those that all recipes share.
    pub(super) fn files(&self) -> Vec<&'static File<'static>> {
        let dirs = ["common", &self.name].map(|name| RECIPES.get_dir(name));
        dirs.into_iter().flatten().flat_map(Dir::files).collect()
    }

    fn answers_to(&self, tag: &str) -> bool {
        if self.tags.iter().any(|known| known == tag) {
            return true;
        }
        let package = self.version.as_deref();
        let candidate = package.and_then(super::apt::candidate);
        candidate.is_some_and(|version| is_version(tag, &version))
    }
}

/// Whether `tag` is the beginning of a package's version: `7`, `7.0` and
/// `7.0.15` for `5:7.0.15-1~deb12u10`.
fn is_version(tag: &str, package: &str) -> bool {
    let upstream = package.split_once(':').map_or(package, |(_, v)| v);
    let end = upstream.find(['-', '+', '~']).unwrap_or(upstream.len());
    let parts: Vec<&str> = upstream[..end].split('.').collect();
    (1..=parts.len()).any(|count| parts[..count].join(".") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str) -> Option<String> {
        find(&name.parse().unwrap()).map(|recipe| recipe.name)
    }

    #[test]
    fn every_recipe_parses_and_its_relatives_exist() {
        for dir in RECIPES.dirs().filter(|d| !d.path().ends_with("common")) {
            let recipe = read(dir).unwrap().unwrap();
            assert!(!recipe.about.is_empty(), "{}", recipe.name);
            for other in recipe.base.iter().chain(&recipe.needs) {
                named(other).unwrap();
            }
            let file = dir.get_file(dir.path().join("Dockerfile")).unwrap();
            let text = file.contents_utf8().unwrap();
            layers::build::Dockerfile::parse(text).unwrap();
        }
        let names: Vec<String> = all().into_iter().map(|r| r.name).collect();
        assert_eq!(
            names,
            ["busybox", "debian", "nginx", "postgres", "python", "redis"]
        );
    }

    #[test]
    fn only_official_names_with_a_tag_that_fits_are_found() {
        assert_eq!(found("nginx").as_deref(), Some("nginx"));
        let long = found("docker.io/library/nginx:latest");
        assert_eq!(long.as_deref(), Some("nginx"));
        for other in [
            "somebody/nginx",
            "localhost:5000/nginx",
            "nginx:alpine",
            "nginx:0.1",
            "mysql",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
    }

    #[test]
    fn a_tag_may_be_the_beginning_of_the_packages_version() {
        let package = "5:7.0.15-1~deb12u10";
        for tag in ["7", "7.0", "7.0.15"] {
            assert!(is_version(tag, package), "{tag}");
        }
        for tag in ["7.", "7.0.1", "5", "70", ""] {
            assert!(!is_version(tag, package), "{tag}");
        }
        assert!(is_version("15", "15+248+deb12u2"));
    }
}
