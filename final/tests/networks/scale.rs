//! Many at once: nothing is given twice, and nothing stays.

use std::collections::HashSet;
use std::process::Command;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::iter;

use super::*;

/// How many requests are under way at the same time.
const AT_ONCE: usize = 8;

impl Daemon {
    /// The firewall, by the command that prints it.
    fn rules(&self) -> String {
        let done = Command::new(env!("CARGO_BIN_EXE_skiff"))
            .arg("-H")
            .arg(format!("unix://{}", self.socket().display()))
            .args(["network", "rules"])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    async fn nothing_is_left_but(&self, before: &[String]) {
        self.until("links are gone", async |_| links() == before).await;
        let rules = self.rules();
        assert!(!rules.contains("elements = { tcp"), "{rules}");
    }
}

#[tokio::test]
async fn two_hundred_starts_and_stops_at_eight_at_once_leave_nothing() {
    let Some(daemon) =
        Daemon::start_in_own_network("200 starts and stops").await
    else {
        return;
    };
    daemon.network("one").await;
    let before = links();
    let held = std::cell::RefCell::new(HashSet::new());
    let one_life = async |nth: usize| {
        let network = ["bridge", "one"][nth % 2];
        let name = format!("short{nth}");
        // Port 0 is any that is free.
        let body = on(network, "exec sleep 99", Some(0));
        daemon.run(&name, body).await;
        let address = daemon.address(&name, network).await;
        assert!(held.borrow_mut().insert(address.clone()), "{address} twice");
        held.borrow_mut().remove(&address);
        daemon.remove(&name).await;
    };
    iter(0..200).for_each_concurrent(AT_ONCE, one_life).await;
    daemon.nothing_is_left_but(&before).await;
}

/// Prints what it costs; a claim about memory only, since time depends on
/// the machine.
#[tokio::test]
#[ignore = "needs two minutes and 4 GiB"]
async fn five_hundred_containers_live_on_two_hundred_networks() {
    const NETWORKS: usize = 200;
    const CONTAINERS: usize = 500;
    let Some(mut daemon) = Daemon::start_in_own_network("500 containers").await
    else {
        return;
    };
    if available() < 4 << 20 {
        cli_api::testing::skip("500 containers", "less than 4 GiB are free");
        return;
    }
    let before = links();
    let memory = available();
    let began = Instant::now();
    let network = |nth: usize| format!("net{}", nth % NETWORKS);
    iter(0..NETWORKS)
        .for_each_concurrent(AT_ONCE, async |nth| {
            daemon.network(&network(nth)).await;
        })
        .await;
    println!("{NETWORKS} networks: {:?}", began.elapsed());

    let began = Instant::now();
    let name = |nth: usize| format!("many{nth}");
    iter(0..CONTAINERS)
        .for_each_concurrent(AT_ONCE, async |nth| {
            let body = on(&network(nth), WEB, None);
            daemon.run(&name(nth), body).await;
        })
        .await;
    println!("{CONTAINERS} containers: {:?}", began.elapsed());
    let each = memory.saturating_sub(available()) / CONTAINERS;
    println!("{each} KiB of memory for each");
    assert!(each < 8 << 10, "{each} KiB");
    let mut addresses = HashSet::new();
    for nth in 0..CONTAINERS {
        let address = daemon.address(&name(nth), &network(nth)).await;
        assert!(addresses.insert(address.clone()), "{address} twice");
    }

    let began = Instant::now();
    daemon.kill_and_restart(Duration::ZERO);
    daemon.docker.version().await.unwrap();
    println!("a new daemon answers after {:?}", began.elapsed());
    // The last one by its name: the first of its network asks.
    let last = CONTAINERS - 1;
    let said = daemon.says(&network(last), &ask(&name(last))).await;
    assert_eq!(said.0, 0, "{}", said.1);

    let began = Instant::now();
    iter(0..CONTAINERS)
        .for_each_concurrent(AT_ONCE, async |nth| {
            daemon.remove(&name(nth)).await;
        })
        .await;
    println!("all removed: {:?}", began.elapsed());
    for nth in 0..NETWORKS {
        daemon.docker.remove_network(&network(nth)).await.unwrap();
    }
    daemon.nothing_is_left_but(&before).await;
}

/// Free memory in KiB.
fn available() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find(|it| it.starts_with("MemAvailable:"));
    let number = line.and_then(|it| it.split_whitespace().nth(1));
    number.and_then(|it| it.parse().ok()).unwrap()
}
