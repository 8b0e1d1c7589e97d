//! `WWW-Authenticate`: how a registry says what it wants (RFC 9110, 11.6).

/// What a 401 asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from elsewhere.
    Bearer {
        /// Where to get it.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads one header; `None` when it is of a kind that is not known.
    pub(super) fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) =
            header.trim().split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        // Unknown parameters (`error`, `charset`) say nothing that matters
        // here.
        let (mut realm, mut service, mut scope) = (None, None, None);
        for (key, value) in parameters(rest) {
            match key.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
        }
        Some(Challenge::Bearer { realm: realm?, service, scope })
    }
}

/// `key="value",key=value`; a quoted value may contain commas and `\"`.
///
/// Written by hand, because no two servers quote alike.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',', '\t']).to_owned();
        let value;
        if let Some(quoted) = after.strip_prefix('"') {
            let mut plain = String::new();
            let mut chars = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '\\' => plain.extend(chars.next().map(|(_, c)| c)),
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    c => plain.push(c),
                }
            }
            (value, rest) = (plain, &quoted[end..]);
        } else {
            let (plain, after) = after.split_once(',').unwrap_or((after, ""));
            (value, rest) = (plain.trim().to_owned(), after);
        }
        found.push((key, value));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn docker_hubs_challenge_is_read() {
        let header = "Bearer realm=\"https://auth.docker.io/token\",service=\
             \"registry.docker.io\",scope=\"repository:a/b:pull,push\"";
        assert_eq!(
            Challenge::parse(header),
            Some(Challenge::Bearer {
                realm: "https://auth.docker.io/token".into(),
                service: Some("registry.docker.io".into()),
                scope: Some("repository:a/b:pull,push".into()),
            })
        );
        assert_eq!(
            Challenge::parse("basic realm=\"x\""),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::parse("Negotiate abc"), None);
        assert_eq!(Challenge::parse("Bearer service=\"x\""), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _ = Challenge::parse(&text);
            let _ = Challenge::parse(&format!("Bearer {text}"));
        }
    }
}
