//! Pushes to a registry that breaks, forgets and sends us elsewhere.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::site::{Answer, Content, Request, Site, error};
use common::*;
use layers::registry::{Account, PullOptions, push};
use layers::{Digest, Error};

/// What a registry keeps of uploads.
#[derive(Default)]
struct Uploads {
    /// Bytes of the upload under way.
    now: Vec<u8>,
    /// What was closed with the right digest.
    kept: Vec<Vec<u8>>,
    begun: usize,
    /// Ranges of the pieces that came.
    ranges: Vec<String>,
}

impl Uploads {
    /// A registry that behaves.
    fn answer(&mut self, request: &Request) -> Answer {
        let (path, query) =
            request.path.split_once('?').unwrap_or((&request.path, ""));
        match request.method.as_str() {
            "HEAD" => error(404, "BLOB_UNKNOWN", "blob unknown"),
            "POST" => {
                self.begun += 1;
                self.now.clear();
                let to = format!("uploads/{}?state=0", self.begun);
                Answer::new(202, "").with("Location", to)
            }
            "PATCH" => {
                self.ranges.push(request.header("content-range").to_owned());
                self.now.extend(&request.body);
                self.state(202)
            }
            "GET" if path.contains("/uploads/") => self.state(204),
            "PUT" if path.contains("/uploads/") => {
                assert!(query.contains("state="), "{query}");
                let digest = Digest::of(&self.now).to_string();
                assert!(query.ends_with(&format!("digest={digest}")));
                self.kept.push(std::mem::take(&mut self.now));
                Answer::new(201, "")
            }
            "PUT" => Answer::new(201, ""),
            _ => Answer::new(200, "{}"),
        }
    }

    fn state(&self, status: u16) -> Answer {
        let end = self.now.len().saturating_sub(1);
        let to = format!("/v2/app/blobs/uploads/{}?state={end}", self.begun);
        Answer::new(status, "")
            .with("Location", to)
            .with("Range", format!("0-{end}"))
    }
}

/// Pushes an image with a large layer in pieces of 100,000 bytes.
fn pushed(
    site: &Site,
    handler: impl Fn(&Request, &mut Uploads) -> Answer + Send + Sync + 'static,
) -> Result<Uploads, Error> {
    let (_dir, store) = store();
    let name = site.reference();
    image(
        &store,
        &name.to_string(),
        &host(),
        &[tar(&[("big", &noise(300_000, 3))])],
    );
    let uploads = Arc::new(Mutex::new(Uploads::default()));
    let ours = Arc::clone(&uploads);
    site.behave(move |request, _| handler(request, &mut ours.lock().unwrap()));
    let options = PullOptions { piece: 100_000, concurrent: 1, ..options() };
    push(&store, &name, &options, &|_| {})?;
    site.behave_well();
    Ok(Arc::into_inner(uploads).unwrap().into_inner().unwrap())
}

fn site() -> Site {
    Site::start(Content::new(|_, _| {}))
}

#[test]
fn a_large_blob_goes_in_pieces_and_a_small_one_whole() {
    let site = site();
    let uploads = pushed(&site, |request, uploads| uploads.answer(request));
    let uploads = uploads.unwrap();
    let sizes: Vec<_> = uploads.kept.iter().map(Vec::len).collect();
    let [layer, config] = sizes[..] else { panic!("{sizes:?}") };
    assert!(layer > 200_000 && config < 1_000, "{sizes:?}");
    let last = format!("200000-{}", layer - 1);
    let pieces = ["0-99999", "100000-199999", &last, ""];
    assert_eq!(uploads.ranges, pieces);
}

#[test]
fn a_piece_that_breaks_goes_on_where_it_broke() {
    let site = site();
    let broken = Mutex::new(0);
    let uploads = pushed(&site, move |request, uploads| {
        let mut broken = broken.lock().unwrap();
        if request.method == "PATCH" && *broken < 6 {
            *broken += 1;
            let half = &request.body[..request.body.len() / 2];
            uploads.now.extend(half);
            return Answer::silence(Duration::ZERO);
        }
        uploads.answer(request)
    });
    let uploads = uploads.unwrap();
    assert_eq!((uploads.kept.len(), uploads.begun), (2, 2));
    // 50,000 + 50,000 + … came in the broken ones, and are not sent again.
    assert!(!uploads.ranges.contains(&"0-99999".to_owned()));
}

