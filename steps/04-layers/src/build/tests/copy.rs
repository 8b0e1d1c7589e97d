//! COPY.

use super::*;

#[test]
fn copy_follows_dockers_rules_of_directories_and_slashes() {
    let mut bench = Bench::new(&[
        (
            "Dockerfile",
            "FROM scratch\n\
             COPY one /renamed\n\
             COPY one /into/\n\
             COPY dir /contents\n\
             COPY dir/sub dir/*.txt /many/\n\
             COPY --chown=5:6 --chmod=0600 one dir /owned/\n\
             COPY --parents dir/sub/deep /kept/\n\
             COPY --exclude=*.txt dir /without/\n\
             WORKDIR /work\n\
             COPY one here\n\
             COPY link /followed\n\
             COPY [\"with blank\", \"/with blank\"]\n\
             COPY <<A <<'B' /docs/\n$NAME ${NAME:-none}\nA\n$NAME\nB\n",
        ),
        ("one", "1"),
        ("dir/a.txt", "a"),
        ("dir/b.txt", "b"),
        ("dir/sub/deep", "d"),
        ("with blank", "b"),
    ]);
    std::os::unix::fs::symlink("/one", bench.context.join("link")).unwrap();
    shell(&format!("chmod -R u=rwX,go=rX {:?}", bench.context));
    let image = bench.build();
    insta::assert_snapshot!(bench.tree(&image));
    assert_eq!(bench.read(&image, "docs/A").as_deref(), Some(" none\n"));
    assert_eq!(bench.read(&image, "docs/B").as_deref(), Some("$NAME\n"));
    assert_eq!(bench.read(&image, "followed").as_deref(), Some("1"));
}

#[test]
fn ignored_files_are_neither_copied_nor_part_of_the_key() {
    let mut bench = Bench::new(&[
        ("Dockerfile", "FROM scratch\nCOPY . /\n"),
        (".dockerignore", "*\n!keep\nkeep/*.log\n"),
        ("keep/a", "a"),
        ("keep/b.log", "b"),
        ("secret", "s"),
    ]);
    shell(&format!("chmod -R u=rwX,go=rX {:?}", bench.context));
    let image = bench.build();
    insta::assert_snapshot!(
        bench.tree(&image),
        @r"
    drwxr-xr-x 0:0 ./keep
    -rw-r--r-- 0:0 ./keep/a
    "
    );
    bench.write("secret", "another");
    bench.build();
    assert_eq!(bench.explained(), ["HIT", "HIT"]);
}

#[test]
fn a_destination_keeps_its_mode_and_what_is_below_takes_the_sources() {
    let mut bench = Bench::new(&[
        (
            "Dockerfile",
            "FROM scratch\nRUN mkdir -p t/sub; chmod 700 t t/sub; chown 5:5 t t/sub\n\
             COPY dir /t/\n",
        ),
        ("dir/sub/x", ""),
    ]);
    shell(&format!("chmod -R u=rwX,go=rX {:?}", bench.context));
    let image = bench.build();
    let tree = bench.tree(&image);
    assert!(tree.contains("drwx------ 5:5 ./t\n"), "{tree}");
    assert!(tree.contains("drwxr-xr-x 0:0 ./t/sub\n"), "{tree}");
}

#[test]
fn a_pivot_in_another_stage_counts_with_parents_alone() {
    let mut bench = Bench::new(&[("Dockerfile", ""), ("c", "1")]);
    let mut build = |copy: &str| {
        let stage = "FROM scratch AS s\nCOPY c /a/b/c\nFROM scratch\n";
        bench.write("Dockerfile", &format!("{stage}COPY --from=s {copy}\n"));
        let image = bench.build();
        ["one/b/c", "one/a/b/c"].map(|it| bench.read(&image, it).is_some())
    };
    build("a/./b /x/");
    assert_eq!(build("--parents a/b /one/"), [false, true]);
    assert_eq!(build("--parents a/./b /one/"), [true, false]);
}

#[test]
fn parents_are_kept_from_the_pivot_on() {
    let mut bench = Bench::new(&[
        (
            "Dockerfile",
            "FROM scratch\n\
             COPY --parents ./a/./b/c /one/\n\
             COPY --parents a/*/./c /two/\n\
             COPY --parents a/./b /three/\n",
        ),
        ("a/b/c", "1"),
    ]);
    let image = bench.build();
    for path in ["one/b/c", "two/c", "three/b/c"] {
        let text = bench.read(&image, path);
        assert_eq!(text.as_deref(), Some("1"), "{path}");
    }
    // The same file under another name is another layer.
    let file = "FROM scratch\nCOPY --parents a/b/./c /one/\n";
    bench.write("Dockerfile", file);
    let image = bench.build();
    assert_eq!(bench.read(&image, "one/c").as_deref(), Some("1"));
}
