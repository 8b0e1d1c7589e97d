//! Sources that are no paths: what ADD and `build` take for an address, and
//! how they get what is there.

use crate::registry::{Cancel, agent_config};
use std::fmt::Display;
use std::io::{self, Read};
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

/// Whether what comes as a build context is a Dockerfile and not an archive,
/// and all of it to be read. A pipe may bring its first block in pieces.
///
/// # Errors
/// What reading the first block fails with.
pub fn is_dockerfile<R: Read>(
    mut context: R,
) -> io::Result<(bool, impl Read + use<R>)> {
    let mut block = Vec::new();
    context.by_ref().take(TAR_BLOCK).read_to_end(&mut block)?;
    let is_text = is_text(&block);
    Ok((is_text, io::Cursor::new(block).chain(context)))
}

/// A tar's header (POSIX ustar).
const TAR_BLOCK: u64 = 512;

/// A tar's header is padded with zeros. Other bytes that are no UTF-8 may
/// stand in a comment.
fn is_text(block: &[u8]) -> bool {
    // gzip, bzip2, xz, zstd
    let packed: [&[u8]; 4] =
        [b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"];
    !block.contains(&0) && !packed.iter().any(|it| block.starts_with(it))
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
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::mpsc::channel;
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
        for text in [&b"FROM a\n"[..], b"", b"# caf\xe9\nFROM a\n"] {
            assert!(is_text(text), "{text:?}");
        }
        for archive in [&b"name\0\0\0"[..], b"BZh91AY&SY\xff", b"\x1f\x8b\x08"]
        {
            assert!(!is_text(archive), "{archive:?}");
        }
    }

    #[test]
    fn a_header_that_comes_in_pieces_is_one() {
        let (begin, rest) = (&b"Dockerfile"[..], [0; 600]);
        let pieces = begin.chain(&rest[..]);
        let (is_dockerfile, mut all) = is_dockerfile(pieces).unwrap();
        assert!(!is_dockerfile);
        let mut read = Vec::new();
        all.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), begin.len() + rest.len());
    }

    #[test]
    fn a_silent_server_is_left_when_the_client_goes_away() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        for begins in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"] {
            let cancel = Cancel::default();
            std::thread::scope(|scope| {
                let (done, client_is_done) = channel::<()>();
                let (server, cancel) = (&server, &cancel);
                scope.spawn(move || {
                    let (mut stream, _) = server.accept().unwrap();
                    stream.write_all(begins.as_bytes()).unwrap();
                    std::thread::sleep(Duration::from_millis(100));
                    cancel.cancel();
                    // Longer than anybody waits for a silent server.
                    let _ = client_is_done.recv_timeout(PATIENCE);
                });
                let began = Instant::now();
                let read = get(&url, cancel).and_then(|answer| {
                    let mut body = answer.into_body().into_reader();
                    let all = io::copy(&mut body, &mut io::sink());
                    all.map_err(|it| failed(&url, &it))
                });
                drop(done);
                let said = read.unwrap_err();
                assert!(said.starts_with("failed to GET http://"), "{said}");
                assert!(began.elapsed() < PATIENCE, "{said}");
            });
        }
    }

    const PATIENCE: Duration = Duration::from_secs(10);
}
