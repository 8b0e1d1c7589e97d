//! The book's tool: `cargo run -p book` builds the book, proves that it
//! tells the truth, and serves it.
//!
//! Two promises are kept here. Every Rust listing is cut out of code that the
//! workspace compiles ([`weave`]), and every console block is a transcript
//! that was run ([`transcript`]). What is left for a reader to trip over, such
//! as a dead link, is looked for in [`lint`]. The same program runs the
//! [`workshop`]: exercises whose checks look at the kernel.

mod anchors;
mod attacks;
mod doctor;
mod lint;
mod minutes;
mod pack;
mod pictures;
mod prices;
mod render;
mod serve;
mod transcript;
mod weave;
mod workshop;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, checks and serves the book "From fork to nginx".
#[derive(Parser)]
#[command(name = "book")]
struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the book and serve it on this machine (the default)
    Serve {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:3000")]
        listen: std::net::SocketAddr,
    },
    /// Build the book into target/book and check every page of it
    Build,
    /// Carry out the book's abuses: before their chapter, and after
    Attack {
        /// Only the one of this name
        name: Option<String>,
    },
    /// Say which chapters this machine can do, and how to get the others
    Doctor {
        /// Print what was found out, as JSON, instead of verdicts
        #[arg(long)]
        facts: bool,
    },
    /// Pack all that a room without a network needs
    Pack {
        /// The directory to make
        #[arg(default_value = "target/bundle")]
        dir: PathBuf,
        /// An image to take along; may repeat
        #[arg(
            long = "image",
            value_name = "IMAGE",
            default_values = ["busybox", "debian", "nginx"]
        )]
        images: Vec<String>,
    },
    /// Run the container that the pictures show, and compare
    Pictures {
        /// Take it over into the pictures instead of comparing
        #[arg(long)]
        bless: bool,
    },
    /// Take what `cargo bench -p benches` measured last into the book
    Prices,
    /// Run every console block and compare what it prints with the text
    Transcripts {
        /// Only chapters whose file name contains this
        chapter: Option<String>,
        /// Write what was printed into the text instead of comparing
        #[arg(long)]
        bless: bool,
    },
    #[command(flatten)]
    Workshop(workshop::Verb),
}

fn main() -> Result<()> {
    let root = workspace_root();
    match Args::parse().verb {
        None => serve::serve(&root, ([127, 0, 0, 1], 3000).into()),
        Some(Verb::Serve { listen }) => serve::serve(&root, listen),
        Some(Verb::Build) => {
            let pages = render::build(&root)?;
            println!("target/book: {pages} pages, all links sound");
            Ok(())
        }
        Some(Verb::Attack { name }) => attacks::run(&root, name.as_deref()),
        Some(Verb::Doctor { facts }) => doctor::run(facts),
        Some(Verb::Pack { dir, images }) => pack::pack(&root, &dir, &images),
        Some(Verb::Pictures { bless }) => pictures::check(&root, bless),
        Some(Verb::Prices) => {
            let count = prices::record(&root)?;
            println!("book/data/prices.json: {count} medians");
            Ok(())
        }
        Some(Verb::Transcripts { chapter, bless }) => {
            transcript::run_all(&root, chapter.as_deref(), bless)
        }
        Some(Verb::Workshop(verb)) => verb.run(&root),
    }
}

/// The workspace this tool was compiled from: its parent directory.
fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard};

    use super::*;

    /// Held by a test that has Cargo build something. Cargo takes a library
    /// away before it builds it anew, and a checker that calls rustc at that
    /// moment does not find it.
    pub(crate) fn building() -> MutexGuard<'static, ()> {
        static BUILDING: Mutex<()> = Mutex::new(());
        BUILDING.lock().unwrap_or_else(|it| it.into_inner())
    }

    #[test]
    fn the_book_builds_and_every_page_is_sound() {
        render::build(&workspace_root()).unwrap();
    }
}
