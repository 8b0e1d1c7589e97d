//! Abuse and defence: what each chapter is for, proven.
//!
//! An attack is one abuse, carried out twice: on the stage before, where it
//! must do harm, and on this one, where it must not. If the first half
//! stopped to work the second would prove nothing. All of it happens in
//! `scripts/sandbox`, and whoever is hurt there is a victim of our own. The
//! abuses themselves are in [`table`].

mod table;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use ::transcript::sandbox::{self, Network};
use anyhow::{Context, Result, bail};

use crate::transcript::build;
use table::{ATTACKS, IMAGE};

/// An abuse, as shell commands.
struct Attack {
    name: &'static str,
    /// What is tried.
    story: &'static str,
    /// Makes the victim, before each half.
    victim: &'static str,
    before: Half,
    after: Half,
    /// Succeeds if harm was done.
    harm: &'static str,
}

/// The abuse as one stage sees it.
struct Half {
    stage: &'static str,
    abuse: &'static str,
}

const fn half(stage: &'static str, abuse: &'static str) -> Half {
    Half { stage, abuse }
}

/// Where a chapter does by hand, with the shell's tools, what its stage then
/// does with more care: nobody before it did it at all.
const HAND: &str = "by hand";

/// What a half came to.
struct Outcome {
    harm: bool,
    /// The last thing that was printed.
    said: String,
}

/// Carries out the attack of this name, or all, and prints what happened.
pub(crate) fn run(root: &Path, only: Option<&str>) -> Result<()> {
    let names: Vec<&str> = ATTACKS.iter().map(|it| it.name).collect();
    let wanted = ATTACKS.iter().filter(|it| only.is_none_or(|n| n == it.name));
    let wanted: Vec<&Attack> = wanted.collect();
    if wanted.is_empty() {
        bail!("no such attack; there are {}", names.join(", "));
    }
    if let Some(reason) = sandbox::missing() {
        println!("SKIP: attacks: {reason}");
        return Ok(());
    }
    build_stages(root, &wanted)?;
    let mut wrong = Vec::new();
    for attack in wanted {
        let outcomes = carry_out(root, attack)?;
        print!("{}", report(attack, &outcomes));
        let [before, after] = &outcomes;
        if !before.harm || after.harm {
            wrong.push(attack.name);
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => bail!("not as the book says: {}", wrong.join(", ")),
    }
}

/// All abuses and whom they hurt, in Markdown, for `{{#attacks}}`.
pub(crate) fn table() -> String {
    let mut table = String::from(
        "| abuse | name | does harm against | is kept off by |\n\
         |---|---|---|---|\n",
    );
    for it in &ATTACKS {
        let (before, after) = (it.before.stage, it.after.stage);
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} | `{}` | {before} | {after} |",
            it.story, it.name
        );
    }
    table
}

fn build_stages(root: &Path, attacks: &[&Attack]) -> Result<()> {
    let stages: BTreeSet<&str> = attacks
        .iter()
        .flat_map(|it| [it.before.stage, it.after.stage])
        .filter(|stage| *stage != HAND)
        .collect();
    let words = stages.iter().map(|stage| match *stage {
        "skiff" => "skiff ".to_owned(),
        stage => format!("-p {stage} "),
    });
    build(root, &words.collect::<String>())
}

fn report(attack: &Attack, [before, after]: &[Outcome; 2]) -> String {
    let mut text = format!("{}: {}\n", attack.name, attack.story);
    for (half, outcome) in [(&attack.before, before), (&attack.after, after)] {
        let result = match (outcome.harm, outcome.said.as_str()) {
            (true, _) => "harm done".to_owned(),
            (false, "") => "no harm".to_owned(),
            (false, said) => format!("no harm: {said}"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<19} {result}", half.stage);
    }
    text
}

fn carry_out(root: &Path, attack: &Attack) -> Result<[Outcome; 2]> {
    let carry = |half: &Half| {
        let script = script(attack, half);
        let printed = sandbox::run(root, &script, Network::Own, None)
            .with_context(|| format!("{} on {}", attack.name, half.stage))?;
        outcome(&printed)
            .with_context(|| format!("{} printed:\n{printed}", attack.name))
    };
    Ok([carry(&attack.before)?, carry(&attack.after)?])
}

/// Each half has a sandbox of its own, so that the second does not find what
/// the first has done.
fn script(attack: &Attack, half: &Half) -> String {
    let image = half.abuse.contains(" app ");
    format!(
        "export PATH=\"$PWD/target/debug:$PATH\" S='{}'\n{}\n{}\n\
         {{ {}\n}} >/run/said 2>&1\n\
         echo \"said: $(grep . /run/said | tail -1)\"\n\
         if {{ {}; }} 2>/dev/null; then echo harm; else echo none; fi\n\
         {{ kill $(jobs -p)\n\
         [ \"$S\" != skiff ] || skiff rm -f $(skiff ps -aq)\n\
         }} >/dev/null 2>&1; true\n",
        half.stage,
        if image { IMAGE } else { "" },
        attack.victim,
        half.abuse,
        attack.harm,
    )
}

fn outcome(printed: &str) -> Option<Outcome> {
    let (_, printed) = printed.rsplit_once("said: ")?;
    let (said, rest) = printed.split_once('\n')?;
    let harm = match rest.lines().next()? {
        "harm" => true,
        "none" => false,
        _ => return None,
    };
    Some(Outcome { harm, said: said.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::table::STAGES;
    use super::*;

    #[test]
    fn every_abuse_does_harm_before_its_chapter_and_none_after() {
        let _building = crate::tests::building();
        run(&crate::workspace_root(), None).unwrap();
    }

    #[test]
    fn every_stage_keeps_off_something_that_the_one_before_did_not() {
        for stage in STAGES {
            let kept = ATTACKS.iter().any(|it| it.after.stage == stage);
            assert!(kept, "{stage}");
        }
        for it in &ATTACKS {
            let at = |stage| STAGES.iter().position(|it| *it == stage);
            let (before, after) = (at(it.before.stage), at(it.after.stage));
            let first = after == Some(0) && before == Some(0);
            let hand = after.is_some() && it.before.stage == HAND;
            let next = after == before.map(|it| it + 1);
            assert!(first || hand || next, "{}", it.name);
        }
    }
}
