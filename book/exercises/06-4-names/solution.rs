/// What `-v A:B` means by A.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory of the host.
    Host,
    /// A volume that the engine keeps.
    Volume,
    /// Neither; the command is refused.
    Invalid,
}

/// A path begins with a slash; anything else has to be the name of a volume,
/// for which the engine makes a directory of that name.
pub fn source(text: &str) -> Source {
    // BEGIN
    if text.starts_with('/') {
        return Source::Host;
    }
    let mut letters = text.chars();
    let first = letters.next().is_some_and(|it| it.is_ascii_alphanumeric());
    let inside = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    match first && text.len() > 1 && letters.all(inside) {
        true => Source::Volume,
        false => Source::Invalid,
    }
    // STARTER
    //= if text.contains('/') { Source::Host } else { Source::Volume }
    // END
}
