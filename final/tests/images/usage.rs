//! What the engine says of the room that images take, against the disk.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cli_api::client::Client;
use serde_json::{Value, json};

use super::Daemon;

const NOISE: usize = 3 << 20;

/// Bytes on the disk.
fn taken(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let below = entries.flatten().map(|entry| {
        // It may go while we look.
        let Ok(meta) = entry.path().symlink_metadata() else { return 0 };
        let inner = if meta.is_dir() { taken(&entry.path()) } else { 0 };
        meta.blocks() * 512 + inner
    });
    below.sum()
}

/// As near as block sizes and small documents allow.
fn assert_near(said: u64, seen: u64, what: &str) {
    const SMALL: u64 = 400 << 10;
    assert!(said.abs_diff(seen) < SMALL, "{what}: said {said}, is {seen}");
}

fn sum(rows: &Value, counts: impl Fn(&Value) -> bool) -> u64 {
    let rows = rows.as_array().unwrap().iter().filter(|row| counts(row));
    rows.map(|row| row["Size"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_df_and_prune_say_is_what_the_disk_has_and_gains() {
    let Some(daemon) = Daemon::start("room that images take") else { return };
    daemon.base().await;
    let noise: String =
        (0..NOISE).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    let file = "FROM base\nCOPY noise /\n\
         RUN --mount=type=cache,target=/c cat /noise > /c/kept\n";
    let files = [("Dockerfile", file), ("noise", noise.as_str())];
    let said = super::text(&daemon.build("app", &files).await);
    assert!(said.contains("Successfully tagged"), "{said}");

    let host = format!("unix://{}", daemon.process.socket().display());
    let client = Client::new(host.parse().unwrap());
    let root = daemon.process.root();
    let parts = ["images/blobs", "overlay2", "images/build-cache/mounts"];
    let disk = || parts.iter().map(|part| taken(&root.join(part))).sum();

    let df: Value = client.get("/system/df").await.unwrap();
    let cache = sum(&df["BuildCache"], |row| row["Shared"] == false);
    assert!(cache >= NOISE as u64, "the cache mount counts: {df:#}");
    let layers = df["LayersSize"].as_u64().unwrap();
    assert_near(layers + cache, disk(), "df");
    // Docker's command reckons so what could be freed.
    let own = |row: &Value| {
        let shared = row["SharedSize"].as_u64().unwrap();
        row["Size"].as_u64().unwrap() - shared
    };
    let images = df["Images"].as_array().unwrap();
    assert!(images.iter().map(own).sum::<u64>() <= layers);

    let mut before: u64 = disk();
    let mut freed = async |path: &str| {
        let answer: Value = client.post(path, &json!({})).await.unwrap();
        let after = disk();
        let said = answer["SpaceReclaimed"].as_u64().unwrap();
        assert_near(said, before - after, path);
        before = after;
        said
    };
    let all = "/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D";
    assert!(freed(all).await > 0, "the base goes, with its tar");
    // The layer that the cache kept, and its mount.
    assert!(freed("/build/prune").await >= 2 * NOISE as u64);
    assert_near(0, disk(), "at the end");
}
