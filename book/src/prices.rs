//! What each stage costs, from criterion's own records to a table in the
//! book.
//!
//! `cargo bench -p benches` leaves `estimates.json` for each bench below
//! `target/criterion`. [`record`] keeps the medians in `book/data/prices.json`
//! with a line about the machine; `{{#prices GROUP}}` in a chapter becomes a
//! table of one group, whose bars are to scale. So no number in the book was
//! typed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

const FILE: &str = "book/data/prices.json";

/// One machine's prices.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prices {
    /// Processor, cores, kernel and cgroup generation.
    machine: String,
    /// The day they were taken, as 2026-01-31.
    taken: String,
    /// Group, bench, median in nanoseconds.
    medians: BTreeMap<String, BTreeMap<String, f64>>,
}

/// Takes what the last `cargo bench` measured into the book.
///
/// # Errors
/// There are no records, or one is not criterion's.
pub(crate) fn record(root: &Path) -> Result<usize> {
    let medians = medians(&root.join("target/criterion"))?;
    let count = medians.values().map(BTreeMap::len).sum();
    let prices = Prices { machine: machine()?, taken: today(), medians };
    let text = serde_json::to_string_pretty(&prices)? + "\n";
    let file = root.join(FILE);
    fs::create_dir_all(root.join("book/data"))?;
    fs::write(&file, text)
        .with_context(|| format!("write {}", file.display()))?;
    Ok(count)
}

/// What `cargo bench` left below `dir`, as `GROUP/BENCH/new/estimates.json`.
fn medians(dir: &Path) -> Result<BTreeMap<String, BTreeMap<String, f64>>> {
    let mut all: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for group in directories(dir).with_context(|| {
        format!(
            "list {}; run `cargo build --release -p final && cargo bench -p \
             benches` first",
            dir.display()
        )
    })? {
        for bench in directories(&group)? {
            let file = bench.join("new/estimates.json");
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let estimates: serde_json::Value = serde_json::from_str(&text)
                .with_context(|| format!("read {}", file.display()))?;
            let median = estimates["median"]["point_estimate"]
                .as_f64()
                .with_context(|| format!("{}: no median", file.display()))?;
            all.entry(name(&group)).or_default().insert(name(&bench), median);
        }
    }
    if all.is_empty() {
        bail!("no bench has been measured yet: cargo bench -p benches");
    }
    Ok(all)
}

fn directories(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("report") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn machine() -> Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("/proc/sys/kernel/osrelease")?;
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let generation = if v2 { 2 } else { 1 };
    Ok(format!(
        "{model}, {cores} cores, Linux {}, cgroup v{generation}",
        kernel.trim()
    ))
}

fn today() -> String {
    let now = jiff::Timestamp::now().to_string();
    now.chars().take_while(|it| *it != 'T').collect()
}

/// The table of one group, in Markdown.
///
/// # Errors
/// Nothing was recorded for this group.
pub(crate) fn table(root: &Path, group: &str) -> Result<String> {
    let file = root.join(FILE);
    let text = fs::read_to_string(&file).with_context(|| {
        format!("read {}; `book prices` makes it", file.display())
    })?;
    let prices: Prices = serde_json::from_str(&text)
        .with_context(|| format!("read {}", file.display()))?;
    let Some(medians) = prices.medians.get(group) else {
        bail!("{FILE} has no group `{group}`");
    };
    Ok(prices.draw(medians))
}

