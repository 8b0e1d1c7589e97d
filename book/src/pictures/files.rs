//! Where files come from: layers and volumes.

use super::canvas::Type::{Code, Plain, Small, Strong};
use super::canvas::{Canvas, area, fit};
use super::recorded::Container;

/// The stack, uppermost first, and a copied-up file.
pub(super) fn layers(it: &Container) -> Canvas {
    let layers = &it.root.layers;
    let rows = i32::try_from(layers.len()).unwrap_or(0);
    let mut canvas = Canvas::new(196 + rows * 66);
    canvas.label(
        area(4, 4, 472, 44),
        "plain",
        &[(Strong, &format!("what {} sees: all of it, merged", it.name))],
    );
    canvas.arrow((120, 72), (120, 52));
    let upper = area(4, 72, 472, 62);
    canvas.rect(upper, "own");
    canvas.text(14, 96, Strong, "its own, writable");
    canvas.text(14, 120, Small, "goes with the container");
    let mut y = 158;
    canvas.text(4, y - 8, Small, "the image, read-only, shared by all");
    for layer in layers {
        canvas.rect(area(4, y, 472, 56), "outer");
        let digest = layer.diff_id.trim_start_matches("sha256:");
        canvas.text(14, y + 22, Code, &fit(digest, Code, 130));
        let made_by = match layer.created_by.as_str() {
            "" => "imported",
            text => text.trim_start_matches("/bin/sh -c #(nop) "),
        };
        canvas.text(14, y + 44, Code, &fit(made_by, Code, 296));
        y += 66;
    }
    if let Some(file) = it.root.copied_up.first() {
        let path = fit(&file.path, Code, 120);
        let below = area(332, y - 66 + 14, 134, 28);
        let above = area(332, upper.y + 17, 134, 28);
        canvas.label(below, "plain", &[(Code, &path)]);
        canvas.label(above, "plain", &[(Code, &path)]);
        canvas.arrow(below.top(), (above.bottom().0, above.bottom().1 + 2));
        canvas.text(200, 98, Small, "copied up at");
        canvas.text(200, 118, Small, "the first write");
    }
    canvas.text(4, y + 16, Plain, "reading finds the uppermost copy");
    canvas
}

/// A volume's way into a container, and the three kinds of propagation.
pub(super) fn volumes(it: &Container) -> Canvas {
    let mut canvas = Canvas::new(390);
    let volume = it.mounts.iter().find(|it| it.volume.is_some());
    let (name, target, root) = volume.map_or(("", "", ""), |it| {
        let name = it.volume.as_deref().unwrap_or_default();
        (name, &*it.target, &*it.root)
    });
    canvas.rect(area(4, 4, 220, 176), "outer");
    canvas.text(14, 26, Strong, "the host");
    canvas.rect(area(256, 4, 220, 176), "own");
    canvas.text(266, 26, Strong, &format!("container {}", it.name));
    let directory = area(14, 40, 200, 58);
    let from = volume_directory(root);
    canvas.label(
        directory,
        "plain",
        &[(Plain, &format!("volume {name}: stays")), (Code, &from)],
    );
    let inside = area(296, 40, 170, 58);
    canvas.label(inside, "plain", &[(Code, target), (Small, "a bind mount")]);
    canvas.arrow(directory.right(), inside.left());
    canvas.label(
        area(296, 112, 170, 58),
        "shared",
        &[(Code, "/"), (Small, "writable layer: goes")],
    );
    canvas.text(14, 134, Small, "rm removes the layer");
    canvas.text(14, 154, Small, "and leaves the volume");
    canvas.text(4, 212, Strong, "A mount made later, below it, is seen…");
    let kinds = [
        ("private", "by nobody else (the default)"),
        ("slave", "in the container, if the host did"),
        ("shared", "on both sides"),
    ];
    let mut y = 226;
    for (kind, who) in kinds {
        let host = area(4, y, 66, 44);
        let inside = area(150, y, 86, 44);
        canvas.label(host, "outer", &[(Small, "host")]);
        canvas.label(inside, "own", &[(Small, "container")]);
        let (a, b) = (host.right(), inside.left());
        match kind {
            "private" => canvas.centred(110, y + 28, Strong, "✕"),
            "slave" => canvas.arrow(a, b),
            _ => {
                canvas.arrow((a.0, a.1 - 8), (b.0, b.1 - 8));
                canvas.arrow((b.0, b.1 + 8), (a.0, a.1 + 8));
            }
        }
        canvas.text(250, y + 18, Code, kind);
        canvas.text(250, y + 38, Small, who);
        y += 54;
    }
    canvas
}

/// The end of the path, which is the same on all machines.
fn volume_directory(root: &str) -> String {
    let at = root.find("volumes/").unwrap_or(0);
    format!("…/{}", &root[at..])
}
