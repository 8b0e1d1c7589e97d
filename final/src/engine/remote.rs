//! Files at a URL, which `import` and `build` take instead of an upload.

use std::io::Read;

use layers::registry::{Cancel, agent_config};
use ureq::Agent;

use super::error::{Error, Result};

/// The body of the answer. It ends with an error when the stop is asked for,
/// and when the server keeps silent.
///
/// # Errors
/// [`Error::Internal`] with the URL and the reason.
pub(super) fn get(
    url: &str,
    cancel: &Cancel,
) -> Result<impl Read + Send + 'static> {
    let agent = Agent::from(agent_config().build());
    cancel.ends(&agent);
    let request = agent.get(url);
    let answer = cancel
        .unless_asked(move || request.call())
        .map_err(|it| failed(url, &it))?
        .map_err(|it| failed(url, &it))?;
    Ok(answer.into_body().into_reader())
}

/// Docker's words.
pub(super) fn failed(url: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Internal(format!("failed to GET {url}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;

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
                let read = get(&url, &cancel).and_then(|mut body| {
                    let all = std::io::copy(&mut body, &mut std::io::sink());
                    all.map_err(|it| failed(&url, &it))
                });
                assert!(read.is_err());
                let took = began.elapsed();
                assert!(took < Duration::from_millis(650), "{took:?}");
            });
        }
    }
}
