//! Files and build contexts at a URL.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bollard::models::BuildInfo;
use bollard::query_parameters::*;
use cli_api::testing;
use futures_util::{StreamExt, TryStreamExt};

use super::{Daemon, context, shell};

type Files = &'static [(&'static str, fn() -> Vec<u8>)];

/// A server of these files; where it is.
fn serve(files: Files) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = answer(stream.unwrap(), files);
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, files: Files) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().is_some_and(|it| it.is_ok_and(|it| !it.is_empty())) {}
    let path = request.split(' ').nth(1).unwrap_or_default();
    let found = files.iter().find(|(name, _)| *name == path);
    let (status, body) = match found {
        Some((_, body)) => ("200 OK", body()),
        None => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    write!(stream, "HTTP/1.0 {status}\r\nContent-Length: {length}\r\n\r\n")?;
    stream.write_all(&body)
}

impl Daemon {
    /// The last line of a build from a URL: its error, or what it said.
    async fn build_from(&self, tag: &str, url: &str) -> Result<String, String> {
        let options = BuildImageOptionsBuilder::default()
            .t(tag)
            .remote(url)
            .networkmode("none")
            .build();
        let none = bollard::body_full(Vec::new().into());
        let lines = self.docker.build_image(options, None, Some(none));
        let lines: Result<Vec<BuildInfo>, _> = lines.try_collect().await;
        let lines = lines.map_err(|error| error.to_string())?;
        let text = lines.into_iter().filter_map(|line| line.stream);
        Ok(text.collect())
    }

    /// The command of an image.
    async fn command(&self, image: &str) -> Vec<String> {
        let image = self.docker.inspect_image(image).await.unwrap();
        image.config.unwrap().cmd.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_may_come_from_a_url() {
    let Some(daemon) = Daemon::start("import from a URL") else { return };
    let site = serve(&[("/root.tar", || shell().to_vec())]);
    let from = |path: &str| {
        let options = CreateImageOptionsBuilder::default()
            .from_src(&format!("{site}{path}"))
            .repo("far")
            .tag("1")
            .build();
        daemon.docker.create_image(Some(options), None, None)
    };
    let lines: Vec<_> = from("/root.tar").try_collect().await.unwrap();
    let first = lines[0].status.as_deref().unwrap();
    assert_eq!(first, format!("Downloading from {site}/root.tar"));
    let image = daemon.docker.inspect_image("far:1").await.unwrap();
    let comment = image.comment.unwrap();
    assert_eq!(comment, format!("Imported from {site}/root.tar"));
    let missing = from("/nosuch").collect::<Vec<_>>().await.pop().unwrap();
    let said = missing.unwrap_err().to_string();
    assert!(said.contains(&format!("failed to GET {site}/nosuch")), "{said}");
    assert!(said.contains("404"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_may_come_from_a_url() {
    let Some(daemon) = Daemon::start("build from a URL") else { return };
    let site = serve(&[
        ("/context.tar", || {
            let file = "FROM scratch\nCOPY a /\nCMD [\"tar\"]\n";
            context(&[("Dockerfile", file), ("a", "1")]).to_vec()
        }),
        ("/Dockerfile.far", || b"FROM scratch\nCMD [\"text\"]\n".to_vec()),
    ]);
    for (path, want) in [("/context.tar", "tar"), ("/Dockerfile.far", "text")] {
        daemon.build_from("far:1", &format!("{site}{path}")).await.unwrap();
        assert_eq!(daemon.command("far:1").await, [want], "{path}");
    }
    let missing = format!("{site}/nosuch");
    let said = daemon.build_from("far:1", &missing).await.unwrap_err();
    assert!(said.contains(&format!("failed to GET {missing}")), "{said}");
}

/// A git server for the repository in `dir`; it goes with the value.
struct Repository {
    server: Child,
    dir: tempfile::TempDir,
    url: String,
}

impl Repository {
    fn new(test: &str) -> Option<Repository> {
        let dir = tempfile::tempdir().unwrap();
        let line = r#"
            set -e
            git init --quiet -b main repo.git
            cd repo.git
            commit() {
                mkdir -p sub
                printf 'FROM scratch\nCMD ["top-%s"]\n' $1 >Dockerfile
                printf 'FROM scratch\nCMD ["sub-%s"]\n' $1 >sub/Dockerfile
                git add .
                git -c user.name=a -c user.email=a@b commit --quiet -m $1
            }
            commit 1
            git tag one
            commit 2
        "#;
        let made = Command::new("sh")
            .args(["-c", line])
            .current_dir(dir.path())
            .status();
        if !made.is_ok_and(|it| it.success()) {
            testing::skip(test, "there is no git");
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        // Not by way of `git`, which would start it as a child of its own.
        let programs = Command::new("git").arg("--exec-path").output().unwrap();
        let programs = String::from_utf8(programs.stdout).unwrap();
        let server =
            Command::new(Path::new(programs.trim()).join("git-daemon"))
                .args(["--listen=127.0.0.1", "--export-all"])
                .arg(format!("--port={port}"))
                .arg(format!("--base-path={}", dir.path().display()))
                .stderr(Stdio::null())
                .spawn();
        let Ok(server) = server else {
            testing::skip(test, "git has no daemon");
            return None;
        };
        let url = format!("git://127.0.0.1:{port}/repo.git");
        let repository = Repository { server, dir, url };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "no git daemon");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(repository)
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_may_come_from_a_repository() {
    let test = "build from a repository";
    let Some(daemon) = Daemon::start(test) else { return };
    let Some(repository) = Repository::new(test) else { return };
    let commit = fs::read_to_string(
        repository.path().join("repo.git/.git/refs/tags/one"),
    );
    let commit = commit.unwrap();
    for (fragment, want) in [
        ("", "top-2"),
        ("#main", "top-2"),
        ("#one", "top-1"),
        ("#:sub", "sub-2"),
        ("#one:sub", "sub-1"),
        (&format!("#{}", commit.trim()), "top-1"),
    ] {
        let url = format!("{}{fragment}", repository.url);
        daemon.build_from("git:1", &url).await.unwrap();
        assert_eq!(daemon.command("git:1").await, [want], "{fragment}");
    }
    for (fragment, want) in [
        ("#nosuch", "unable to prepare context: git"),
        ("#:nosuch", "nosuch: there is no such directory in git://"),
        ("#-x", "invalid ref: -x"),
    ] {
        let url = format!("{}{fragment}", repository.url);
        let said = daemon.build_from("git:1", &url).await.unwrap_err();
        assert!(said.contains(want), "{fragment}: {said}");
    }
}
