//! Broken tars and broken or exploding compression.

use super::*;
use crate::apply::unpack as unpack_stream;

#[test]
fn damage() {
    let sparse = |records: &[(&str, &[u8])], content: &[u8]| {
        tar().pax(records).sized(Head::new(b'0', "f"), content)
    };
    let modern: [(&str, &[u8]); 2] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"99")];
    let old: [(&str, &[u8]); 1] = [("GNU.sparse.size", b"10")];
    let with = |map: &'static [u8]| [old[0], ("GNU.sparse.map", map)];
    let pax = |data: &'static [u8]| {
        tar().sized(Head::new(b'x', "pax"), data).file("f", "")
    };
    let block = |text: &str| {
        let mut block = text.as_bytes().to_vec();
        block.resize(512, 0);
        block
    };
    run(&[
        ("noise", &|_| tar().bytes(&[7; 2048]), Refused("checksum")),
        ("text", &|_| tar().bytes(&[b'a'; 512]), Refused("checksum")),
        ("pax length", &|_| pax(b"99 a=b\n"), Refused("bad length")),
        ("pax length 0", &|_| pax(b"0 a=b\n"), Refused("bad length")),
        ("pax without =", &|_| pax(b"5 ab\n"), Refused("without =")),
        (
            "pax NUL in path",
            &|_| tar().pax(&[("path", b"a\0b")]).file("f", ""),
            Refused("NUL"),
        ),
        (
            "pax uid",
            &|_| tar().pax(&[("uid", b"+1")]).file("f", ""),
            Refused("no number"),
        ),
        (
            "pax mtime",
            &|_| tar().pax(&[("mtime", b"1.x")]).file("f", ""),
            Refused("no time"),
        ),
        (
            "sparse overlap",
            &|_| sparse(&with(b"4,4,0,4"), b"12345678"),
            Refused("overlap"),
        ),
        (
            "sparse past the end",
            &|_| sparse(&with(b"8,4"), b"1234"),
            Refused("past the file's end"),
        ),
        (
            "sparse overflow",
            &|_| sparse(&with(b"18446744073709551615,4"), b"1234"),
            Refused("past the file's end"),
        ),
        ("sparse odd", &|_| sparse(&with(b"1"), b""), Refused("odd length")),
        (
            "sparse too little",
            &|_| sparse(&with(b"0,4"), b"12"),
            Refused("does not fit"),
        ),
        (
            "sparse endless",
            &|_| sparse(&modern, &block("3\n0\n1\n")),
            Refused("no end"),
        ),
        (
            "sparse count",
            &|_| sparse(&modern, &block("99999999\n0\n1\n")),
            Refused("without end"),
        ),
        (
            "sparse text",
            &|_| sparse(&modern, &block("x\n")),
            Refused("sparse map with"),
        ),
    ]);
}

#[test]
fn a_decompression_bomb_is_stopped_at_the_limit() {
    let scene = Scene::new();
    let size = 64 << 20;
    let bomb = tar().sized(Head::new(b'0', "f"), &vec![0; size]).end();
    let limits = Limits { ratio: 100, ratio_from: 1 << 20, ..LIMITS };
    let options = Options { limits, ..Options::for_this_user() };
    let mut gzip =
        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, &bomb).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&bomb[..], 3).unwrap();
    for stream in [gzip, zstd] {
        let layer = scene.layer();
        let result = unpack_stream(&stream[..], &layer, None, &options);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("decompression bomb"), "{error}");
        let written = fs::metadata(layer.join("f")).map_or(0, |m| m.len());
        assert!(written < size as u64 / 2, "{written}");
    }
}

#[test]
fn a_damaged_stream_is_an_error_and_not_a_short_layer() {
    let scene = Scene::new();
    let options = Options::for_this_user();
    let tar = tar().file("f", &"content ".repeat(10_000)).end();
    let mut gzip =
        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    let whole = gzip.finish().unwrap();
    let unpack =
        |stream: &[u8]| unpack_stream(stream, &scene.layer(), None, &options);
    unpack(&whole).unwrap();
    for cut in [3, 20, whole.len() / 2, whole.len() - 1] {
        let error = unpack(&whole[..cut]).unwrap_err().to_string();
        assert!(error.contains("cannot read the tar"), "{cut}: {error}");
    }
    let mut bent = whole.clone();
    let middle = bent.len() / 2;
    bent[middle] ^= 0x55;
    assert!(unpack(&bent).is_err());
}
