//! Registries that do not answer well: each mistake has its own sentence,
//! leaves nothing behind, and does not stand in the way of the next pull.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::site::{Answer, Content, Request, Site, error};
use common::*;
use layers::registry::{
    Account, Auth, Progress, PullOptions, RegistryError, pull,
};
use layers::{Error, Result};

/// Pulls from a site that misbehaves: the error, after checking that nothing
/// stays and that the same site, healed, is pulled from.
fn refused(
    site: &Site,
    handler: impl Fn(&Request, &Content) -> Answer + Send + Sync + 'static,
) -> Error {
    refused_with(site, options(), handler)
}

fn refused_with(
    site: &Site,
    options: PullOptions,
    handler: impl Fn(&Request, &Content) -> Answer + Send + Sync + 'static,
) -> Error {
    let (dir, store) = store();
    let before = files(dir.path());
    site.behave(handler);
    let result = pull(&store, &site.reference(), &options, &|_| {});
    let error = result.unwrap_err();
    assert_eq!(files(dir.path()), before, "left by: {error}");
    site.behave_well();
    pull(&store, &site.reference(), &options, &|_| {}).unwrap();
    error
}

fn accepted(
    site: &Site,
    options: PullOptions,
    handler: impl Fn(&Request, &Content) -> Answer + Send + Sync + 'static,
) -> Result<()> {
    let (_dir, store) = store();
    site.behave(handler);
    pull(&store, &site.reference(), &options, &|_| {}).map(drop)
}

fn site() -> Site {
    Site::start(Content::new(|_, _| {}))
}

fn is_blob(request: &Request) -> bool {
    request.path.contains("/blobs/")
}

/// The message with the port taken out.
fn text(site: &Site, error: &Error) -> String {
    error.to_string().replace(&site.port.to_string(), "PORT")
}

