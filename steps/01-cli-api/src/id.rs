//! Names for things: random IDs for machines, random names for people.

/// How many digits of an ID people see.
pub const SHORT: usize = 12;

/// A new ID: 32 random bytes as 64 hexadecimal digits, as Docker's.
///
/// Random, not counted: two daemons never give the same one, and nobody has
/// to remember the last.
pub fn hex64() -> String {
    let mut bytes = [0; 32];
    fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first twelve digits of an ID, which is what tables show.
pub fn short(id: &str) -> &str {
    let bare = id.strip_prefix("sha256:").unwrap_or(id);
    bare.get(..SHORT).unwrap_or(bare)
}

/// A name such as `calm_heron`, for a container that was given none.
pub fn random_name() -> String {
    let mut bytes = [0; 2];
    fill(&mut bytes);
    let [mood, bird] = bytes.map(usize::from);
    format!("{}_{}", MOODS[mood % MOODS.len()], BIRDS[bird % BIRDS.len()])
}

/// Whether `name` may be a container's or a volume's: Docker's rule,
/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
///
/// Names become directory names and parts of paths in the API; this rule
/// keeps out `..`, `/` and the empty name.
pub fn is_name(name: &str) -> bool {
    let ok = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    name.len() > 1
        && name.starts_with(|it: char| it.is_ascii_alphanumeric())
        && name.chars().all(ok)
}

/// What a person may type for one of `all`: its whole ID, its name, or the
/// beginning of exactly one ID.
///
/// # Errors
/// [`Ambiguous`] if several IDs begin like that. `Ok(None)` if none does.
pub fn resolve<'a, T>(
    typed: &str,
    all: impl IntoIterator<Item = (&'a str, &'a str, T)>,
) -> Result<Option<T>, Ambiguous> {
    let mut by_prefix = Vec::new();
    for (id, name, item) in all {
        if id == typed || name == typed {
            return Ok(Some(item));
        }
        if !typed.is_empty() && id.starts_with(typed) {
            by_prefix.push(item);
        }
    }
    if by_prefix.len() > 1 {
        return Err(Ambiguous(typed.to_owned()));
    }
    Ok(by_prefix.pop())
}

/// Several IDs begin with what was typed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("multiple IDs found with provided prefix: {0}")]
pub struct Ambiguous(pub String);

/// getrandom(2) cannot fail for so few bytes once the machine has booted;
/// if it does, no ID would be safe to give.
#[allow(clippy::expect_used)]
fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the kernel has no randomness to give");
}

// Ours, not Docker's scientists: what a container does should not be pinned
// on somebody. Two words of these make some 1,400 names; whoever gives one
// looks first whether it is taken.
const MOODS: &[&str] = &[
    "able", "brave", "bright", "brisk", "calm", "clear", "clever", "eager",
    "early", "fair", "fond", "fresh", "gentle", "glad", "grand", "happy",
    "keen", "kind", "light", "lively", "lucky", "merry", "mild", "noble",
    "patient", "plain", "proud", "quick", "quiet", "sharp", "steady", "swift",
    "tidy", "warm", "wise", "witty",
];

const BIRDS: &[&str] = &[
    "avocet",
    "bittern",
    "coot",
    "crane",
    "curlew",
    "dipper",
    "diver",
    "dunlin",
    "egret",
    "eider",
    "fulmar",
    "gannet",
    "godwit",
    "goose",
    "grebe",
    "gull",
    "heron",
    "ibis",
    "kittiwake",
    "knot",
    "lapwing",
    "loon",
    "mallard",
    "osprey",
    "pelican",
    "petrel",
    "pintail",
    "plover",
    "puffin",
    "rail",
    "shag",
    "skua",
    "snipe",
    "stilt",
    "stork",
    "swan",
    "teal",
    "tern",
    "turnstone",
    "whimbrel",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_digits_and_differ() {
        let (one, two) = (hex64(), hex64());
        assert_eq!(one.len(), 64);
        assert!(one.bytes().all(|it| it.is_ascii_hexdigit()));
        assert_ne!(one, two);
        assert_eq!(short(&format!("sha256:{one}")), &one[..12]);
    }

    #[test]
    fn random_names_are_names() {
        assert!((0..200).all(|_| is_name(&random_name())));
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        for bad in ["", "a", "..", "a/b", "-a", ".a", "a b", "ä1"] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_name("web-1.2_x"));
    }

    #[test]
    fn a_name_wins_over_a_prefix_and_two_prefixes_are_refused() {
        let all = [("abc1", "web", 1), ("abd2", "abc", 2), ("abc3", "db", 3)];
        assert_eq!(resolve("abc", all), Ok(Some(2)));
        assert_eq!(resolve("abd", all), Ok(Some(2)));
        assert_eq!(resolve("x", all), Ok(None));
        assert_eq!(resolve("", all), Ok(None));
        assert!(resolve("ab", all).is_err());
    }
}
