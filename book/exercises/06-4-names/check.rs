//! Asks about names that people give, and about names that attackers give.

use exercises::{Verdict, observed};

use super::learner::{Source, source};

pub fn check() -> Verdict {
    let cases = [
        ("good", "data", Source::Volume),
        ("good", "pg-15_data.v2", Source::Volume),
        ("good", "7z", Source::Volume),
        ("path", "/srv/data", Source::Host),
        ("path", "/", Source::Host),
        ("climbs", "..", Source::Invalid),
        ("climbs", "../../etc", Source::Invalid),
        ("climbs", "a/../../etc", Source::Invalid),
        ("relative", "./data", Source::Invalid),
        ("relative", "data/sub", Source::Invalid),
        ("first", ".hidden", Source::Invalid),
        ("first", "-rf", Source::Invalid),
        ("first", "_x", Source::Invalid),
        ("letters", "da ta", Source::Invalid),
        ("letters", "dätä", Source::Invalid),
        ("letters", "da\nta", Source::Invalid),
        ("short", "", Source::Invalid),
        ("short", "a", Source::Invalid),
    ];
    let count = cases.len();
    for (cause, text, wanted) in cases {
        let got = source(text);
        if got != wanted {
            return Err(observed(
                cause,
                format!("`-v {text:?}:/x`: {got:?}, and for docker {wanted:?}"),
            ));
        }
    }
    Ok(vec![format!("{count} names, told apart as docker does")])
}
