//! `image catalogue`: what can be had without a registry.

use clap::Args;
use cli_api::table::Table;

use crate::engine::catalogue;

/// List the images that are made here when no registry can be reached
#[derive(Debug, Clone, Args)]
pub(crate) struct CatalogueArgs {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

/// `image catalogue`: part of the program, so no engine is asked.
pub(crate) fn print(args: &CatalogueArgs) {
    let recipes = catalogue::all();
    if args.quiet {
        recipes.iter().for_each(|recipe| println!("{}", recipe.name));
        return;
    }
    let mut table = Table::new(["NAME", "TAGS", "WHAT IT IS"]);
    for recipe in &recipes {
        let tags = match recipe.tags.is_empty() {
            true => "latest".to_owned(),
            false => recipe.tags.join(", "),
        };
        table.row([recipe.name.as_str(), tags.as_str(), recipe.about.as_str()]);
    }
    print!("{table}");
}
