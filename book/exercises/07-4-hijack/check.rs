//! Plays a daemon whose container speaks first, then copies its input.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use exercises::{Verdict, failed, observed};

use super::learner;

pub fn check() -> Verdict {
    let (client, daemon) = UnixStream::pair().expect("two sockets");
    let patience = Some(Duration::from_secs(2));
    client.set_read_timeout(patience).expect("a timeout");
    let server = thread::spawn(move || serve(daemon));
    let got = learner::attach(client, b"to the container");
    let input = server.join().expect("the daemon");
    let input = String::from_utf8_lossy(&input).into_owned();
    if input != "to the container" {
        return Err(observed(
            "input",
            format!("the container read {input:?} from its standard input"),
        ));
    }
    let got = got.map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => observed(
            "half-close",
            "the container copies its input until the end of it, then says \
             `bye`; it waited for 2 s, and so did the client",
        ),
        _ => failed("error", "attach", &error),
    })?;
    let got = String::from_utf8_lossy(&got).into_owned();
    let wanted = "hello\nto the container\nbye\n";
    if got == wanted {
        return Ok(vec![
            "the first words came with the header, and none is lost".to_owned(),
            "after the end of its input the container could still answer"
                .to_owned(),
        ]);
    }
    let cause = match got.as_str() {
        it if !it.starts_with("hello") => "lost",
        _ => "cut",
    };
    Err(observed(
        cause,
        format!("the container said {wanted:?}, and attach returned {got:?}"),
    ))
}

/// Returns what came after the header of the request.
fn serve(mut daemon: UnixStream) -> Vec<u8> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && daemon.read(&mut byte).is_ok() {
        request.push(byte[0]);
    }
    // Header and first output in one write, as a daemon often does.
    let answer = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\
                  Upgrade: tcp\r\n\r\nhello\n";
    daemon.write_all(answer.as_bytes()).expect("write");
    daemon.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
    let mut input = Vec::new();
    let ended = daemon.read_to_end(&mut input).is_ok();
    if ended {
        thread::sleep(Duration::from_millis(50));
        // The client may be gone.
        let _ = daemon.write_all(&input);
        let _ = daemon.write_all(b"\nbye\n");
    }
    input
}
