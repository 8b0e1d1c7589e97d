//! Compares frames with the bytes that dockerd sends, and feeds them back in
//! pieces, as a socket does.

use exercises::{Verdict, observed};

use super::learner;

pub fn check() -> Verdict {
    header()?;
    whole()?;
    pieces()?;
    Ok(vec![
        "`hello` on standard error: 02 00 00 00 00 00 00 05 68 65 6c 6c 6f"
            .to_owned(),
        "three frames in one read, and one frame in many reads, are taken \
         apart alike"
            .to_owned(),
    ])
}

fn header() -> Verdict {
    let got = learner::frame(2, b"hello");
    let wanted = *b"\x02\0\0\0\0\0\0\x05hello";
    if got == wanted {
        return Ok(Vec::new());
    }
    let cause = if got.get(4..8) == Some(&[5, 0, 0, 0]) {
        "little-endian"
    } else if got.get(4..8) == Some(&[0, 0, 0, 13]) {
        "length-of-all"
    } else if got.first() != Some(&2) {
        "stream"
    } else {
        "layout"
    };
    let text = format!(
        "the frame of `hello` on standard error:\n  {}\ndockerd sends\n  {}",
        hex(&got),
        hex(&wanted)
    );
    Err(observed(cause, text))
}

fn whole() -> Verdict {
    let frames = [(1, "one"), (2, ""), (1, "three")];
    let mut bytes: Vec<u8> = frames
        .iter()
        .flat_map(|(stream, text)| learner::frame(*stream, text.as_bytes()))
        .collect();
    for (stream, text) in frames {
        let got = learner::take(&mut bytes);
        if got != Some((stream, text.as_bytes().to_vec())) {
            return Err(observed(
                "not-taken",
                format!(
                    "three frames came in one read; where the next is \
                     ({stream}, {text:?}), take returned {got:?}"
                ),
            ));
        }
    }
    Ok(Vec::new())
}

fn pieces() -> Verdict {
    let frame = learner::frame(1, b"slowly");
    let mut bytes = Vec::new();
    for (number, byte) in frame.iter().enumerate() {
        let got = learner::take(&mut bytes);
        if got.is_some() || bytes.len() != number {
            return Err(observed(
                "incomplete",
                format!(
                    "{number} bytes of a frame of {} had arrived; take \
                     returned {got:?} and left {} bytes",
                    frame.len(),
                    bytes.len()
                ),
            ));
        }
        bytes.push(*byte);
    }
    match learner::take(&mut bytes) {
        Some((1, piece)) if piece == b"slowly" => Ok(Vec::new()),
        got => Err(observed("incomplete", format!("in the end: {got:?}"))),
    }
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|it| format!("{it:02x}")).collect();
    bytes.join(" ")
}
