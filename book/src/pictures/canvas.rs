//! A sheet to draw on: boxes, words and arrows, as SVG.
//!
//! Colours are classes, which `theme/book.css` gives the colours of the
//! reader's theme. A sheet is as wide as a telephone can show with letters
//! that can be read; there is one layout for all screens.

use std::fmt::Write;

/// The width of every picture in its own units.
pub(super) const WIDTH: i32 = 480;

/// A rectangle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) w: i32,
    pub(super) h: i32,
}

/// Shorthand, since pictures are full of them.
pub(super) fn area(x: i32, y: i32, w: i32, h: i32) -> Area {
    Area { x, y, w, h }
}

impl Area {
    /// The middle of the lower edge.
    pub(super) fn bottom(self) -> (i32, i32) {
        (self.x + self.w / 2, self.y + self.h)
    }

    /// The middle of the upper edge.
    pub(super) fn top(self) -> (i32, i32) {
        (self.x + self.w / 2, self.y)
    }

    /// The middle of the left edge.
    pub(super) fn left(self) -> (i32, i32) {
        (self.x, self.y + self.h / 2)
    }

    /// The middle of the right edge.
    pub(super) fn right(self) -> (i32, i32) {
        (self.x + self.w, self.y + self.h / 2)
    }
}

/// How words are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// The words of the book.
    Plain,
    /// What the picture is about.
    Strong,
    /// Notes.
    Small,
    /// What a computer reads or writes.
    Code,
}

impl Type {
    fn class(self) -> &'static str {
        match self {
            Type::Plain => "plain",
            Type::Strong => "strong",
            Type::Small => "small",
            Type::Code => "code",
        }
    }

    /// Tenths of a unit that a letter takes, on the safe side.
    fn letter(self) -> i32 {
        match self {
            Type::Plain => 76,
            Type::Strong => 82,
            Type::Small => 66,
            Type::Code => 75,
        }
    }
}

/// How wide `text` will be, about.
pub(super) fn width_of(text: &str, style: Type) -> i32 {
    let letters = i32::try_from(text.chars().count()).unwrap_or(i32::MAX);
    letters.saturating_mul(style.letter()) / 10
}

/// As much of `text` as fits into `width`; `…` stands for the rest.
pub(super) fn fit(text: &str, style: Type, width: i32) -> String {
    if width_of(text, style) <= width {
        return text.to_owned();
    }
    let letters = (width * 10 / style.letter() - 1).max(0).unsigned_abs();
    let kept: String = text.chars().take(letters as usize).collect();
    format!("{kept}…")
}

/// A sheet.
#[derive(Debug)]
pub(super) struct Canvas {
    body: String,
    height: i32,
    faults: Vec<String>,
}

impl Canvas {
    pub(super) fn new(height: i32) -> Canvas {
        Canvas { body: String::new(), height, faults: Vec::new() }
    }

