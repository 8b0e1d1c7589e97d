//! What is used again, and what has to run again.

use super::*;

#[test]
fn the_second_build_runs_nothing_and_gives_the_same_image() {
    let mut bench = mission();
    let first = bench.build();
    assert_eq!(bench.ran(), 2);
    assert_eq!(bench.read(&first, "app/installed").as_deref(), Some("flask\n"));
    let second = bench.build();
    assert_eq!(bench.ran(), 2);
    assert_eq!(first.id, second.id);
    assert_eq!(bench.explained(), ["HIT"; 6]);
    assert_eq!(bench.said.matches("Using cache").count(), 5);
    assert!(bench.said.ends_with("Successfully tagged built:latest\n"));
}

#[test]
fn a_change_to_the_source_runs_only_the_last_copy_again() {
    let mut bench = mission();
    bench.build();
    bench.write("src/main.py", "print(2)\n");
    bench.write("src/new.py", "");
    let image = bench.build();
    assert_eq!(bench.ran(), 2);
    assert_eq!(
        bench.explained(),
        [
            "HIT",
            "HIT",
            "HIT",
            "HIT",
            "MISS: changed: src/main.py; added: src/new.py",
            "MISS: because a step before it changed (step 5)",
        ]
    );
    assert_eq!(
        bench.read(&image, "app/src/main.py").as_deref(),
        Some("print(2)\n")
    );
}

#[test]
fn a_change_to_the_requirements_runs_everything_after_them_again() {
    let mut bench = mission();
    bench.build();
    bench.write("requirements.txt", "django\n");
    bench.build();
    assert_eq!(bench.ran(), 3);
    insta::assert_snapshot!(bench.explained().join("\n"));
}

#[test]
fn touching_a_file_or_moving_the_context_still_hits() {
    let mut bench = mission();
    bench.build();
    let moved = bench.context.with_file_name("elsewhere");
    fs::rename(&bench.context, &moved).unwrap();
    bench.context = moved;
    shell(&format!(
        "find {:?} -exec touch -d 2001-01-01 {{}} +",
        bench.context
    ));
    bench.build();
    assert_eq!(bench.explained(), ["HIT"; 6]);
}

#[test]
fn two_machines_build_the_same_image_from_the_same_sources() {
    let build = || {
        let mut bench = Bench::new(&[
            (
                "Dockerfile",
                "FROM scratch\nCOPY . /app/\nRUN date > now-ish; \
                 echo fixed > now-ish\nLABEL a=b\n",
            ),
            ("f", "1"),
        ]);
        bench.options.source_date_epoch = Some(1_000_000_000);
        bench.build().id
    };
    assert_eq!(build(), build());
}

#[test]
fn an_image_can_serve_as_cache_on_a_machine_that_has_none() {
    let mut bench = mission();
    let first = bench.build();
    // Keeps the layers that the forgotten cache named.
    let _lease: Lease = bench.store.lease().unwrap();
    prune_cache(bench.store.root()).unwrap();
    bench.options.cache_from = vec!["built:latest".into()];
    let second = bench.build();
    assert_eq!(bench.ran(), 2);
    assert_eq!(first.layers(), second.layers());
}

#[test]
fn a_base_that_is_pruned_while_it_is_built_on_stays_until_the_end() {
    let mut bench = Bench::new(&[("Dockerfile", "FROM scratch\nCOPY f /\n")]);
    bench.write("f", "1");
    bench.options.tags = vec!["base".parse().unwrap()];
    bench.build();
    let signs = tempfile::tempdir().unwrap();
    let (runs, goes_on) = (signs.path().join("runs"), signs.path().join("go"));
    let wait = format!(
        "RUN touch {}; while [ ! -e {} ]; do sleep 0.01; done\n",
        runs.display(),
        goes_on.display()
    );
    bench.write("Dockerfile", &format!("FROM base\n{wait}RUN cat f > g\n"));
    bench.options.tags = vec!["made".parse().unwrap()];
    let store = bench.store.clone();
    let pruned = std::thread::spawn(move || {
        while !runs.exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        prune_cache(store.root()).unwrap();
        let removed = store.prune(true, &|_| true, &Vec::new).unwrap().0;
        std::fs::write(goes_on, "").unwrap();
        removed.len()
    });
    let image = bench.build();
    assert!(pruned.join().unwrap() > 0, "the base's name is gone");
    assert!(bench.store.resolve("base").is_err());
    assert_eq!(bench.read(&image, "g").as_deref(), Some("1"));
}

#[test]
fn pruning_forgets_the_steps_and_spares_a_mount_in_use() {
    let text = "FROM scratch\n\
        RUN --mount=type=cache,target=/c true\nRUN echo > x\n";
    let mut bench = Bench::new(&[("Dockerfile", text)]);
    bench.build();
    let root = bench.store.root().to_owned();
    let mounts = root.join("images/build-cache/mounts");
    let list = || {
        let entries = fs::read_dir(&mounts).unwrap().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.partition::<Vec<_>, _>(|path| path.is_dir())
    };
    let (directories, locks) = list();
    assert_eq!((directories.len(), locks.len()), (1, 1));
    let held = fs::File::open(&locks[0]).unwrap();
    held.lock_shared().unwrap();
    assert_eq!(prune_cache(&root).unwrap().len(), 2);
    assert_eq!(list().0.len(), 1);
    // Not by closing the file: a child that another thread has just forked
    // may still have it open (flock(2)).
    held.unlock().unwrap();
    assert_eq!(prune_cache(&root).unwrap(), [""; 0]);
    assert_eq!(list().0.len(), 0);
    assert_eq!(cached_layers(&root), []);
    bench.build();
    assert!(bench.explained()[2].contains("is gone"));
}

#[test]
fn an_image_for_the_cache_that_is_not_here_is_named() {
    let mut bench = mission();
    bench.options.cache_from = vec!["nosuch:1".into()];
    bench.build();
    let first = bench.said.lines().next().unwrap();
    assert_eq!(
        first,
        "[Warning] --cache-from nosuch:1: there is no such image here, pull \
         it to use its layers"
    );
}

#[test]
fn images_that_serve_as_cache_take_the_place_of_the_own_one() {
    let mut bench = mission();
    bench.build();
    let ran = bench.ran();
    bench.options.cache_from = vec!["nosuch".into()];
    bench.build();
    assert_eq!(bench.ran(), 2 * ran);
}