impl Prices {
    fn draw(&self, medians: &BTreeMap<String, f64>) -> String {
        if let [(name, median)] = Vec::from_iter(medians)[..] {
            let median = duration(*median);
            return format!(
                "| what | median |\n|---|---:|\n| {name} | {median} |\n{}",
                self.source()
            );
        }
        // Stages stand in their order, and each adds something to the one
        // before; other benches are alternatives, the cheapest first.
        let stages = medians.keys().all(|name| name.starts_with(digit));
        let mut rows = Vec::from_iter(medians);
        if !stages {
            rows.sort_by(|one, other| one.1.total_cmp(other.1));
        }
        let more = if stages { "added" } else { "ratio" };
        let mut table = format!(
            "| what | median | {more} | to scale |\n|---|---:|---:|---|\n",
        );
        let longest = medians.values().copied().fold(0.0, f64::max);
        let mut before = None;
        for (name, median) in rows {
            let more = match before {
                Some(before) if stages => difference(median - before),
                Some(before) => format!("× {:.0}", median / before),
                None => String::new(),
            };
            // At least one mark: what took time has a length.
            let marks = (median / longest * 24.0).ceil().max(1.0);
            let bar = "▇".repeat(marks as usize);
            // Writing to a string cannot fail.
            let _ = writeln!(
                table,
                "| {name} | {} | {more} | {bar} |",
                duration(*median)
            );
            before = Some(*median);
        }
        table + &self.source()
    }

    fn source(&self) -> String {
        format!("\n*{}; {}.*\n", self.machine, self.taken)
    }
}

fn digit(letter: char) -> bool {
    letter.is_ascii_digit()
}

fn difference(nanoseconds: f64) -> String {
    let sign = if nanoseconds < 0.0 { "−" } else { "+" };
    format!("{sign}{}", duration(nanoseconds.abs()))
}

/// Three digits at most, in the unit that suits.
fn duration(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let decimals = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices() -> Prices {
        Prices {
            machine: "a machine, 2 cores, Linux 6.1, cgroup v2".into(),
            taken: "2026-01-31".into(),
            medians: BTreeMap::new(),
        }
    }

    #[test]
    fn alternatives_stand_with_the_cheapest_first() {
        let medians = BTreeMap::from([
            ("32-MiB".to_owned(), 28_700_000.0),
            ("small".to_owned(), 93_900.0),
        ]);
        let table = prices().draw(&medians);
        let rows = table.lines().skip(2).take(2).map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            (cells[1].to_owned(), cells[3].to_owned())
        });
        assert_eq!(
            Vec::from_iter(rows),
            [
                ("small".to_owned(), String::new()),
                ("32-MiB".to_owned(), "× 306".to_owned()),
            ]
        );
    }

    #[test]
    fn a_table_shows_each_price_and_what_it_adds() {
        let medians = BTreeMap::from([
            ("01-plain".to_owned(), 512_345.0),
            ("02-namespaces".to_owned(), 1_912_345.0),
            ("03-cgroups".to_owned(), 1_812_345.0),
        ]);
        let prices = prices();
        insta::assert_snapshot!(prices.draw(&medians));
    }

    #[test]
    fn a_single_price_is_compared_with_nothing() {
        let prices = prices();
        let medians = BTreeMap::from([("tar".to_owned(), 68_400_000.0)]);
        assert_eq!(
            prices.draw(&medians),
            "| what | median |\n|---|---:|\n| tar | 68.4 ms |\n\n\
             *a machine, 2 cores, Linux 6.1, cgroup v2; 2026-01-31.*\n"
        );
    }

    #[test]
    fn what_criterion_left_is_found_and_its_reports_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for (path, median) in
            [("start/01-plain/new", 5.0), ("report/x/new", 6.0)]
        {
            let path = dir.path().join(path);
            fs::create_dir_all(&path).unwrap();
            let text = format!(
                r#"{{"mean":{{"point_estimate":9.0}},
                    "median":{{"point_estimate":{median}}}}}"#
            );
            fs::write(path.join("estimates.json"), text).unwrap();
        }
        let found = medians(dir.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found["start"]["01-plain"], 5.0);
    }

    #[test]
    fn without_a_record_the_error_names_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let error = record(dir.path()).unwrap_err();
        assert!(format!("{error:#}").contains("cargo bench -p benches"));
    }
}
