//! Commands about images.

pub(crate) mod build;
mod catalogue;
mod context_tar;
mod files;
mod layout;
mod lent;
mod list;
mod output;
pub(crate) mod pull;
mod rescue;
mod sharing;
mod tags;
mod tree;

use clap::Subcommand;
use layers::Reference;

use super::context::Context;
use super::inspect;
use super::prune::{self, PruneAllArgs};

/// The verbs that also stand alone.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Verb {
    Pull(pull::PullArgs),
    Push(pull::PushArgs),
    Build(Box<build::BuildArgs>),
    Tag(tags::TagArgs),
    History(list::HistoryArgs),
    Save(files::SaveArgs),
    Load(files::LoadArgs),
    Import(files::ImportArgs),
}

/// `skiff image …`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Group {
    #[command(flatten)]
    Verb(Verb),
    #[command(visible_alias = "list")]
    Ls(list::ImagesArgs),
    #[command(visible_alias = "remove")]
    Rm(tags::RmiArgs),
    /// Show all that is known about images
    Inspect(inspect::ImageArgs),
    /// Remove images that nobody uses
    Prune(PruneAllArgs),
    Tree(tree::TreeArgs),
    Catalogue(catalogue::CatalogueArgs),
}

pub(crate) use list::{HEADERS, ImagesArgs, images, names};
pub(crate) use tags::{RmiArgs, rmi};

impl Verb {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<u8> {
        match self {
            Verb::Pull(args) => pull::pull(context, args).await,
            Verb::Push(args) => pull::push(context, args).await,
            Verb::Build(args) => build::build(context, *args).await,
            Verb::Tag(args) => tags::tag(context, args).await,
            Verb::History(args) => list::history(context, args).await,
            Verb::Save(args) => files::save(context, args).await,
            Verb::Load(args) => files::load(context, args).await,
            Verb::Import(args) => files::import(context, args).await,
        }
    }
}

impl Group {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<u8> {
        match self {
            Group::Verb(verb) => verb.run(context).await,
            Group::Ls(args) => images(context, args).await,
            Group::Rm(args) => rmi(context, args).await,
            Group::Inspect(args) => inspect::image(context, args).await,
            Group::Tree(args) => tree::tree(context, args).await,
            Group::Catalogue(args) => {
                catalogue::print(&args);
                Ok(0)
            }
            Group::Prune(args) => {
                prune::all(context, args, &prune::IMAGES).await
            }
        }
    }
}

/// A name with its tag, `:latest` if it has neither tag nor digest.
pub(crate) fn with_tag(name: &str) -> String {
    match name.parse::<Reference>() {
        Ok(it) => it.or_latest().familiar(),
        Err(_) => name.to_owned(),
    }
}

/// `docker.io/library/x` and `latest`: the two halves that requests have.
///
/// # Errors
/// If it is no name.
pub(crate) fn repo_and_tag(name: &str) -> anyhow::Result<(String, String)> {
    let reference: Reference = name.parse()?;
    let reference = reference.or_latest();
    let tag = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    };
    Ok((reference.name(), tag))
}
