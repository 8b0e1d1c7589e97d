use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The log as it is now.
fn all(path: &Path, query: &Query) -> Vec<Entry> {
    let mut out = Vec::new();
    read(path, query, &|| true, &mut |entry| {
        out.push(entry);
        ControlFlow::Continue(())
    })
    .unwrap();
    out
}

fn texts(path: &Path, query: &Query) -> Vec<String> {
    all(path, query).into_iter().map(|it| it.log).collect()
}

/// A directory with a log of so many short lines.
fn filled(rotation: Rotation, lines: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x-json.log");
    let mut writer = Writer::open(&path, rotation).unwrap();
    for number in 0..lines {
        let line = format!("line {number}\n");
        writer.push(Stream::Stdout, line.as_bytes()).unwrap();
    }
    dir
}

#[test]
fn a_line_in_the_file_is_what_docker_writes() {
    let dir = filled(Rotation::default(), 1);
    let text = std::fs::read_to_string(dir.path().join("x-json.log")).unwrap();
    let start = r#"{"log":"line 0\n","stream":"stdout","time":"2"#;
    assert!(text.starts_with(start), "{text}");
    assert!(text.ends_with("Z\"}\n"), "{text}");
}

#[test]
fn streams_keep_apart_and_a_last_line_needs_no_newline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut writer = Writer::open(&path, Rotation::default()).unwrap();
    writer.push(Stream::Stdout, b"out").unwrap();
    writer.push(Stream::Stderr, b"err\n").unwrap();
    writer.push(Stream::Stdout, b"put\nrest").unwrap();
    writer.finish(Stream::Stdout).unwrap();
    writer.finish(Stream::Stderr).unwrap();
    assert_eq!(texts(&path, &Query::default()), ["err\n", "output\n", "rest"]);
    let only = Query { stdout: false, ..Query::default() };
    assert_eq!(texts(&path, &only), ["err\n"]);
}

#[test]
fn tail_counts_from_the_end_across_rotated_files() {
    let rotation =
        Rotation { max_size: Some(300), max_file: 4, ..Rotation::default() };
    let dir = filled(rotation, 12);
    let path = dir.path().join("x-json.log");
    assert!(numbered(&path, 2).exists());
    let tail =
        |count| texts(&path, &Query { tail: Some(count), ..Query::default() });
    assert_eq!(tail(0), [""; 0]);
    assert_eq!(tail(1), ["line 11\n"]);
    assert_eq!(tail(6).first().unwrap(), "line 6\n");
    assert_eq!(tail(100).len(), texts(&path, &Query::default()).len());
}

#[test]
fn rotation_keeps_so_many_files_and_no_more() {
    for max_file in [1, 2, 3] {
        let rotation =
            Rotation { max_size: Some(200), max_file, ..Rotation::default() };
        let dir = filled(rotation, 50);
        let files = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, max_file as usize);
        let path = dir.path().join("x-json.log");
        let last = texts(&path, &Query::default()).pop();
        assert_eq!(last.unwrap(), "line 49\n");
        remove(&path).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn since_and_until_cut_a_span_of_time() {
    let dir = filled(Rotation::default(), 5);
    let path = dir.path().join("x-json.log");
    let times: Vec<_> =
        all(&path, &Query::default()).iter().map(|it| it.time).collect();
    let span = Query {
        since: Some(times[1]),
        until: Some(times[3]),
        ..Query::default()
    };
    assert_eq!(texts(&path, &span), ["line 1\n", "line 2\n", "line 3\n"]);
}

#[test]
fn a_rotation_between_two_openings_shows_no_line_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    std::fs::write(&path, "new").unwrap();
    std::fs::write(numbered(&path, 1), "old").unwrap();
    let files = super::read::open_all(&path, |number| {
        if number == 1 {
            std::fs::rename(numbered(&path, 1), numbered(&path, 2)).unwrap();
            std::fs::rename(&path, numbered(&path, 1)).unwrap();
        }
        Ok(std::fs::File::open(numbered(&path, number)).ok())
    });
    let texts = files.unwrap().into_iter().map(std::io::read_to_string);
    let texts: Vec<_> = texts.map(Result::unwrap).collect();
    assert_eq!(texts, ["new", "old"]);
}

