//! What images cost: unpacking a layer, building when all is known, and the
//! first write to a file of a lower layer.

use std::fs::{self, File};
use std::io::Write;

use benches::Host;
use criterion::{BatchSize, Criterion, Throughput};
use criterion::{criterion_group, criterion_main};
use layers::{Snapshots, apply};

/// A layer as a tar: many small files and one big one.
fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).expect("an entry");
    };
    for n in 0..1000 {
        add(&format!("usr/share/{n}"), &[b'x'; 3000]);
    }
    add("usr/lib/big.so", &vec![7; 8 << 20]);
    tar.into_inner().expect("a tar")
}

fn unpack(criterion: &mut Criterion) {
    let tar = layer();
    let scratch = tempfile::tempdir().expect("a directory");
    let mut group = criterion.benchmark_group("unpack");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(tar.len() as u64));
    let options = apply::Options::for_this_user();
    group.bench_function("tar", |bench| {
        bench.iter_batched(
            || tempfile::tempdir_in(&scratch).expect("a directory"),
            |dir| {
                let to = dir.path().join("diff");
                fs::create_dir(&to).expect("diff");
                apply::unpack(&tar[..], &to, None, &options).expect("unpack");
                dir
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn build(criterion: &mut Criterion) {
    let Some(host) = Host::new("build/cached") else { return };
    let mut group = criterion.benchmark_group("build");
    group.sample_size(20);
    group.bench_function("cached", |bench| bench.iter(|| host.build()));
    group.finish();
}

/// Copy-up: overlayfs copies the whole file before the first byte is
/// written. How big it is decides, not how much is written.
fn first_write(criterion: &mut Criterion) {
    let Some(host) = Host::new("first-write") else { return };
    let big = host.context().join("big");
    fs::write(&big, vec![1; 32 << 20]).expect("a big file");
    let dockerfile = host.context().join("Dockerfile");
    let mut lines = fs::OpenOptions::new();
    let mut lines = lines.append(true).open(dockerfile).expect("Dockerfile");
    lines.write_all(b"COPY big /big\n").expect("one more line");
    host.build();
    let image = host.store.resolve("box").expect("the image");

    let mut group = criterion.benchmark_group("first-write");
    group.sample_size(10);
    let files = [("small", "files/1"), ("32-MiB", "big")];
    for (name, file) in files {
        group.bench_function(name, |bench| {
            bench.iter_batched_ref(
                || Mounted::new(&host, image.layers()),
                |mounted| mounted.touch(file),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// A fresh writable layer, taken away when it is dropped.
struct Mounted<'a> {
    host: &'a Host,
    id: String,
    root: std::path::PathBuf,
}

impl<'a> Mounted<'a> {
    fn new(host: &'a Host, layers: &[layers::DiffId]) -> Mounted<'a> {
        let id = cli_api::id::hex64();
        let root = host.overlay.prepare(&id, layers).expect("mount");
        Mounted { host, id, root }
    }

    fn touch(&mut self, file: &str) {
        let path = self.root.join(file);
        File::options()
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(b"!"))
            .expect("write");
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.host.overlay.remove(&self.id).expect("remove");
    }
}

criterion_group!(benches, unpack, build, first_write);
criterion_main!(benches);
