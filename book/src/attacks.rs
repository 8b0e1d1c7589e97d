//! Abuse and defence: what each chapter is for, proven.
//!
//! An attack is one abuse, carried out twice: on the stage before, where it
//! must do harm, and on this one, where it must not. If the first half
//! stopped to work the second would prove nothing. All of it happens in
//! `scripts/sandbox`, and whoever is hurt there is a victim of our own.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use ::transcript::sandbox::{self, Network};
use anyhow::{Context, Result, bail};

use crate::transcript::build;

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

const STAGES: [&str; 7] = [
    "step-01-cli-api",
    "step-02-namespaces",
    "step-03-cgroups",
    "step-04-layers",
    "step-05-overlay-cow",
    "step-06-volumes",
    "skiff",
];

/// `app`: busybox, a megabyte or two of it, and 20 MB of something else.
const IMAGE: &str = r#"
mkdir -p /run/context && cd /run/context
cp "$(command -v busybox)" sh && head -c 20000000 /dev/urandom >ballast
echo good >app.conf
printf 'FROM scratch\nCOPY sh /bin/\nCOPY sh /bin/busybox\nCOPY ballast /\nCOPY app.conf /conf/\nENV PATH=/bin\n' >Dockerfile
$S build -t app . >/dev/null
"#;

const ATTACKS: [Attack; 10] = [
    Attack {
        name: "open-door",
        story: "another user of the machine has root's daemon run a command",
        victim: r#"$S ps >/dev/null; door=/run/skiff-steps/01/daemon.sock
            other() {
                setpriv --reuid 65534 --regid 65534 --clear-groups curl -sS \
                    -X POST -H 'Content-Type: application/json' \
                    --unix-socket $door "http://stage/containers/$@"
            }
            order() {
                id=$(other create -d "$touch" | grep -o '[0-9a-f]\{64\}')
                [ -z "$id" ] || other $id/start
            }
            touch='{"Args": ["touch", "/run/hurt"], "Env": [], "Cwd": "/",
                    "AutoRemove": false, "Flags": {}}'"#,
        // A daemon that trusts whoever can reach it, such as one on a TCP
        // port, is this stage with the lock taken off its door.
        before: half(STAGES[0], "chmod 666 $door; order"),
        after: half(STAGES[0], "order"),
        harm: "sleep 0.2; [ -e /run/hurt ]",
    },
    Attack {
        name: "kill-host",
        story: "a process of the host is killed by its PID",
        victim: "sleep 500 & victim=$!",
        before: half(STAGES[0], r#"$S run sh -c "kill -9 $victim""#),
        after: half(STAGES[1], r#"$S run sh -c "kill -9 $victim""#),
        harm: "sleep 0.2; ! kill -0 $victim",
    },
    Attack {
        name: "rename-host",
        story: "the host gets another name",
        victim: "hostname victim",
        before: half(STAGES[0], "$S run hostname hurt"),
        after: half(STAGES[1], "$S run hostname hurt"),
        harm: "[ $(hostname) = hurt ]",
    },
    Attack {
        name: "fork-bomb",
        story: "a hundred processes are started at once",
        victim: r#"bomb='i=0
            while [ $i -lt 100 ]; do sleep 1 & i=$((i+1)); done
            touch /run/hurt'"#,
        before: half(STAGES[1], r#"$S run sh -c "$bomb""#),
        after: half(STAGES[2], r#"$S run --pids-limit 20 sh -c "$bomb""#),
        harm: "[ -e /run/hurt ]",
    },
    Attack {
        name: "memory-hog",
        story: "a program takes 200 MB of memory",
        victim: "hog='head -c 200000000 /dev/zero | tail | wc -l >/run/hurt &&
            head -c 200000000 /dev/zero | tail >/dev/null || rm /run/hurt'",
        before: half(STAGES[1], r#"$S run sh -c "$hog""#),
        after: half(STAGES[2], r#"$S run --memory 32m sh -c "$hog""#),
        harm: "[ -e /run/hurt ]",
    },
    Attack {
        name: "host-file",
        story: "a file of the host is overwritten",
        victim: "echo good >/run/victim",
        before: half(STAGES[2], "$S run sh -c 'echo evil >/run/victim'"),
        after: half(STAGES[3], "$S run app sh -c 'echo evil >/run/victim'"),
        harm: "[ $(cat /run/victim) = evil ]",
    },
    Attack {
        name: "fill-disk",
        story: "ten containers of an image of 20 MB are started",
        victim: "used() { du -smx /var/lib/skiff-steps | cut -f1; }
            before=$(used)",
        before: half(
            STAGES[3],
            "for i in 1 2 3 4 5 6 7 8 9 10; do $S run app sh -c :; done",
        ),
        after: half(
            STAGES[4],
            "for i in 1 2 3 4 5 6 7 8 9 10; do $S run app sh -c :; done",
        ),
        harm: "[ $(($(used) - before)) -gt 100 ]",
    },
    Attack {
        name: "rewrite-config",
        story: "a program rewrites its own configuration",
        victim: "",
        before: half(
            STAGES[4],
            "$S run --name app app sh -c 'echo evil >/conf/app.conf'
             $S diff app | grep -q 'C /conf/app.conf' && touch /run/hurt",
        ),
        after: half(
            STAGES[5],
            "$S run --name app -v conf:/conf:ro app \
                sh -c 'echo evil >/conf/app.conf'
             grep -r evil /var/lib/skiff-steps/06/volumes && touch /run/hurt",
        ),
        harm: "[ -e /run/hurt ]",
    },
    Attack {
        name: "open-disk",
        story: "a device node is made, and the host's disk opened through it",
        victim: r#"disk=$(cat /sys/class/block/*/dev | head -1 | tr : ' ')
            open="busybox mknod /disk b $disk && : </disk""#,
        before: half(
            STAGES[5],
            r#"$S run --rm app sh -c "$open" && touch /run/hurt"#,
        ),
        after: half(
            STAGES[6],
            r#"$S run --rm app sh -c "$open" && touch /run/hurt"#,
        ),
        harm: "[ -e /run/hurt ]",
    },
    Attack {
        name: "kill-daemon",
        story: "the daemon is killed, and with it what it runs",
        victim: "",
        before: half(
            STAGES[5],
            "id=$($S run -d app sh -c 'while :; do :; done')
             pid=$($S inspect $id | sed -n 's/.*\"Pid\": \\([0-9]*\\),/\\1/p')
             kill -9 $(sed -n 's/^PPid:\\t//p' /proc/$pid/status)",
        ),
        after: half(
            STAGES[6],
            "id=$($S run -d app sh -c 'while :; do :; done')
             pid=$($S inspect -f '{{.State.Pid}}' $id)
             kill -9 $(pgrep -f 'skiff daemon')",
        ),
        harm: "sleep 0.5; ! [ -e /proc/$pid ]",
    },
];

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
        "export PATH=\"$PWD/target/debug:$PATH\" S={}\n{}\n{}\n\
         {{ {}\n}} >/run/said 2>&1\n\
         echo \"said: $(grep . /run/said | tail -1)\"\n\
         if {{ {}; }} 2>/dev/null; then echo harm; else echo none; fi\n\
         {{ kill $(jobs -p); [ $S != skiff ] || skiff rm -f $(skiff ps -aq)\n\
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
            assert!(first || after == before.map(|it| it + 1), "{}", it.name);
        }
    }
}
