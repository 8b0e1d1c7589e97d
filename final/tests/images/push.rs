//! `build --push`, to Debian's registry.

use std::fs;
use std::process::Command;

use bollard::query_parameters::*;
use futures_util::TryStreamExt;

use super::Daemon;

#[path = "../../../steps/04-layers/tests/common/mod.rs"]
mod registry;

use registry::Registry;

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_pushed_by_each_form_of_the_flag() {
    let test = "build --push";
    let Some(daemon) = Daemon::start(test) else { return };
    let Some(registry) = Registry::start(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = "FROM scratch\nCOPY a /\nCMD [\"pushed\"]\n";
    fs::write(dir.path().join("Dockerfile"), file).unwrap();
    fs::write(dir.path().join("a"), "1").unwrap();
    let name = |tag: &str| registry.name(&format!("app:{tag}"));
    let output = format!("type=image,name={},push=true", name("3"));
    for (tag, flags) in [
        ("1", vec!["-t", &name("1"), "--push"]),
        ("2", vec!["-t", &name("2"), "-o", "type=registry"]),
        ("3", vec!["-o", &output]),
    ] {
        let socket = daemon.process.socket();
        let done = Command::new(env!("CARGO_BIN_EXE_skiff"))
            .arg(format!("--host=unix://{}", socket.display()))
            .arg("build")
            .args(&flags)
            .arg(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{flags:?}: {done:?}");
        assert!(said.contains(&format!("{tag}: digest: sha256:")), "{said}");
    }
    let docker = &daemon.docker;
    for tag in ["1", "2", "3"] {
        let none = None::<RemoveImageOptions>;
        docker.remove_image(&name(tag), none, None).await.unwrap();
        let options =
            CreateImageOptionsBuilder::default().from_image(&name(tag)).build();
        let pulled = docker.create_image(Some(options), None, None);
        pulled.try_collect::<Vec<_>>().await.unwrap();
        let image = docker.inspect_image(&name(tag)).await.unwrap();
        assert_eq!(image.config.unwrap().cmd.unwrap(), ["pushed"], "{tag}");
    }
}
