//! `docker stats` on the kind of cgroups that this machine has. .ci/run runs
//! it a second time under v2.

mod common;
#[allow(dead_code, reason = "more than this test needs")]
#[path = "engine/daemon.rs"]
mod daemon;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use cgroups::Hierarchy;
use daemon::{Daemon, sh};
use serde_json::Value;

/// The answer as it comes: bollard's types would fill in what is missing.
fn get(daemon: &Daemon, path: &str) -> Value {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body.trim()).unwrap_or_else(|_| panic!("{text}"))
}

fn count(it: &Value) -> u64 {
    it.as_u64().unwrap_or_else(|| panic!("{it} is no number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_have_the_fields_that_docker_has_on_these_cgroups() {
    let test = "stats";
    let Some(daemon) = Daemon::start(test).await else { return };
    let v2 = Hierarchy::detect().unwrap().is_v2();
    let mut body = sh("while :; do :; done");
    let host = body.host_config.as_mut().unwrap();
    host.memory = Some(64 << 20);
    host.pids_limit = Some(50);
    daemon.run("busy", body).await;
    let stats = get(&daemon, "/containers/busy/stats?stream=false");

    let (cpu, before) = (&stats["cpu_stats"], &stats["precpu_stats"]);
    for field in ["system_cpu_usage", "online_cpus"] {
        assert!(count(&cpu[field]) > 0, "{field}: {cpu}");
    }
    let used = |it: &Value| count(&it["cpu_usage"]["total_usage"]);
    assert!(used(cpu) > used(before), "{stats}");
    assert_eq!(count(&stats["pids_stats"]["limit"]), 50);

    let memory = &stats["memory_stats"];
    assert_eq!(count(&memory["limit"]), 64 << 20);
    assert!(count(&memory["usage"]) > 0, "{memory}");
    // What the docker command takes off the usage, by the name that tells it
    // which cgroups these are.
    let [there, missing] = match v2 {
        true => ["inactive_file", "total_inactive_file"],
        false => ["total_inactive_file", "anon"],
    };
    assert!(memory["stats"].get(there).is_some(), "{memory}");
    assert!(memory["stats"].get(missing).is_none(), "{memory}");
    assert_eq!(memory.get("max_usage").is_none(), v2, "{memory}");
    let per_cpu = cpu["cpu_usage"].get("percpu_usage");
    assert_eq!(per_cpu.is_none(), v2, "{cpu}");
    let io = &stats["blkio_stats"];
    assert!(io["io_service_bytes_recursive"].is_array(), "{io}");
    assert_eq!(io["io_serviced_recursive"].is_null(), v2, "{io}");
    daemon.remove("busy").await;
}
