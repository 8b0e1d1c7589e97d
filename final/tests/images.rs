//! Images, builds and commits over the API, read by a client that nobody
//! here wrote: bollard's types are made from Docker's own description.

mod common;
#[path = "images/push.rs"]
mod push;
#[path = "images/remote.rs"]
mod remote;
#[path = "images/usage.rs"]
mod usage;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bollard::Docker;
use bollard::models::{
    BuildInfo, ChangeType, ContainerConfig, ContainerCreateBody, HostConfig,
};
use bollard::query_parameters::*;
use bytes::Bytes;
use cli_api::testing;
use common::DaemonProcess;
use futures_util::{StreamExt, TryStreamExt};

/// A daemon on a data root of its own; both go with the value.
struct Daemon {
    process: DaemonProcess,
    docker: Docker,
}

impl Daemon {
    /// `None`, and the reason, where it cannot run.
    fn start(test: &str) -> Option<Daemon> {
        if !testing::root_or_skip(test) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        if let Err(error) = overlay_cow::check_host(dir.path()) {
            testing::skip(test, &error.to_string());
            return None;
        }
        let process = DaemonProcess::start(Vec::new());
        let socket = process.socket();
        let path = socket.to_str().unwrap();
        let docker =
            Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION);
        Some(Daemon { process, docker: docker.unwrap() })
    }

    /// An image with a shell in it, under the name `base`.
    async fn base(&self) {
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo("base")
            .tag("latest")
            .changes(["CMD [\"sh\"]", "ENV A=b"].map(str::to_owned).to_vec())
            .build();
        let tar = bollard::body_full(shell());
        let lines: Vec<_> = self
            .docker
            .create_image(Some(options), Some(tar), None)
            .try_collect()
            .await
            .unwrap();
        let last = lines.last().unwrap().status.clone().unwrap();
        assert!(last.starts_with("sha256:"), "{last}");
    }

    /// The lines of a build, and its error if it failed.
    async fn build(&self, tag: &str, files: &[(&str, &str)]) -> Vec<BuildInfo> {
        let options = BuildImageOptionsBuilder::default()
            .t(tag)
            .networkmode("none")
            .build();
        let tar = bollard::body_full(context(files));
        let stream = self.docker.build_image(options, None, Some(tar));
        stream
            .take_while(|line| std::future::ready(line.is_ok()))
            .map(Result::unwrap)
            .collect()
            .await
    }
}

/// A root file system out of the host's shell, a few tools and the libraries
/// that they are linked to.
fn shell() -> Bytes {
    let mut tar = tar::Builder::new(Vec::new());
    let mut seen = Vec::new();
    for program in ["sh", "cat", "touch", "rm", "id"] {
        let path = PathBuf::from("/bin").join(program);
        for file in std::iter::once(path.clone()).chain(libraries(&path)) {
            let name = file.strip_prefix("/").unwrap().to_owned();
            if !seen.contains(&name) {
                let real = fs::canonicalize(&file).unwrap();
                tar.append_path_with_name(real, &name).unwrap();
                seen.push(name);
            }
        }
    }
    for dir in ["tmp/", "etc/", "srv/"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        tar.append_data(&mut header, dir, std::io::empty()).unwrap();
    }
    append(&mut tar, "etc/motd", "hello\n");
    tar.into_inner().unwrap().into()
}

fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_whitespace();
    words.filter(|it| it.starts_with('/')).map(PathBuf::from).collect()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content.as_bytes()).unwrap();
}

fn context(files: &[(&str, &str)]) -> Bytes {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        append(&mut tar, name, content);
    }
    tar.into_inner().unwrap().into()
}

fn text(lines: &[BuildInfo]) -> String {
    lines.iter().filter_map(|line| line.stream.as_deref()).collect()
}