#[test]
fn a_token_is_fetched_and_renewed_when_it_has_expired() {
    let site = site();
    let port = site.port;
    let tokens = AtomicUsize::new(0);
    let handler = move |request: &Request, content: &Content| {
        if request.path == "/v2/" {
            return Answer::new(200, "");
        }
        if request.path.starts_with("/token?") {
            assert!(request.path.contains("service=me"));
            assert!(request.path.contains("scope=repository%3Aapp%3Apull"));
            let number = tokens.fetch_add(1, Ordering::Relaxed);
            let body = format!(r#"{{"token":"t{number}"}}"#);
            return Answer::new(200, body);
        }
        // The first token is good for the manifest only.
        let good = match is_blob(request) {
            true => "Bearer t1",
            false => "Bearer t0",
        };
        if request.header("authorization") == good {
            return content.good(request);
        }
        let challenge = format!(
            "Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"me\",\
             scope=\"repository:app:pull\""
        );
        error(401, "UNAUTHORIZED", "authentication required")
            .with("WWW-Authenticate", challenge)
    };
    accepted(&site, options(), handler).unwrap();
}

#[test]
fn name_and_password_are_sent_when_asked_for_and_not_before() {
    let site = site();
    let mut options = options();
    let auth =
        Auth::from_header("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAifQ==");
    options.account = Account::Client(auth);
    let guarded = |request: &Request, content: &Content| {
        if request.header("authorization") == "Basic dTpw" {
            return content.good(request);
        }
        error(401, "UNAUTHORIZED", "authentication required")
            .with("WWW-Authenticate", "Basic realm=\"x\"")
    };
    accepted(&site, options.clone(), guarded).unwrap();
    assert_eq!(site.requests()[0].header("authorization"), "");
    let locked = |request: &Request, content: &Content| {
        if request.path == "/v2/" {
            return content.good(request);
        }
        error(401, "UNAUTHORIZED", "authentication required")
            .with("WWW-Authenticate", "Basic realm=\"x\"")
    };
    let error = refused_with(&site, options, locked);
    insta::assert_snapshot!(text(&site, &error), @"127.0.0.1:PORT: unauthorized: authentication required; log in there first (login 127.0.0.1:PORT)");
    let error = refused(&site, locked);
    insta::assert_snapshot!(text(&site, &error), @"127.0.0.1:PORT: unauthorized: authentication required (no basic auth credentials); log in there first (login 127.0.0.1:PORT)");
}

#[test]
fn refusals_are_told_in_dockers_words() {
    let site = site();
    let say = |status, code: &'static str, words: &'static str| {
        let error = refused(&site, move |request, content| {
            match request.path.contains("/manifests/") {
                true => error(status, code, words),
                false => content.good(request),
            }
        });
        text(&site, &error)
    };
    let all = [
        say(403, "DENIED", "requested access to the resource is denied"),
        say(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        say(429, "TOOMANYREQUESTS", "You have reached your pull rate limit"),
        say(503, "UNAVAILABLE", ""),
        say(418, "", ""),
    ];
    insta::assert_snapshot!(all.join("\n"), @r"
    pull access denied for 127.0.0.1:PORT/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied
    manifest for 127.0.0.1:PORT/app:1 not found: manifest unknown: manifest unknown
    toomanyrequests: You have reached your pull rate limit. Registry 127.0.0.1:PORT limits pulls per address; log in, wait, or use a mirror (--registry-mirror)
    GET http://127.0.0.1:PORT/v2/app/manifests/1: 503: unavailable
    GET http://127.0.0.1:PORT/v2/app/manifests/1: 418: the registry gave no reason
    ");
}

#[test]
fn a_page_of_html_is_not_shown_to_people() {
    let site = site();
    let error = refused(&site, |request, content| match is_blob(request) {
        true => Answer::new(502, "<html><body>Bad Gateway</body></html>"),
        false => content.good(request),
    });
    let text = error.to_string();
    assert!(text.ends_with("got no answer from the registry (bad gateway)"));
}

#[test]
fn what_may_pass_is_tried_again() {
    let site = site();
    for status in [429, 500, 502, 503] {
        let left = AtomicUsize::new(3);
        let handler = move |request: &Request, content: &Content| {
            let again = left.fetch_update(
                Ordering::Relaxed,
                Ordering::Relaxed,
                |left| left.checked_sub(1),
            );
            match (again, request.path.as_str()) {
                (_, "/v2/") => content.good(request),
                (Ok(_), _) => Answer::new(status, "").with("Retry-After", "0"),
                _ => content.good(request),
            }
        };
        accepted(&site, options(), handler).unwrap();
    }
}

#[test]
fn a_server_that_wants_a_second_gets_it() {
    let site = site();
    let asked = std::sync::Mutex::new(Vec::new());
    let handler = move |request: &Request, content: &Content| {
        if !content.is_layer(request) {
            return content.good(request);
        }
        let mut asked = asked.lock().unwrap();
        asked.push(Instant::now());
        match asked[..] {
            [first, .., last] => {
                assert!(last - first >= Duration::from_secs(1));
                content.good(request)
            }
            _ => Answer::new(429, "slow down").with("Retry-After", "1"),
        }
    };
    accepted(&site, options(), handler).unwrap();
}

#[test]
fn a_server_that_wants_an_hour_is_not_waited_for() {
    let site = site();
    let start = std::time::Instant::now();
    let error = refused(&site, |request, content| match is_blob(request) {
        true => Answer::new(429, "slow down").with("Retry-After", "3600"),
        false => content.good(request),
    });
    assert!(start.elapsed().as_secs() < 10);
    let Error::Registry(error) = error else { panic!("{error}") };
    assert!(error.is_outage());
    assert!(error.to_string().starts_with("toomanyrequests: slow down"));
}

#[test]
fn a_blob_that_breaks_is_resumed_where_it_broke() {
    let site = site();
    let handler = |request: &Request, content: &Content| {
        if !content.is_layer(request) {
            return content.good(request);
        }
        let layer = &content.layer;
        let from = request.header("range");
        let from = from.strip_prefix("bytes=").unwrap_or("0-");
        let from: usize = from.trim_end_matches('-').parse().unwrap();
        let status = if from == 0 { 200 } else { 206 };
        let mut answer = Answer::new(status, &layer[from..]);
        // Always a bit more, and then it breaks again.
        answer.cut = Some(100_000);
        let range = format!("bytes {from}-{}/{0}", layer.len());
        answer.with("Content-Range", range)
    };
    accepted(&site, options(), handler).unwrap();
    let requests = site.requests();
    let ranges = requests.iter().filter(|r| !r.header("range").is_empty());
    assert!(ranges.count() >= 2);
}

#[test]
fn a_server_that_knows_no_ranges_is_read_from_the_start_again() {
    let site = site();
    let first = AtomicUsize::new(0);
    let handler = move |request: &Request, content: &Content| {
        let mut answer = content.good(request);
        if content.is_layer(request)
            && first.fetch_add(1, Ordering::Relaxed) == 0
        {
            answer.cut = Some(50_000);
        }
        answer
    };
    accepted(&site, options(), handler).unwrap();
}

#[test]
fn a_range_that_is_another_is_refused() {
    let site = site();
    let error = refused(&site, |request, content| {
        if !content.is_layer(request) {
            return content.good(request);
        }
        let ranged = !request.header("range").is_empty();
        let mut answer = content.good(request);
        if ranged {
            answer.status = 206;
            return answer.with("Content-Range", "bytes 7-8/9");
        }
        answer.cut = Some(50_000);
        answer
    });
    assert!(error.to_string().contains("got Content-Range"), "{error}");
}

#[test]
fn a_blob_that_always_ends_early_or_has_another_length_is_refused() {
    let site = site();
    let size = site.content.layer.len();
    let error = refused(&site, |request, content| {
        let mut answer = content.good(request);
        if content.is_layer(request) {
            answer.body = Vec::new();
            answer.length = Some(content.layer.len());
        }
        answer
    });
    let text = error.to_string();
    let words = format!("{size} bytes promised, 0 received");
    assert!(text.contains(&words), "{text}");
    let error = refused(&site, |request, content| {
        let mut answer = content.good(request);
        if content.is_layer(request) {
            answer.body.push(0);
        }
        answer
    });
    assert!(matches!(error, Error::Length { .. }), "{error}");
}

#[test]
fn other_bytes_than_promised_are_refused_wherever_they_are() {
    let site = site();
    let layer = site.content.manifest.layers[0].digest.clone();
    let config = site.content.manifest.config.digest.clone();
    for digest in [layer, config] {
        let name = digest.to_string();
        let error = refused(&site, move |request, content| {
            let mut answer = content.good(request);
            if request.path.ends_with(&name) {
                let middle = answer.body.len() / 2;
                answer.body[middle] ^= 1;
            }
            answer
        });
        let Error::Mismatch { expected, got, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(expected, digest);
        assert_ne!(got, digest);
    }
}

/// By a tag there is no digest to hold on to but the one that the registry
/// says it means.
#[test]
fn a_manifest_that_is_not_the_one_its_tag_means_is_refused() {
    let site = site();
    let error = refused(&site, |request, content| {
        let mut answer = content.good(request);
        if !request.path.ends_with("/manifests/1") {
            return answer;
        }
        let meant = layers::Digest::of(&answer.body).to_string();
        answer.body.truncate(100);
        answer.with("Docker-Content-Digest", meant)
    });
    let text = text(&site, &error);
    let words = "manifest of 127.0.0.1:PORT/app:1 is corrupted: expected \
         digest sha256:";
    assert!(text.starts_with(words), "{text}");
}

#[test]
fn a_config_that_lies_about_its_layers_is_refused() {
    let lying = Content::new(|_, config| {
        let other = layers::Digest::of(b"other");
        config.rootfs.diff_ids = vec![layers::DiffId(other)];
    });
    let short = Content::new(|_, config| config.rootfs.diff_ids.clear());
    for (content, words) in [
        (lying, "unpacked, is corrupted: expected digest"),
        (short, "it names 0 layers, the manifest 1"),
    ] {
        let site = Site::start(content);
        let (dir, store) = store();
        let before = files(dir.path());
        let reference = site.reference();
        let result = pull(&store, &reference, &options(), &|_| {});
        let text = result.unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
        assert_eq!(files(dir.path()), before);
    }
}

#[test]
fn what_is_no_image_of_ours_is_refused_by_name() {
    let chart = Content::new(|manifest, _| {
        manifest.config.media_type =
            "application/vnd.cncf.helm.config.v1+json".into();
    });
    let foreign = Content::new(|manifest, _| {
        manifest.layers[0].media_type =
            layers::manifest::media::DOCKER_FOREIGN.into();
    });
    for (content, words) in
        [(chart, "helm.config"), (foreign, "foreign layers")]
    {
        let site = Site::start(content);
        let (_dir, store) = store();
        let reference = site.reference();
        let result = pull(&store, &reference, &options(), &|_| {});
        let error = result.unwrap_err();
        let text = error.to_string();
        let kind =
            matches!(error, Error::Registry(RegistryError::Unsupported { .. }));
        assert!(kind && text.contains(words), "{text}");
    }
}

#[test]
fn a_redirected_blob_is_followed_without_our_token() {
    let site = site();
    let store_site = Site::start(Content::new(|_, _| {}));
    let port = store_site.port;
    let mut options = options();
    let auth = Auth { registrytoken: "secret".into(), ..Auth::default() };
    options.account = Account::Client(Some(auth));
    let handler = move |request: &Request, content: &Content| {
        assert_eq!(
            request.header("authorization").is_empty(),
            request.path == "/v2/"
        );
        match content.is_layer(request) {
            true => {
                let path = &request.path;
                let to = format!("http://127.0.0.1:{port}{path}");
                Answer::new(307, "").with("Location", to)
            }
            false => content.good(request),
        }
    };
    accepted(&site, options, handler).unwrap();
    let requests = store_site.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("authorization"), "");
}

#[test]
fn mirrors_are_asked_first_and_passed_over_when_they_fail() {
    let site = site();
    let mut options = options();
    options.config.mirrors = vec![
        format!("http://127.0.0.1:{}", free_port()),
        format!("http://127.0.0.1:{}/hub", site.port),
    ];
    let (_dir, store) = store();
    let lines = std::sync::Mutex::new(Vec::new());
    let report = |p: Progress| lines.lock().unwrap().push(p.status);
    let reference = "app:1".parse().unwrap();
    pull(&store, &reference, &options, &report).unwrap();
    assert_eq!(store.resolve("app:1").unwrap().layers().len(), 1);
    let path = &site.requests()[0].path;
    assert_eq!(path, "/hub/v2/library/app/manifests/1");
    let lines = lines.into_inner().unwrap();
    assert!(lines[0].contains("is passed over"), "{lines:?}");
}

#[test]
fn a_registry_that_is_not_there_is_an_outage() {
    let (_dir, store) = store();
    let reference = format!("127.0.0.1:{}/app", free_port()).parse().unwrap();
    let error = pull(&store, &reference, &options(), &|_| {}).unwrap_err();
    let Error::Registry(error) = error else { panic!("{error}") };
    assert!(error.is_outage());
    let text = error.to_string();
    assert!(text.ends_with("connection refused: nothing listens there"));
}

#[test]
fn a_manifest_without_end_is_not_read_to_its_end() {
    let site = site();
    let error = refused(&site, |request, content| {
        match request.path.contains("/manifests/") {
            true => Answer::new(200, vec![b' '; 5 << 20]),
            false => content.good(request),
        }
    });
    assert!(error.to_string().contains("which no manifest has"), "{error}");
}

#[test]
fn a_pull_from_a_server_that_says_nothing_is_cancelled_within_a_second() {
    for blob in [false, true] {
        let site = site();
        site.behave(move |request, content| {
            let silent = match blob {
                true => content.is_layer(request),
                false => request.path.contains("/manifests/"),
            };
            match silent {
                true => Answer::silence(Duration::from_secs(20)),
                false => content.good(request),
            }
        });
        let (dir, store) = store();
        let before = files(dir.path());
        let options = options();
        let cancel = options.cancel.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            cancel.cancel();
            Instant::now()
        });
        let result = pull(&store, &site.reference(), &options, &|_| {});
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
        let waited = thread.join().unwrap().elapsed();
        assert!(waited < Duration::from_secs(1), "{waited:?}");
        assert_eq!(files(dir.path()), before);
    }
}

/// A socket with as many connections as it takes: for another one there is no
/// answer at all, as behind a firewall that drops what it does not like.
fn full() -> (std::net::TcpListener, Vec<std::net::TcpStream>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let wait = Duration::from_millis(200);
    let connect = || std::net::TcpStream::connect_timeout(&address, wait);
    let queued = std::iter::from_fn(|| connect().ok()).collect();
    (listener, queued)
}

#[test]
fn a_pull_from_a_server_that_never_accepts_is_cancelled_within_a_second() {
    let (listener, _queued) = full();
    let name = format!("{}/a/b:1", listener.local_addr().unwrap());
    let (_dir, store) = store();
    let options = options();
    let cancel = options.cancel.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        cancel.cancel();
        Instant::now()
    });
    let reference = name.parse().unwrap();
    let result = pull(&store, &reference, &options, &|_| {});
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    let waited = thread.join().unwrap().elapsed();
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}
