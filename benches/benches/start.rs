//! The same job at every stage: start `true`, wait for its end, clean up.
//! The difference between two neighbours is the price of one primitive.

use benches::{Engine, Host};
use criterion::{Criterion, criterion_group, criterion_main};

/// What one stage does for the job.
type Job = fn(&Host);

fn start(criterion: &mut Criterion) {
    let Some(host) = Host::new("start") else { return };
    let mut group = criterion.benchmark_group("start");
    let stages: [(&str, Job); 6] = [
        ("01-plain", Host::plain),
        ("02-namespaces", Host::isolated),
        ("03-cgroups", Host::limited),
        ("04-copy", Host::copied),
        ("05-overlay", Host::layered),
        ("06-volume", Host::lasting),
    ];
    for (name, job) in stages {
        group.sample_size(if name == "04-copy" { 10 } else { 50 });
        group.bench_function(name, |bench| bench.iter(|| job(&host)));
    }
    // A command, a request, a shim process and a log more.
    if let Some(engine) = Engine::new(&host, "start/07-engine") {
        group.sample_size(30);
        group.bench_function("07-engine", |bench| bench.iter(|| engine.run()));
    }
    group.finish();
}

criterion_group!(benches, start);
criterion_main!(benches);
