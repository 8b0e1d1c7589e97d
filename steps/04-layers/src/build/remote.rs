//! Sources that are no paths: what ADD and `build` take for an address, and
//! how they get what is there.

use crate::registry::{Cancel, agent_config};
use std::fmt::Display;
use ureq::http::Response;
use ureq::{Agent, Body};

/// What an address is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// One file.
    File,
    /// A git repository.
    Repository,
}

impl Remote {
    /// By Docker's rules; `None` for what is a path.
    ///
    /// ```
    /// use layers::build::remote::Remote;
    /// let of = Remote::of;
    /// assert_eq!(of("https://example.org/a.tar"), Some(Remote::File));
    /// let repository = of("https://example.org/a.git#main:dir");
    /// assert_eq!(repository, Some(Remote::Repository));
    /// assert_eq!(of("github.com/a/b"), None);
    /// ```
    pub fn of(text: &str) -> Option<Remote> {
        let begins = |all: &[&str]| all.iter().any(|it| text.starts_with(it));
        let address = text.split('#').next().unwrap_or(text);
        if begins(&["http://", "https://"]) {
            return Some(match address.ends_with(".git") {
                true => Remote::Repository,
                false => Remote::File,
            });
        }
        begins(&["git://", "ssh://", "git@"]).then_some(Remote::Repository)
    }

    /// The same for a build context, where a repository of GitHub may be
    /// written like a path.
    pub fn of_context(text: &str) -> Option<Remote> {
        match text.starts_with(GITHUB) {
            true => Some(Remote::Repository),
            false => Remote::of(text),
        }
    }
}

/// How an address of GitHub without its scheme begins.
pub const GITHUB: &str = "github.com/";

/// Whether a build context that begins like this is a Dockerfile and not an
/// archive: archives, and compressed ones above all, are no text.
pub fn is_dockerfile(beginning: &[u8]) -> bool {
    let text = match std::str::from_utf8(beginning) {
        Ok(_) => true,
        // Cut off in the middle of a character.
        Err(error) => error.error_len().is_none(),
    };
    text && !beginning.contains(&0)
}

/// Asks for a file. The answer's body ends with an error when the stop is
/// asked for, and when the server keeps silent.
///
/// # Errors
/// In Docker's words, with the URL and the reason.
pub fn get(url: &str, cancel: &Cancel) -> Result<Response<Body>, String> {
    let agent = Agent::from(agent_config().build());
    cancel.ends(&agent);
    let request = agent.get(url);
    cancel
        .unless_asked(move || request.call())
        .map_err(|it| failed(url, &it))?
        .map_err(|it| failed(url, &it))
}

/// Docker's words for a file that does not come.
pub fn failed(url: &str, why: &dyn Display) -> String {
    format!("failed to GET {url}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    #[test]
    fn an_address_is_what_docker_takes_for_one() {
        for text in ["git@example.org:a/b", "git://h/a", "ssh://h/a"] {
            assert_eq!(Remote::of(text), Some(Remote::Repository), "{text}");
        }
        let inside = "https://example.org/a.git/Dockerfile";
        assert_eq!(Remote::of(inside), Some(Remote::File));
        assert_eq!(Remote::of("dir/http://x"), None);
        let github = Remote::of_context("github.com/a/b");
        assert_eq!(github, Some(Remote::Repository));
        assert_eq!(Remote::of_context("a.git"), None);
    }

    #[test]
    fn an_archive_is_no_dockerfile() {
        assert!(is_dockerfile(b"FROM a\n"));
        assert!(is_dockerfile(b""));
        assert!(is_dockerfile("# caf\u{e9}".as_bytes()));
        assert!(is_dockerfile(b"# caf\xc3"), "cut off");
        assert!(!is_dockerfile(b"name\0\0\0"));
        assert!(!is_dockerfile(b"BZh91AY&SY\xff\xfe"));
    }

    #[test]
    fn a_silent_server_is_left_when_the_client_goes_away() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        for begins in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"] {
            let began = Instant::now();
            let cancel = Cancel::default();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut stream, _) = server.accept().unwrap();
                    stream.write_all(begins.as_bytes()).unwrap();
                    std::thread::sleep(Duration::from_millis(200));
                    cancel.cancel();
                    std::thread::sleep(Duration::from_millis(500));
                });
                let read = get(&url, &cancel).and_then(|answer| {
                    let mut body = answer.into_body().into_reader();
                    let all = io::copy(&mut body, &mut io::sink());
                    all.map_err(|it| failed(&url, &it))
                });
                assert!(read.is_err());
                let took = began.elapsed();
                assert!(took < Duration::from_millis(650), "{took:?}");
            });
        }
    }
}
