//! Many containers at once, and what a start waits for.

use std::collections::HashSet;
use std::time::Instant;

use super::*;

#[test]
fn two_hundred_starts_and_stops_leave_nothing_and_share_no_address() {
    in_new_network("stress", |host| {
        host.network("n");
        let before = links();
        let held = std::sync::Mutex::new(HashSet::new());
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let (host, held) = (&*host, &held);
                scope.spawn(move || {
                    for turn in 0..25 {
                        let mode = ["bridge", "n"][turn % 2];
                        one_life(
                            host,
                            held,
                            &format!("w{worker}t{turn}"),
                            mode,
                        );
                    }
                });
            }
        });
        host.networks().settle();
        assert_eq!(links(), before);
        let rules = host.networks().rules();
        assert!(!rules.contains("elements = { tcp"), "{rules}");
    });
}

fn one_life(
    host: &Host,
    held: &std::sync::Mutex<HashSet<String>>,
    name: &str,
    mode: &str,
) {
    let mut request = host.request(name, mode);
    let any = PortBinding::default();
    request.ports = PortMap::from([("80/tcp".into(), Some(vec![any]))]);
    let got = host.networks().attach(request).unwrap();
    let address = got.endpoints[mode].ip_address.clone();
    assert!(held.lock().unwrap().insert(address.clone()), "{address} twice");
    held.lock().unwrap().remove(&address);
    host.networks().leave(&id(name)).unwrap();
}

/// Not a claim about time in a debug build: prints what a start waits for.
#[test]
fn a_start_waits_for_the_network_only_briefly() {
    in_new_network("speed", |host| {
        host.network("n");
        let mut lines = Vec::new();
        for (mode, port) in
            [("none", false), ("bridge", false), ("bridge", true), ("n", true)]
        {
            let mut up = Vec::new();
            let mut down = Vec::new();
            for turn in 0..20 {
                let mut request = host.request(&format!("t{turn}"), mode);
                if port {
                    let any = vec![PortBinding::default()];
                    request.ports =
                        PortMap::from([("80/tcp".into(), Some(any))]);
                }
                // The stock of namespaces is full again.
                std::thread::sleep(Duration::from_millis(80));
                let start = Instant::now();
                host.networks().attach(request).unwrap();
                up.push(start.elapsed());
                let start = Instant::now();
                host.networks().leave(&id(&format!("t{turn}"))).unwrap();
                down.push(start.elapsed());
            }
            up.sort();
            down.sort();
            lines.push(format!(
                "{mode}, port {port}: start {:?}, stop {:?}",
                up[10], down[10]
            ));
            // The best of many: beside load, most of them wait for a CPU.
            assert!(up[0] < Duration::from_millis(100), "{lines:?}");
        }
        println!("{}", lines.join("\n"));
    });
}

#[test]
fn many_networks_are_neither_slow_to_make_nor_hard_to_find() {
    in_new_network("many networks", |host| {
        let start = Instant::now();
        for nth in 0..60 {
            host.network(&format!("n{nth}"));
        }
        for nth in 0..60 {
            host.attach(&format!("c{nth}"), &format!("n{nth}"));
        }
        println!("60 networks, one container in each: {:?}", start.elapsed());
        for nth in 0..60 {
            host.networks().leave(&id(&format!("c{nth}"))).unwrap();
        }
        host.networks().settle();
        assert_eq!(host.networks().prune(|_| true).unwrap().len(), 60);
    });
}