/// A container that is to run `script`; returns its ID.
async fn create(daemon: &Daemon, name: &str, script: &str) -> String {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let words = ["sh", "-c", script].map(str::to_owned).to_vec();
    let body = ContainerCreateBody {
        image: Some("base".to_owned()),
        cmd: Some(words),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let docker = &daemon.docker;
    docker.create_container(Some(options), body).await.unwrap().id
}

/// The same, and it has run.
async fn ran(daemon: &Daemon, name: &str, script: &str) -> String {
    let id = create(daemon, name, script).await;
    let docker = &daemon.docker;
    let none = None::<StartContainerOptions>;
    docker.start_container(name, none).await.unwrap();
    let none = None::<WaitContainerOptions>;
    docker.wait_container(name, none).try_collect::<Vec<_>>().await.unwrap();
    id
}

async fn removed(daemon: &Daemon, container: &str) {
    let force = RemoveContainerOptionsBuilder::default().force(true).build();
    let docker = &daemon.docker;
    docker.remove_container(container, Some(force)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_listed_inspected_tagged_and_removed() {
    let Some(daemon) = Daemon::start("images") else { return };
    daemon.base().await;
    let docker = &daemon.docker;

    let all = docker.list_images(None::<ListImagesOptions>).await.unwrap();
    assert_eq!(all[0].repo_tags, ["base:latest"]);
    assert_eq!((all[0].containers, all[0].shared_size), (-1, -1));

    let image = docker.inspect_image("base").await.unwrap();
    let config = image.config.unwrap();
    assert_eq!(config.env.unwrap(), ["A=b"]);
    assert_eq!(config.cmd.unwrap(), ["sh"]);
    assert_eq!(image.root_fs.unwrap().layers.unwrap().len(), 1);
    assert_eq!(image.id.as_deref(), Some(all[0].id.as_str()));

    let history = docker.image_history("base").await.unwrap();
    assert_eq!(history[0].comment, "Imported from -");
    assert_eq!(history[0].size, all[0].size);

    let tag = TagImageOptionsBuilder::default().repo("a/b").tag("c").build();
    docker.tag_image("base", Some(tag)).await.unwrap();
    let none = None::<RemoveImageOptions>;
    let gone = docker.remove_image("a/b:c", none.clone(), None).await.unwrap();
    assert_eq!(gone[0].untagged.as_deref(), Some("a/b:c"));
    let gone = docker.remove_image("base", none.clone(), None).await.unwrap();
    assert!(gone.iter().any(|line| line.deleted == all[0].id.clone().into()));
    let error = docker.remove_image("base", none, None).await.unwrap_err();
    assert!(error.to_string().contains("No such image: base:latest"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_says_its_steps_and_uses_the_cache_the_second_time() {
    let Some(daemon) = Daemon::start("build") else { return };
    daemon.base().await;
    let file = "FROM base\nARG V=1\nCOPY a /srv/\n\
                RUN cat /srv/a && id >&2 && touch /made\nCMD [\"cat\"]\n";
    let files = [("Dockerfile", file), ("a", "from the context\n")];
    let first = daemon.build("app:1", &files).await;
    let said = text(&first);
    assert!(said.contains("Step 4/5 : RUN cat"), "{said}");
    assert!(said.contains("from the context\n"), "{said}");
    assert!(said.contains("\u{1b}[91muid=0"), "stderr is red: {said}");
    assert!(said.ends_with("Successfully tagged app:1\n"), "{said}");
    assert!(!said.contains("Using cache"), "{said}");
    let mut ids = first.iter().filter_map(|line| line.aux.clone()?.id);
    let id = ids.next_back().unwrap();
    let image = daemon.docker.inspect_image("app:1").await.unwrap();
    assert_eq!(image.id.unwrap(), id);

    let second = text(&daemon.build("app:1", &files).await);
    assert_eq!(second.matches("Using cache").count(), 4, "{second}");
    assert!(!second.contains("Running in"), "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_ends_with_its_reason_and_exit_code() {
    let Some(daemon) = Daemon::start("failed build") else { return };
    daemon.base().await;
    let files = [("Dockerfile", "FROM base\nRUN exit 7\n")];
    let options =
        BuildImageOptionsBuilder::default().networkmode("none").build();
    let tar = bollard::body_full(context(&files));
    let stream = daemon.docker.build_image(options, None, Some(tar));
    let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("returned a non-zero code: 7"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_wrote_is_shown_committed_and_exported() {
    let Some(daemon) = Daemon::start("commit") else { return };
    daemon.base().await;
    let docker = &daemon.docker;
    let script = "cat /etc/motd > /new; rm /etc/motd; touch /tmp/t";
    ran(&daemon, "c1", script).await;

    let changes = docker.container_changes("c1").await.unwrap().unwrap();
    let find = |path: &str| {
        changes.iter().find(|it| it.path == path).map(|it| it.kind)
    };
    assert_eq!(find("/new"), Some(ChangeType::_1));
    assert_eq!(find("/etc/motd"), Some(ChangeType::_2));
    assert_eq!(find("/etc"), Some(ChangeType::_0));
    assert_eq!(find("/proc"), None, "mount points are no changes");

    let options = CommitContainerOptionsBuilder::default()
        .container("c1")
        .repo("committed")
        .tag("1")
        .comment("why")
        .author("who")
        .changes("CMD [\"cat\", \"/new\"]\nLABEL x=y")
        .build();
    let none = ContainerConfig::default();
    let id = docker.commit_container(options, none).await.unwrap().id;
    let image = docker.inspect_image("committed:1").await.unwrap();
    assert_eq!(image.id.unwrap(), id);
    assert_eq!(image.author.unwrap(), "who");
    let config = image.config.unwrap();
    assert_eq!(config.cmd.unwrap(), ["cat", "/new"]);
    assert_eq!(
        config.labels.unwrap(),
        HashMap::from([("x".to_owned(), "y".to_owned())])
    );
    assert_eq!(image.root_fs.unwrap().layers.unwrap().len(), 2);
    let history = docker.image_history("committed:1").await.unwrap();
    assert_eq!(history[0].comment, "why");

    let parts: Vec<Bytes> =
        docker.export_container("c1").try_collect().await.unwrap();
    let names = names(&parts.concat());
    assert!(names.contains(&"new".to_owned()));
    assert!(!names.contains(&"etc/motd".to_owned()));
    removed(&daemon, "c1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_never_ran_can_be_committed() {
    let Some(daemon) = Daemon::start("commit unstarted") else { return };
    daemon.base().await;
    let docker = &daemon.docker;
    create(&daemon, "c1", "id").await;
    assert_eq!(docker.container_changes("c1").await.unwrap(), None);
    let options = CommitContainerOptionsBuilder::default()
        .container("c1")
        .repo("same")
        .build();
    let none = ContainerConfig::default();
    docker.commit_container(options, none).await.unwrap();
    let image = docker.inspect_image("same").await.unwrap();
    assert_eq!(image.config.unwrap().cmd.unwrap(), ["sh", "-c", "id"]);
    removed(&daemon, "c1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_use_stays_until_it_is_forced_away() {
    let Some(daemon) = Daemon::start("in use") else { return };
    daemon.base().await;
    let docker = &daemon.docker;
    let id = ran(&daemon, "c1", "id").await;
    let none = None::<RemoveImageOptions>;
    let error = docker.remove_image("base", none, None).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("409"), "{said}");
    assert!(said.contains(&id[..12]), "{said}");
    let force = RemoveImageOptionsBuilder::default().force(true).build();
    docker.remove_image("base", Some(force), None).await.unwrap();
    // The container has what it needs.
    let none = None::<StartContainerOptions>;
    docker.start_container("c1", none).await.unwrap();
    removed(&daemon, "c1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_go_out_as_a_file_and_come_back() {
    let Some(daemon) = Daemon::start("save") else { return };
    daemon.base().await;
    let docker = &daemon.docker;
    let before = docker.inspect_image("base").await.unwrap().id;
    let parts: Vec<Bytes> =
        docker.export_image("base").try_collect().await.unwrap();
    let none = None::<RemoveImageOptions>;
    docker.remove_image("base", none, None).await.unwrap();
    let options = ImportImageOptionsBuilder::default().build();
    let tar = bollard::body_full(parts.concat().into());
    let lines: Vec<_> =
        docker.import_image(options, tar, None).try_collect().await.unwrap();
    assert_eq!(text(&lines), "Loaded image: base:latest\n");
    assert_eq!(docker.inspect_image("base").await.unwrap().id, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_takes_what_has_no_name_and_says_what_that_frees() {
    let Some(daemon) = Daemon::start("prune") else { return };
    daemon.base().await;
    let docker = &daemon.docker;
    for content in ["1", "2"] {
        let file = [("Dockerfile", "FROM base\nCOPY a /\n"), ("a", content)];
        daemon.build("app", &file).await;
    }
    let none = None::<PruneImagesOptions>;
    let pruned = docker.prune_images(none).await.unwrap();
    let gone = pruned.images_deleted.unwrap();
    assert!(gone.iter().any(|line| line.deleted.is_some()), "{gone:?}");
    // The build cache may want the layer again.
    assert_eq!(pruned.space_reclaimed, Some(0));
    let all = docker.list_images(None::<ListImagesOptions>).await.unwrap();
    assert_eq!(all.len(), 2);
    let filters = HashMap::from([("until", vec!["24h"])]);
    let part = PruneBuildOptionsBuilder::default().filters(&filters).build();
    let pruned = docker.prune_build(Some(part)).await.unwrap();
    assert_eq!(pruned.caches_deleted, Some(vec![]));
    let filters = HashMap::from([("shared", vec!["true"])]);
    let part = PruneBuildOptionsBuilder::default().filters(&filters).build();
    let pruned = docker.prune_build(Some(part)).await.unwrap();
    assert_eq!(pruned.caches_deleted.unwrap().len(), 1, "that of app");
    assert_eq!(pruned.space_reclaimed, Some(0));
    let part = PruneBuildOptionsBuilder::default().reserved_space(1000).build();
    let pruned = docker.prune_build(Some(part)).await.unwrap();
    assert_eq!(pruned.caches_deleted, Some(vec![]));
    let none = None::<PruneBuildOptions>;
    let pruned = docker.prune_build(none).await.unwrap();
    assert!(!pruned.caches_deleted.unwrap().is_empty());
    assert_eq!(pruned.space_reclaimed, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_there_is_an_error_and_not_a_hang() {
    let Some(daemon) = Daemon::start("no registry") else { return };
    let options = CreateImageOptionsBuilder::default()
        .from_image("127.0.0.1:1/a")
        .tag("1")
        .build();
    let pulled = daemon.docker.create_image(Some(options), None, None);
    let error = pulled.try_collect::<Vec<_>>().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:1"), "{text}");
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect()
}
