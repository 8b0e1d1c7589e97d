//! The Test Anything Protocol, as far as test programs in other languages
//! print it: a plan `1..N`, and for each case `ok 1 - name` or
//! `not ok 1 - name`. Lines that are indented belong to parts of a case.

use std::fmt::Write;

/// What a test program reported.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many cases it said there are.
    planned: Option<usize>,
    /// Name and success, in order.
    cases: Vec<(String, bool)>,
}

impl Report {
    /// Reads what was printed; other lines do not matter.
    pub fn parse(printed: &str) -> Report {
        let mut report = Report::default();
        for line in printed.lines() {
            if let Some(count) = line.strip_prefix("1..") {
                report.planned = count.trim().parse().ok();
            } else if let Some(name) = line.strip_prefix("ok ") {
                report.cases.push((name.to_owned(), true));
            } else if let Some(name) = line.strip_prefix("not ok ") {
                report.cases.push((name.to_owned(), false));
            }
        }
        report
    }

    /// Whether all cases that were planned ran, and well; no case at all is
    /// a failure.
    pub fn is_good(&self) -> bool {
        !self.cases.is_empty()
            && self.planned == Some(self.cases.len())
            && self.cases.iter().all(|(_, good)| *good)
    }

    /// A line for each case.
    pub fn lines(&self, program: &str) -> String {
        let mut text = String::new();
        for (name, good) in &self.cases {
            let word = if *good { "ok" } else { "FAILED" };
            let _ = writeln!(text, "{program}: {name} ... {word}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_good_if_every_planned_case_ran_well() {
        let good = Report::parse("1..2\nok 1 - a\n    ok 1 - part\nok 2 - b\n");
        assert!(good.is_good());
        assert_eq!(good.lines("x"), "x: 1 - a ... ok\nx: 2 - b ... ok\n");
        for bad in [
            "",
            "1..0\n",
            "ok 1 - a\n",
            "1..2\nok 1 - a\n",
            "1..2\nok 1 - a\nnot ok 2 - b\n",
        ] {
            assert!(!Report::parse(bad).is_good(), "{bad}");
        }
    }
}
