//! ADD: archives that unpack themselves, and URLs.

use super::*;

#[test]
fn a_local_tar_unpacks_itself_with_add_and_not_with_copy() {
    let mut bench = Bench::new(&[
        (
            "Dockerfile",
            "FROM scratch\nADD a.tar.gz /added/\nCOPY a.tar.gz /copied/\n",
        ),
        ("src/file", "x"),
    ]);
    let context = bench.context.clone();
    shell(&format!("cd {context:?} && tar -czf a.tar.gz -C src file"));
    let image = bench.build();
    assert_eq!(bench.read(&image, "added/file").as_deref(), Some("x"));
    assert!(bench.tree(&image).contains("./copied/a.tar.gz"));
}

#[test]
fn xz_and_bzip2_are_left_to_their_programs() {
    for program in ["xz", "bzip2"] {
        if Process::new(program).arg("--version").output().is_err() {
            println!("SKIP: xz_and_bzip2_are_left: no {program} here");
            return;
        }
    }
    let text = "FROM scratch\nADD b.tar.xz c.tar.bz2 /more/\n";
    let mut bench = Bench::new(&[("Dockerfile", text), ("src/file", "x")]);
    let context = bench.context.clone();
    shell(&format!(
        "cd {context:?}; tar -c src | xz > b.tar.xz
         tar -c Dockerfile | bzip2 > c.tar.bz2"
    ));
    let image = bench.build();
    let tree = bench.tree(&image);
    assert!(tree.contains("./more/src/file"), "{tree}");
    assert!(tree.contains("./more/Dockerfile"), "{tree}");
}

#[test]
fn an_archive_is_unpacked_through_the_images_links() {
    let text = "FROM scratch\n\
        RUN mkdir -p usr/bin usr/lib; ln -s /usr/bin bin; ln -s usr/lib lib\n\
        ADD through.tar /\nADD over.tar /\n";
    let mut bench = Bench::new(&[("Dockerfile", text), ("bin/tool", "1")]);
    let context = bench.context.clone();
    shell(&format!(
        "cd {context:?}; mkdir lib; echo 2 > lib/l
         tar -cf through.tar bin/tool; tar -cf over.tar lib"
    ));
    let image = bench.build();
    assert_eq!(bench.read(&image, "usr/bin/tool").as_deref(), Some("1"));
    let tree = bench.tree(&image);
    assert!(tree.contains("./bin /usr/bin\n"), "{tree}");
    // The archive has the directory itself.
    assert!(tree.contains("./lib\n"), "{tree}");
    assert_eq!(bench.read(&image, "lib/l").as_deref(), Some("2\n"));
}

#[test]
fn a_link_of_the_image_never_leads_an_archive_to_the_host() {
    let outside = tempfile::tempdir().unwrap();
    let to = outside.path().display();
    let text = format!(
        "FROM scratch\nRUN ln -s {to} out; ln -s ../../../../../.. up\n\
         ADD a.tar /\n"
    );
    let mut bench = Bench::new(&[("Dockerfile", &text)]);
    let context = bench.context.clone();
    shell(&format!(
        "cd {context:?}; mkdir out up; echo > out/f; echo > up/f
         tar -cf a.tar out/f up/f"
    ));
    // What `out` leads to is not in the image, so it is no directory there.
    let said = bench.error();
    assert!(said.contains("ADD a.tar /"), "{said}");
    shell(&format!("cd {context:?}; tar -cf a.tar up/f"));
    let image = bench.build();
    assert_eq!(bench.read(&image, "f").as_deref(), Some("\n"));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_url_is_not_waited_for_when_nobody_needs_it() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = server.local_addr().unwrap();
    let text = format!("FROM scratch\nADD http://{at}/f /\n");
    let mut bench = Bench::new(&[("Dockerfile", &text)]);
    let cancel = bench.options.cancel.clone();
    let client = std::thread::spawn(move || {
        let asked = server.accept().unwrap();
        cancel.cancel();
        // Open until the builder has given up.
        asked
    });
    let said = bench.error();
    assert!(said.contains("ADD failed: failed to GET"), "{said}");
    drop(client.join().unwrap());
}
