//! `doctor`: what of this book works on this machine, and how to get the
//! rest.
//!
//! [`facts`] looks, and changes nothing that lasts. [`verdict`] is a function
//! of those facts alone, so that machines nobody has at hand can be tested:
//! their facts are recorded below `machines/`.

mod facts;
mod probe;
mod verdict;

use anyhow::Result;

use facts::Facts;

/// Prints the verdicts, or with `only_facts` what they are made from: the
/// thing to send along with a question.
pub(crate) fn run(only_facts: bool) -> Result<()> {
    let facts = Facts::gather();
    if only_facts {
        println!("{}", serde_json::to_string_pretty(&facts)?);
        return Ok(());
    }
    let report = verdict::judge(&facts);
    println!("{facts}\n\n{report}");
    // For scripts; what stands above has said it to people.
    if report.impossible() > 0 {
        std::process::exit(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn each_recorded_machine_gets_the_verdicts_that_fit_it() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let machines = dir.join("src/doctor/machines");
        let mut seen = 0;
        for entry in fs::read_dir(machines).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let facts: Facts = serde_json::from_str(&text).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy();
            let report = verdict::judge(&facts);
            let shown = format!("{facts}\n\n{report}");
            insta::assert_snapshot!(name.into_owned(), shown);
            seen += 1;
        }
        assert_eq!(seen, 11);
    }

    #[test]
    fn this_machine_can_be_looked_at_without_leaving_a_trace() {
        let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
        let before = mounts();
        let facts = Facts::gather();
        assert!(!facts.kernel.is_empty());
        assert_eq!(before, mounts());
        let again = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&again).unwrap(), facts);
    }
}
