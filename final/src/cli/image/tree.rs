//! `image tree`: images that begin with the same layers grow on one trunk.

use std::fmt::Write;

use clap::Args;
use cli_api::{human, id};

use super::sharing::{Layer, Stack, stacks};
use crate::cli::context::Context;
use crate::cli::list::ellipsis;

/// Show which layers images share, and what each one adds
#[derive(Debug, Clone, Args)]
pub(crate) struct TreeArgs {}

/// A layer, the images that end with it, and the layers on top of it.
#[derive(Debug, Default)]
struct Node {
    layer: Option<Layer>,
    names: Vec<String>,
    above: Vec<Node>,
}

/// `image tree`.
pub(crate) async fn tree(
    context: &Context,
    _args: TreeArgs,
) -> anyhow::Result<u8> {
    print!("{}", drawn(&stacks(context).await?));
    Ok(0)
}

/// The whole picture, a line a layer.
fn drawn(stacks: &[Stack]) -> String {
    let mut root = Node::default();
    for stack in stacks {
        root.add(&stack.layers, &stack.names);
    }
    let mut text = String::new();
    for node in &root.above {
        node.draw(&mut text, "", "");
    }
    text
}

impl Node {
    fn add(&mut self, layers: &[Layer], names: &[String]) {
        let Some((first, rest)) = layers.split_first() else {
            self.names.extend_from_slice(names);
            return;
        };
        let same = |node: &Node| {
            node.layer.as_ref().is_some_and(|it| it.digest == first.digest)
        };
        let at = self.above.iter().position(same).unwrap_or_else(|| {
            let layer = Some(first.clone());
            self.above.push(Node { layer, ..Node::default() });
            self.above.len() - 1
        });
        self.above[at].add(rest, names);
    }

    /// `mark` stands before this node, `margin` before what is above it.
    fn draw(&self, text: &mut String, mark: &str, margin: &str) {
        if let Some(layer) = &self.layer {
            let digest = id::short(&layer.digest);
            #[allow(clippy::cast_precision_loss, reason = "three digits shown")]
            let size = human::size(layer.size as f64, 3);
            let by = layer.by.trim_start_matches("/bin/sh -c ");
            let by = by.trim_start_matches("#(nop)").trim();
            let mut line = format!("{mark}{digest}  {size:>7}");
            if !by.is_empty() {
                let _ = write!(line, "  {}", ellipsis(by, 45));
            }
            if !self.names.is_empty() {
                let _ = write!(line, "  [{}]", self.names.join(", "));
            }
            let _ = writeln!(text, "{line}");
        }
        // A single layer on top continues the trunk; only forks indent.
        if let [only] = self.above.as_slice() {
            return only.draw(text, margin, margin);
        }
        let last = self.above.len().saturating_sub(1);
        for (index, node) in self.above.iter().enumerate() {
            let (mark, more) = match index == last {
                true => ("└─ ", "   "),
                false => ("├─ ", "│  "),
            };
            let (mark, margin) =
                (format!("{margin}{mark}"), format!("{margin}{more}"));
            node.draw(text, &mark, &margin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(name: &str, layers: &[(&str, u64, &str)]) -> Stack {
        let layer = |(letter, size, by): &(&str, u64, &str)| Layer {
            digest: format!("sha256:{}", letter.repeat(64)),
            size: *size,
            by: (*by).to_owned(),
            step: None,
        };
        Stack {
            names: vec![name.to_owned()],
            layers: layers.iter().map(layer).collect(),
        }
    }

    #[test]
    fn images_with_the_same_layers_share_a_trunk() {
        let base = ("a", 4_300_000, "ADD rootfs.tar /");
        let run = ("b", 1200, "/bin/sh -c make");
        let text = drawn(&[
            stack("app:1", &[base, run, ("c", 10, "/bin/sh -c #(nop) COPY x")]),
            stack("app:2", &[base, run, ("d", 20, "")]),
            stack("busybox:latest", &[base]),
            stack("other:latest", &[("e", 5, "x"), ("f", 6, "y")]),
        ]);
        insta::assert_snapshot!(text, @r"
        aaaaaaaaaaaa    4.3MB  ADD rootfs.tar /  [busybox:latest]
        bbbbbbbbbbbb    1.2kB  make
        ├─ cccccccccccc      10B  COPY x  [app:1]
        └─ dddddddddddd      20B  [app:2]
        eeeeeeeeeeee       5B  x
        ffffffffffff       6B  y  [other:latest]
        ");
    }
}
