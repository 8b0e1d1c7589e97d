//! A container that fails again and again.

use std::time::Duration;

use exercises::{Verdict, observed};

use super::learner::Restarts;

const BRIEF: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(11);

pub fn check() -> Verdict {
    let mut restarts = Restarts::new(None);
    let mut waits = Vec::new();
    for number in 0..14 {
        match restarts.ended(1, BRIEF) {
            Some(wait) => waits.push(wait.as_millis()),
            None => {
                return Err(observed(
                    "limit",
                    format!("no limit was given; after {number}: no more"),
                ));
            }
        }
    }
    let doubled: Vec<u128> =
        (0..14).map(|it| (100_u128 << it).min(60_000)).collect();
    if waits != doubled {
        let cause = match waits[0] {
            0 => "first",
            200 => "first",
            _ if waits[..4] != doubled[..4] => "doubling",
            _ => "longest",
        };
        return Err(observed(
            cause,
            format!("milliseconds:\n{waits:?}, and docker waits\n{doubled:?}"),
        ));
    }
    let again = restarts.ended(1, LONG).unwrap_or_default();
    if again.as_millis() != 100 {
        return Err(observed(
            "well",
            format!("after a run of 11 s it waits for {again:?}, not 100 ms"),
        ));
    }
    if Restarts::new(None).ended(0, BRIEF).is_some() {
        return Err(observed(
            "success",
            "on-failure: the command ended with 0, and is started again",
        ));
    }
    let mut three = Restarts::new(Some(3));
    let count = (0..9).filter(|_| three.ended(1, BRIEF).is_some()).count();
    if count != 3 {
        return Err(observed(
            "limit",
            format!("on-failure:3 started it again {count} times"),
        ));
    }
    Ok(vec![
        format!("waits in milliseconds: {waits:?}"),
        "after a good run it begins with 100 again".to_owned(),
        "on-failure:3 gives up after three, and code 0 is no failure".into(),
    ])
}