#[test]
fn a_follower_sees_every_line_across_rotations_until_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let rotation =
        Rotation { max_size: Some(2000), max_file: 50, ..Rotation::default() };
    let mut writer = Writer::open(&path, rotation).unwrap();
    let ended = AtomicBool::new(false);
    let (send, receive) = mpsc::channel();
    let query = Query { follow: true, ..Query::default() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let ended = || ended.load(Ordering::SeqCst);
            read(&path, &query, &ended, &mut |entry| {
                let _ = send.send(entry.log);
                ControlFlow::Continue(())
            })
            .unwrap();
            drop(send);
        });
        for number in 0..200 {
            let line = format!("{number}\n");
            writer.push(Stream::Stdout, line.as_bytes()).unwrap();
            let got = receive.recv_timeout(Duration::from_secs(10)).unwrap();
            assert_eq!(got, line);
        }
        ended.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_half_line_left_by_a_crash_is_skipped() {
    let dir = filled(Rotation::default(), 1);
    let path = dir.path().join("x-json.log");
    let mut text = std::fs::read(&path).unwrap();
    text.extend_from_slice(b"{\"log\":\"ha\n");
    std::fs::write(&path, &text).unwrap();
    let mut writer = Writer::open(&path, Rotation::default()).unwrap();
    writer.push(Stream::Stdout, b"next\n").unwrap();
    assert_eq!(texts(&path, &Query::default()), ["line 0\n", "next\n"]);
}

#[test]
fn times_have_nine_digits_for_people() {
    let time: Timestamp = "2026-01-02T03:04:05.1Z".parse().unwrap();
    assert_eq!(nanos(time), "2026-01-02T03:04:05.100000000Z");
}

proptest! {
    #[test]
    fn text_comes_back_as_it_was_however_it_was_cut(
        text in "[a-zä€\n\"\\\\]{0,200}",
        cuts in proptest::collection::vec(1_usize..40, 1..20),
        long in 0_usize..3,
    ) {
        let text = format!("{}{text}", "é".repeat(long * 9000));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = Writer::open(&path, Rotation::default()).unwrap();
        let mut rest = text.as_bytes();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (now, later) = rest.split_at((cut * 97).min(rest.len()));
            writer.push(Stream::Stdout, now).unwrap();
            rest = later;
        }
        writer.finish(Stream::Stdout).unwrap();
        prop_assert_eq!(texts(&path, &Query::default()).concat(), text);
    }
}

#[test]
fn attributes_stand_in_every_line_and_before_it_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let pairs = [("tag", "a/b"), ("FOO", "x y&")];
    let attrs: Attributes =
        pairs.map(|(key, value)| (key.into(), value.into())).into();
    let writer = Writer::open(&path, Rotation::default()).unwrap();
    let mut writer = writer.with_attrs(attrs);
    writer.push(Stream::Stdout, b"hi\n").unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let middle = r#""stream":"stdout","attrs":{"FOO":"x y&","tag":"a/b"},"#;
    assert!(text.contains(middle), "{text}");
    let mut entry = all(&path, &Query::default()).remove(0);
    entry.show_details();
    assert_eq!(entry.log, "FOO=x+y%26,tag=a%2Fb hi\n");
}

#[test]
fn packed_files_are_read_as_others() {
    let rotation =
        Rotation { max_size: Some(400), max_file: 4, compress: true };
    let dir = filled(rotation, 40);
    let path = dir.path().join("x-json.log");
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let name = |it: &str| format!("x-json.log{it}");
    let want = ["", ".1.gz", ".2.gz", ".3.gz"].map(name);
    assert_eq!(names, want);
    let lines = texts(&path, &Query::default());
    let first = 40 - lines.len();
    assert!(first < 28, "{first} lines are gone");
    let want: Vec<_> = (first..40).map(|it| format!("line {it}\n")).collect();
    assert_eq!(lines, want);
    let tail = Query { tail: Some(12), ..Query::default() };
    assert_eq!(texts(&path, &tail), want[want.len() - 12..]);
    remove(&path).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
