//! The minutes that a chapter promises, by the rule that the instructor's
//! page states: what it takes to read the text, to read the code and the
//! output, to type the commands and to think about the questions.

use anyhow::{Result, bail};
use pulldown_cmark::{
    Event, HeadingLevel, Options, Parser, Tag, TagEnd, TextMergeStream,
};

const WORDS_A_MINUTE: f64 = 200.0;
const LINE: f64 = 0.1;
const COMMAND: f64 = 0.5;
const QUESTION: f64 = 1.0;

/// As chapters say it: rounded up, in steps of five.
const SAID: [(&str, u32); 11] = [
    ("Ten minutes", 10),
    ("Fifteen minutes", 15),
    ("Twenty minutes", 20),
    ("Twenty-five minutes", 25),
    ("Thirty minutes", 30),
    ("Thirty-five minutes", 35),
    ("Forty minutes", 40),
    ("Forty-five minutes", 45),
    ("Fifty minutes", 50),
    ("Fifty-five minutes", 55),
    ("One hour", 60),
];

/// Holds a woven chapter to its word, if it gives one.
pub(crate) fn check(text: &str) -> Result<()> {
    let opening = text.split("\n## ").next().unwrap_or_default();
    // What takes its time are then the exercises, which no rule knows.
    if opening.contains("with its exercises") {
        return Ok(());
    }
    let said = SAID.iter().find(|(words, _)| opening.contains(words));
    let Some((words, said)) = said else { return Ok(()) };
    let needed = Work::of(text).minutes();
    let mut steps = SAID.iter().map(|(_, minutes)| *minutes);
    let rule = steps.find(|it| f64::from(*it) >= needed);
    if rule != Some(*said) {
        bail!(
            "the chapter says `{words}`, and by the rule of the instructor's \
             page it takes {needed:.1}"
        );
    }
    Ok(())
}

/// What there is to do in a chapter, but for its exercises.
#[derive(Debug, Default, PartialEq)]
struct Work {
    words: usize,
    /// Of code and output.
    lines: usize,
    commands: usize,
    questions: usize,
}

impl Work {
    fn of(text: &str) -> Work {
        let mut work = Work::default();
        let (mut in_code, mut in_heading, mut in_exercises) =
            (false, false, false);
        let text = without_drawings(text);
        let parser = Parser::new_ext(&text, Options::ENABLE_TABLES);
        for event in TextMergeStream::new(parser) {
            match event {
                Event::Start(Tag::Heading {
                    level: HeadingLevel::H2, ..
                }) => {
                    in_heading = true;
                    in_exercises = false;
                }
                Event::End(TagEnd::Heading(_)) => in_heading = false,
                Event::Text(title) if in_heading && *title == *"Exercises" => {
                    in_exercises = true;
                }
                _ if in_exercises => {}
                Event::Start(Tag::CodeBlock(_)) => in_code = true,
                Event::End(TagEnd::CodeBlock) => in_code = false,
                Event::Text(code) if in_code => work.add_code(&code),
                Event::Text(text) | Event::Code(text) => {
                    work.words += words(&text);
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    work.questions += html.matches("<details>").count();
                    work.words += words_between_tags(&html);
                }
                _ => {}
            }
        }
        work
    }

    fn add_code(&mut self, code: &str) {
        for line in code.lines() {
            match line.starts_with("$ ") {
                true => self.commands += 1,
                false => self.lines += 1,
            }
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn minutes(&self) -> f64 {
        self.words as f64 / WORDS_A_MINUTE
            + self.lines as f64 * LINE
            + self.commands as f64 * COMMAND
            + self.questions as f64 * QUESTION
    }
}

/// A drawing is looked at and not read.
fn without_drawings(text: &str) -> String {
    let mut parts = text.split("<svg");
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        rest += part.split_once("</svg>").map_or("", |(_, after)| after);
    }
    rest
}

fn words_between_tags(html: &str) -> usize {
    let texts = html.split('<').filter_map(|part| match part.split_once('>') {
        Some((_, text)) => Some(text),
        None if html.starts_with('<') => None,
        None => Some(part),
    });
    texts.map(words).sum()
}

/// A full stop behind something in another font is no word.
fn words(text: &str) -> usize {
    let is_word = |it: &&str| it.contains(char::is_alphanumeric);
    text.split_whitespace().filter(is_word).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAPTER: &str = "# A chapter\n\nTen minutes.\n\n```console\n\
        $ ls\na\nb\n```\n\n<svg><text>no word</text></svg>\n\n<details>\n\
        <summary>What is\nit?</summary>\n\nTwo words.\n\n</details>\n\n\
        ## Exercises\n\nNot counted.\n\n## End\n\nThe `end`.\n";

    #[test]
    fn all_but_drawings_and_exercises_takes_its_time() {
        let work = Work { words: 12, lines: 2, commands: 1, questions: 1 };
        assert_eq!(Work::of(CHAPTER), work);
    }

    #[test]
    fn a_chapter_that_promises_too_little_or_too_much_is_told_so() {
        check(CHAPTER).unwrap();
        let longer = CHAPTER.replace("Two words", &"word ".repeat(2000));
        let told = check(&longer).unwrap_err().to_string();
        assert!(told.contains("says `Ten minutes`"), "{told}");
        let proud = CHAPTER.replace("Ten minutes", "Forty minutes");
        assert!(check(&proud).is_err());
        check("# A page\n\nthat promises nothing\n").unwrap();
    }
}
