//! What a reader would trip over: looked for in the text before it is woven
//! and in the pages after they are rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use regex::Regex;

/// Every Markdown file below `dir`, in order.
pub(crate) fn chapters(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .with_context(|| format!("list {}", dir.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|end| end == "md"));
    files.sort();
    Ok(files)
}

/// Refuses pasted Rust, empty blocks, blocks without a language, pictures
/// without a text for those who cannot see them, and names of files that the
/// workspace at `root` does not have.
pub(crate) fn check_text(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    for file in chapters(&root.join("book/text"))? {
        let text = fs::read_to_string(&file)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let mut found = text_faults(&text);
        found.extend(missing_files(&text, root));
        for fault in found {
            faults.push(format!("{name}: {fault}"));
        }
    }
    fail_on(faults)
}

/// Files of the workspace that the text names in passing, as
/// `final/src/shim/`, and that are not there.
fn missing_files(text: &str, root: &Path) -> Vec<String> {
    // Not `images/`: the engine's data root has a directory of that name.
    const OURS: [&str; 6] =
        ["steps/", "final/", "book/", "benches/", "scripts/", ".ci/"];
    let is_path = |code: &str| {
        OURS.iter().any(|dir| code.starts_with(dir))
            && !code.contains(|c: char| c.is_whitespace() || "*…<".contains(c))
    };
    let mut faults = Vec::new();
    for (event, at) in Parser::new(text).into_offset_iter() {
        let Event::Code(code) = event else { continue };
        if is_path(&code) && !root.join(code.as_ref()).exists() {
            let line = text[..at.start].lines().count().max(1);
            faults.push(format!("line {line}: there is no `{code}`"));
        }
    }
    faults
}

fn text_faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut code: Option<(String, String)> = None;
    let mut picture: Option<String> = None;
    for (event, at) in Parser::new(text).into_offset_iter() {
        let line = text[..at.start].lines().count().max(1);
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                code = Some((info.to_string(), String::new()));
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some((info, body)) = code.take() {
                    faults.extend(block_faults(&info, &body, line));
                }
            }
            Event::Start(Tag::Image { .. }) => picture = Some(String::new()),
            Event::End(TagEnd::Image) => {
                let alt = picture.take();
                if alt.is_some_and(|alt| alt.trim().is_empty()) {
                    faults.push(format!("line {line}: picture without text"));
                }
            }
            Event::Text(more) => {
                if let Some((_, body)) = &mut code {
                    body.push_str(&more);
                } else if let Some(alt) = &mut picture {
                    alt.push_str(&more);
                }
            }
            _ => {}
        }
    }
    faults
}

fn block_faults(info: &str, body: &str, line: usize) -> Option<String> {
    let language = info.split(',').next().unwrap_or_default();
    if language == "rust" {
        Some(format!("line {line}: pasted Rust; use {{{{#listing …}}}}"))
    } else if language.is_empty() {
        Some(format!("line {line}: a code block without a language"))
    } else if body.trim().is_empty() {
        Some(format!("line {line}: an empty block"))
    } else {
        None
    }
}

/// Follows every link, picture and script of the rendered pages below `dir`
/// and returns the number of pages. Nothing may be fetched from elsewhere:
/// the book has to work in a room without a network.
pub(crate) fn check_pages(dir: &Path) -> Result<usize> {
    let pages = read_pages(dir)?;
    let mut faults = Vec::new();
    for (path, page) in &pages {
        let name = path.strip_prefix(dir).unwrap_or(path).display();
        if page.text.contains("{{#") {
            faults.push(format!("{name}: a directive was left unexpanded"));
        }
        for target in &page.links {
            if let Some(fault) = dead(target, path, &pages) {
                faults.push(format!("{name}: {fault}"));
            }
        }
    }
    fail_on(faults)?;
    Ok(pages.len())
}

struct Page {
    text: String,
    ids: BTreeSet<String>,
    links: BTreeSet<String>,
}

/// The rendered pages below `dir` that a reader opens: not mdBook's sidebar
/// frame, and not the page for a missing address, which is served from any
/// depth.
pub(crate) fn pages(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut pages: Vec<PathBuf> = fs::read_dir(dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    pages.retain(|path| {
        path.extension().is_some_and(|end| end == "html")
            && !["toc.html", "404.html"].iter().any(|n| path.ends_with(n))
    });
    pages.sort();
    Ok(pages)
}

fn read_pages(dir: &Path) -> Result<BTreeMap<PathBuf, Page>> {
    let id = Regex::new(r#"\sid="([^"]+)""#)?;
    let link = Regex::new(r#"\s(?:href|src)="([^"]*)""#)?;
    let comment = Regex::new(r"(?s)<!--.*?-->")?;
    let mut read = BTreeMap::new();
    for path in pages(dir)? {
        let text = fs::read_to_string(&path)?;
        let text = comment.replace_all(&text, "").into_owned();
        let all = |regex: &Regex| {
            let found = regex.captures_iter(&text);
            found.map(|part| part[1].to_owned()).collect::<BTreeSet<_>>()
        };
        let (ids, links) = (all(&id), all(&link));
        read.insert(path, Page { text, ids, links });
    }
    Ok(read)
}

/// Why a link leads nowhere, or `None` if it leads somewhere.
fn dead(
    target: &str,
    from: &Path,
    pages: &BTreeMap<PathBuf, Page>,
) -> Option<String> {
    let target = target.replace("&amp;", "&");
    if target.starts_with("http:") || target.starts_with("https:") {
        return Some(format!("`{target}` leaves the book"));
    }
    let (file, fragment) =
        target.split_once('#').unwrap_or((target.as_str(), ""));
    let path = match file {
        "" => from.to_path_buf(),
        file => from.with_file_name(file),
    };
    if !path.exists() {
        return Some(format!("dead link `{target}`"));
    }
    let page = pages.get(&path)?;
    let found = fragment.is_empty() || page.ids.contains(fragment);
    (!found).then(|| format!("`{target}`: no such heading"))
}

fn fail_on(faults: Vec<String>) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{} faults in the book:\n  {}", faults.len(), faults.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_rust_empty_blocks_and_mute_pictures_are_refused() {
        let text = "# A\n\n```rust\nfn a() {}\n```\n\n```console\n```\n\n\
                    ```\nx\n```\n\n![](x.svg)\n";
        let faults = text_faults(text);
        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    #[test]
    fn a_file_that_the_workspace_does_not_have_is_a_fault() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("final/src")).unwrap();
        let text = "`final/src` and `final/lib`, `final/*.rs`, `cat final/x`";
        let faults = missing_files(text, root.path());
        assert_eq!(faults, ["line 1: there is no `final/lib`"]);
    }

    #[test]
    fn a_link_out_of_the_book_or_to_nowhere_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let page = dir.path().join("a.html");
        fs::write(
            &page,
            "<h1 id=\"a\"></h1> <a href=\"#a\"></a> <a href=\"#b\"></a> \
             <a href=\"b.html\"></a> <img src=\"https://example.org/x\">",
        )
        .unwrap();
        let error = check_pages(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("3 faults"), "{error}");
    }
}
