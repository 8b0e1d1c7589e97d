//! Packs the same files twice, compressed more and less.

use exercises::{Verdict, failed, observed};
use flate2::Compression;
use sha2::{Digest, Sha256};

use super::learner::{Layer, pack};

pub fn check() -> Verdict {
    let tar = vec![b'a'; 10_240];
    let pack = |level| {
        pack(&tar, level).map_err(|error| failed("error", "pack", &error))
    };
    let (fast, best) = (pack(Compression::fast())?, pack(Compression::best())?);
    let wanted = |bytes: &[u8]| {
        let hash = Sha256::digest(bytes);
        let hex: Vec<_> = hash.iter().map(|it| format!("{it:02x}")).collect();
        format!("sha256:{}", hex.concat())
    };
    for Layer { blob, digest, diff_id } in [&fast, &best] {
        for (name, got) in [("digest", digest), ("diff_id", diff_id)] {
            form(name, got)?;
        }
        if *digest != wanted(blob) {
            return Err(observed(
                "digest",
                format!(
                    "{} is what sha256sum says of the blob; digest is {digest}",
                    wanted(blob)
                ),
            ));
        }
    }
    if fast.diff_id != best.diff_id || fast.diff_id != wanted(&tar) {
        return Err(observed(
            "diff-id",
            format!(
                "the same files, compressed more and less, have the diff IDs\n\
                 {}\n{}",
                fast.diff_id, best.diff_id
            ),
        ));
    }
    Ok(vec![
        format!(
            "two blobs of the same files: {} and {}",
            fast.digest, best.digest
        ),
        format!("one diff ID: {}", fast.diff_id),
    ])
}

fn form(name: &str, got: &str) -> Verdict {
    let hex = got.strip_prefix("sha256:");
    let good = hex.is_some_and(|hex| {
        hex.len() == 64
            && hex.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    });
    if good {
        return Ok(Vec::new());
    }
    Err(observed(
        "form",
        format!("{name} is `{got}`; it should be sha256: and 64 digits"),
    ))
}