    /// A box of a class: `plain`, `own`, `shared`, `outer`.
    pub(super) fn rect(&mut self, at: Area, class: &str) {
        let Area { x, y, w, h } = at;
        if x < 0 || y < 0 || x + w > WIDTH || y + h > self.height {
            self.faults.push(format!("a box leaves the sheet: {at:?}"));
        }
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" \
             height=\"{h}\" rx=\"5\"/>"
        ));
    }

    /// Words that begin at `x`, on the line `y`.
    pub(super) fn text(&mut self, x: i32, y: i32, style: Type, text: &str) {
        self.words(x, y, style, text, "start");
    }

    /// Words around `x`.
    pub(super) fn centred(&mut self, x: i32, y: i32, style: Type, text: &str) {
        self.words(x, y, style, text, "middle");
    }

    fn words(&mut self, x: i32, y: i32, style: Type, text: &str, anchor: &str) {
        let width = width_of(text, style);
        let start = if anchor == "middle" { x - width / 2 } else { x };
        if start < 0 || start + width > WIDTH || y > self.height || y < 10 {
            self.faults.push(format!("leaves the sheet: {text}"));
        }
        let class = style.class();
        let text = escape(text);
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" \
             text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// A box with lines in its middle.
    pub(super) fn label(
        &mut self,
        at: Area,
        class: &str,
        lines: &[(Type, &str)],
    ) {
        const LINE: i32 = 18;
        self.rect(at, class);
        let count = i32::try_from(lines.len()).unwrap_or(0);
        let mut y = at.y + (at.h - count * LINE) / 2 + 14;
        if count * LINE > at.h {
            self.faults.push(format!("too many lines for {at:?}"));
        }
        for (style, text) in lines {
            if width_of(text, *style) > at.w - 4 {
                self.faults.push(format!("too long for its box: {text}"));
            }
            self.centred(at.x + at.w / 2, y, *style, text);
            y += LINE;
        }
    }

    /// A line from one place to another, with a head.
    pub(super) fn arrow(&mut self, from: (i32, i32), to: (i32, i32)) {
        self.stroke(from, to);
        self.head(from, to);
    }

    /// A cable: both ends are alike.
    pub(super) fn cable(&mut self, from: (i32, i32), to: (i32, i32)) {
        self.line(from, to, "cable");
    }

    /// A line without a head: part of an arrow that goes round a corner.
    pub(super) fn stroke(&mut self, from: (i32, i32), to: (i32, i32)) {
        self.line(from, to, "arrow");
    }

    fn line(&mut self, (x, y): (i32, i32), to: (i32, i32), class: &str) {
        let (a, b) = to;
        self.put(format_args!(
            "<line class=\"{class}\" x1=\"{x}\" y1=\"{y}\" x2=\"{a}\" \
             y2=\"{b}\"/>"
        ));
    }

    /// Drawn by hand: a marker would need an ID, and those of two pictures
    /// on a page would clash.
    fn head(&mut self, (x, y): (i32, i32), (a, b): (i32, i32)) {
        let (dx, dy) = (f64::from(a - x), f64::from(b - y));
        let length = dx.hypot(dy).max(1.0);
        let (ux, uy) = (dx / length, dy / length);
        let (a, b) = (f64::from(a), f64::from(b));
        let corner = |side: f64| {
            let x = a - 9.0 * ux - side * 4.5 * uy;
            let y = b - 9.0 * uy + side * 4.5 * ux;
            format!("{x:.1},{y:.1}")
        };
        let (left, right) = (corner(1.0), corner(-1.0));
        self.put(format_args!(
            "<polygon class=\"head\" points=\"{a},{b} {left} {right}\"/>"
        ));
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "{what}");
    }

    /// What does not fit.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// The finished picture. No line is empty, so that Markdown leaves it
    /// alone.
    pub(super) fn svg(&self, title: &str, alt: &str) -> String {
        let (title, alt) = (escape(title), escape(alt));
        format!(
            "<figure class=\"picture\" tabindex=\"0\">\n\
             <svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" \
             aria-label=\"{title}. {alt}\">\n{}</svg>\n\
             <figcaption>{title}</figcaption>\n</figure>",
            self.height, self.body
        )
    }
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_a_fault() {
        let mut canvas = Canvas::new(100);
        canvas.label(
            area(0, 0, 50, 20),
            "plain",
            &[(Type::Plain, "much too long for this")],
        );
        canvas.rect(area(400, 0, 100, 20), "plain");
        canvas.text(470, 50, Type::Code, "outside");
        assert_eq!(canvas.faults().len(), 4, "{:?}", canvas.faults());
    }

    #[test]
    fn words_are_escaped_and_no_line_is_empty() {
        let mut canvas = Canvas::new(100);
        canvas.text(0, 50, Type::Code, "a < b & \"c\"");
        let svg = canvas.svg("A", "B");
        assert!(svg.contains("a &lt; b &amp; &quot;c&quot;"));
        assert!(!svg.contains("\n\n"));
    }

    #[test]
    fn long_words_are_cut_where_the_box_ends() {
        let cut = fit("sha256:0123456789abcdef", Type::Code, 80);
        assert!(width_of(&cut, Type::Code) <= 80 && cut.ends_with('…'));
        assert_eq!(fit("web", Type::Code, 80), "web");
    }
}