#[test]
fn an_upload_that_was_forgotten_is_begun_anew() {
    let site = site();
    let forgotten = Mutex::new(false);
    let uploads = pushed(&site, move |request, uploads| {
        let mut forgotten = forgotten.lock().unwrap();
        let second = uploads.now.len() == 100_000;
        if request.method == "PATCH" && second && !*forgotten {
            *forgotten = true;
            uploads.now.clear();
        }
        if *forgotten && request.path.contains("uploads/1") {
            return error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown");
        }
        uploads.answer(request)
    });
    let uploads = uploads.unwrap();
    assert_eq!((uploads.kept.len(), uploads.begun), (2, 3));
}

#[test]
fn an_upload_that_never_moves_is_given_up() {
    let site = site();
    let result = pushed(&site, |request, uploads| {
        if request.method != "PATCH" {
            return uploads.answer(request);
        }
        Answer::silence(Duration::ZERO)
    });
    let text = result.err().unwrap().to_string();
    assert!(text.starts_with("cannot reach registry"), "{text}");
    let result =
        pushed(&site, |request, uploads| match request.method.as_str() {
            "PATCH" => uploads.state(202),
            _ => uploads.answer(request),
        });
    let text = result.err().unwrap().to_string();
    assert!(text.contains("does not get beyond 0 of"), "{text}");
}

#[test]
fn an_upload_is_sent_elsewhere_without_our_token() {
    let (site, elsewhere) = (site(), site());
    let there = Arc::new(Mutex::new(Uploads::default()));
    let theirs = Arc::clone(&there);
    elsewhere.behave(move |request, _| theirs.lock().unwrap().answer(request));
    let port = elsewhere.port;
    let (_dir, store) = store();
    let name = site.reference();
    image(&store, &name.to_string(), &host(), &[tar(&[("a", "b")])]);
    site.behave(move |request, _| match request.path.contains("/uploads/") {
        true => {
            let to = format!("http://127.0.0.1:{port}{}", request.path);
            Answer::new(307, "").with("Location", to)
        }
        false => Uploads::default().answer(request),
    });
    let mut options = options();
    let token = layers::registry::Auth {
        registrytoken: "secret".into(),
        ..Default::default()
    };
    options.account = Account::Client(Some(token));
    push(&store, &name, &options, &|_| {}).unwrap();
    assert_eq!(there.lock().unwrap().kept.len(), 2);
    let secret = |r: &&Request| r.header("authorization") == "Bearer secret";
    assert_eq!(elsewhere.requests().iter().find(secret).map(|_| ()), None);
    assert!(site.requests().iter().any(|r| secret(&r)));
}

#[test]
fn an_answer_that_was_lost_after_the_blob_was_kept_is_no_failure() {
    let site = site();
    let uploads = pushed(&site, move |request, uploads| {
        let closes = request.method == "PUT" && request.path.contains("digest");
        if closes && !uploads.now.is_empty() {
            uploads.answer(request);
            return Answer::silence(Duration::ZERO);
        }
        if closes {
            return error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown");
        }
        let known = uploads
            .kept
            .iter()
            .any(|bytes| request.path.ends_with(Digest::of(bytes).as_str()));
        match request.method == "HEAD" && known {
            true => Answer::new(200, ""),
            false => uploads.answer(request),
        }
    });
    assert_eq!(uploads.unwrap().kept.len(), 2);
}

#[test]
fn a_real_registry_takes_pieces_too() {
    let Some(registry) = Registry::start("upload in pieces") else { return };
    let (_a, ours) = store();
    let name = registry.name("team/app:1");
    let layers = [tar(&[("big", &noise(3 << 20, 1))])];
    let id = image(&ours, &name, &host(), &layers);
    let reference = registry.reference("team/app:1");
    let options = PullOptions { piece: 500_000, ..options() };
    push(&ours, &reference, &options, &|_| {}).unwrap();
    let (_b, theirs) = store();
    let pulled = layers::registry::pull(&theirs, &reference, &options, &|_| {});
    assert_eq!(pulled.unwrap().image, id);
}

#[test]
fn a_line_that_breaks_in_a_push_to_a_real_registry_is_no_failure() {
    let Some(registry) = Registry::start("broken line") else { return };
    let line = line::Line::to(registry.port, 400_000, 3);
    let (_a, ours) = store();
    let name = format!("127.0.0.1:{}/app:1", line.port);
    let layers = [tar(&[("big", &noise(3 << 20, 1))])];
    let id = image(&ours, &name, &host(), &layers);
    let options = PullOptions { concurrent: 1, ..options() };
    push(&ours, &name.parse().unwrap(), &options, &|_| {}).unwrap();
    // This registry forgets an upload that breaks, so it is begun anew.
    assert_eq!(line.broken(), 3);
    let (_b, theirs) = store();
    let reference = registry.reference("app:1");
    let pulled = layers::registry::pull(&theirs, &reference, &options, &|_| {});
    assert_eq!(pulled.unwrap().image, id);
}
