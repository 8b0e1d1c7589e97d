//! `COPY --link`.

use super::*;

const FILE: &str = "FROM scratch\n\
    RUN mkdir -m 1777 tmp && mkdir real && ln -s real linked && echo 1 > base\n\
    COPY --link a /tmp/a\n\
    COPY --link dir /linked/\n\
    RUN cat tmp/a\n";

fn linked() -> Bench {
    Bench::new(&[("Dockerfile", FILE), ("a", "a\n"), ("dir/b", "b\n")])
}

#[test]
fn a_linked_layer_is_used_again_on_another_base() {
    let mut bench = linked();
    let first = bench.build();
    bench.write("Dockerfile", &FILE.replace("echo 1", "echo 2"));
    let second = bench.build();
    let explained = bench.explained();
    assert!(explained[1].contains("the instruction changed"), "{explained:?}");
    assert_eq!(explained[2..4], ["HIT", "HIT"]);
    assert_eq!(explained[4], "MISS: because a step before it changed (step 2)");
    assert_ne!(first.layers()[0], second.layers()[0]);
    assert_eq!(first.layers()[1..3], second.layers()[1..3]);
    assert_eq!(bench.read(&second, "base").as_deref(), Some("2\n"));
    assert_eq!(bench.read(&second, "tmp/a").as_deref(), Some("a\n"));
}

#[test]
fn a_linked_layer_opens_no_directory_that_another_base_keeps_closed() {
    let mut bench = linked();
    let open = bench.build();
    bench.write("Dockerfile", &FILE.replace("1777", "700"));
    let closed = bench.build();
    for (image, mode) in [(&open, "drwxrwxrwt"), (&closed, "drwx------")] {
        let tree = bench.tree(image);
        assert!(tree.contains(&format!("{mode} 0:0 ./tmp\n")), "{tree}");
    }
    assert_ne!(open.layers()[1], closed.layers()[1]);
    assert_eq!(open.layers()[2], closed.layers()[2]);
}

#[test]
fn the_way_to_a_linked_copy_keeps_its_mode_and_a_link_there_is_replaced() {
    let mut bench = linked();
    let image = bench.build();
    let tree = bench.tree(&image);
    assert!(tree.contains("drwxrwxrwt 0:0 ./tmp\n"), "{tree}");
    assert!(tree.contains("drwxr-xr-x 0:0 ./linked\n"), "{tree}");
    assert!(!tree.contains("./real/b"), "{tree}");
    assert_eq!(bench.read(&image, "linked/b").as_deref(), Some("b\n"));
}

#[test]
fn a_linked_layer_is_the_same_tar_again_when_it_is_saved() {
    let mut bench = linked();
    let image = bench.build();
    for layer in image.layers() {
        let mut tar = bench.store.layer_tar(layer).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut tar, &mut bytes).unwrap();
        assert_eq!(crate::Digest::of(&bytes), layer.0);
    }
}

#[test]
fn a_linked_copy_gives_what_it_makes_to_a_number_and_refuses_a_name() {
    let mut bench = linked();
    let file = "FROM scratch\nCOPY --link --chown=7:8 a /new/way/\n";
    bench.write("Dockerfile", file);
    let image = bench.build();
    let tree = bench.tree(&image);
    assert!(tree.contains("drwxr-xr-x 7:8 ./new/way\n"), "{tree}");
    bench.write("Dockerfile", &file.replace("7:8", "app"));
    insta::assert_snapshot!(bench.error(), @r"
    --chown=app with --link: the layer is made without the image below, which alone knows that name; give numbers, as in --chown=1000:1000, or leave --link out
    Dockerfile:2
      2 | COPY --link --chown=app a /new/way/
        | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    ");
}
