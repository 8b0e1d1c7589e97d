//! A real registry (Debian's `docker-registry`) on a loopback port, images
//! to put there, and the tools of others to compare with.

#![allow(dead_code, unreachable_pub)]

pub mod line;
pub mod site;

use std::fs;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use layers::registry::{PullOptions, RegistryConfig};
use layers::store::{NewImage, Store};
use layers::{ImageConfig, ImageId, Platform, Reference};

/// The registry; stopped when dropped.
pub struct Registry {
    child: Child,
    pub dir: tempfile::TempDir,
    pub port: u16,
}

impl Registry {
    /// `None` when the program is not installed; that is said.
    pub fn start(test: &str) -> Option<Registry> {
        Registry::start_with(test, "")
    }

    /// With a certificate that it has signed itself.
    pub fn start_tls(test: &str) -> Option<Registry> {
        Registry::start_keys(test, &Keys::make(test, "registry")?, "")
    }

    /// With this one; `more` goes into the `tls` section.
    pub fn start_keys(test: &str, keys: &Keys, more: &str) -> Option<Registry> {
        let Keys { key, certificate, .. } = keys;
        let tls = format!(
            "  tls:\n    certificate: {certificate}\n    key: {key}\n{more}"
        );
        Registry::start_with(test, &tls)
    }

    fn start_with(test: &str, more: &str) -> Option<Registry> {
        let program = "/usr/bin/docker-registry";
        if !Path::new(program).exists() {
            cli_api::testing::skip(test, "docker-registry is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let file = configured(dir.path(), &address, more);
        let child = Command::new(program)
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Registry { child, dir, port };
        registry.wait();
        Some(registry)
    }

    /// Writes how to serve the same images at another address.
    pub fn also_at(&self, address: &str) -> PathBuf {
        configured(self.dir.path(), address, "")
    }

    fn wait(&self) {
        let start = Instant::now();
        // Under emulation it takes its time.
        while start.elapsed() < Duration::from_secs(60) {
            if self.answers() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("docker-registry does not answer");
    }

    /// A connection alone proves nothing: on loopback, one to a port where
    /// nobody listens may by chance be given that port itself, and succeed.
    fn answers(&self) -> bool {
        use std::io::{Read, Write};
        let address = ("127.0.0.1", self.port);
        let Ok(mut stream) = std::net::TcpStream::connect(address) else {
            return false;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let mut reply = [0; 4];
        stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_exact(&mut reply).is_ok()
            && &reply == b"HTTP"
    }

    pub fn name(&self, repository: &str) -> String {
        format!("127.0.0.1:{}/{repository}", self.port)
    }

    pub fn reference(&self, repository: &str) -> Reference {
        self.name(repository).parse().unwrap()
    }

    /// Where the registry keeps a blob.
    pub fn blob_file(&self, hex: &str) -> PathBuf {
        let blobs = "data/docker/registry/v2/blobs/sha256";
        self.dir.path().join(blobs).join(&hex[..2]).join(hex).join("data")
    }
}

fn configured(dir: &Path, address: &str, more: &str) -> PathBuf {
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage:\n  \
         delete: {{enabled: true}}\n  filesystem:\n    \
         rootdirectory: {}\nhttp:\n  addr: {address}\n{more}",
        dir.join("data").display()
    );
    let file = dir.join(format!("{address}.yml"));
    fs::write(&file, config).unwrap();
    file
}

/// A certificate that vouches for itself.
pub struct Keys {
    _dir: tempfile::TempDir,
    pub key: String,
    pub certificate: String,
}

impl Keys {
    /// For a host name; `None` without openssl.
    pub fn make(test: &str, name: &str) -> Option<Keys> {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (key, certificate) = (path("key"), path("certificate"));
        let (subject, names) =
            (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
        // An authority's own certificate is nobody's who serves.
        let leaf = "basicConstraints=critical,CA:FALSE";
        let arguments = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &subject,
            "-addext",
            &names,
            "-addext",
            leaf,
            "-keyout",
            &key,
            "-out",
            &certificate,
        ];
        run(test, "openssl", &arguments)?;
        Some(Keys { _dir: dir, key, certificate })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A store of its own.
pub fn store() -> (tempfile::TempDir, Arc<Store>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    (dir, store)
}

/// Without credentials from the machine, and quick to try again.
pub fn options() -> PullOptions {
    PullOptions {
        pause: Duration::from_millis(1),
        config: RegistryConfig {
            docker_config: Some("/nonexistent".into()),
            ..RegistryConfig::default()
        },
        ..PullOptions::default()
    }
}

/// A tar with these files.
pub fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// An image whose layers are these tars, lowest first.
pub fn image(
    store: &Store,
    name: &str,
    platform: &str,
    layers: &[Vec<u8>],
) -> ImageId {
    let lease = store.lease().unwrap();
    let mut config = ImageConfig::scratch(&platform.parse().unwrap());
    config.config.cmd = Some(vec!["/hello".into()]);
    for tar in layers {
        let layer = store.add_layer(&lease, &tar[..], true).unwrap();
        config.rootfs.diff_ids.push(layer.diff_id);
    }
    let bytes = config.to_bytes();
    let id = store.put_image(&lease, &bytes, NewImage::default()).unwrap();
    store.tag(&name.parse().unwrap(), &id).unwrap();
    id
}

/// An OCI layout with one image named `both`, for amd64 and for arm64.
pub fn two_platforms(dir: &Path) -> [ImageId; 2] {
    let (_store, ours) = store();
    let platforms = ["linux/amd64", "linux/arm64/v8"];
    let names = ["app:amd64", "app:arm64"];
    let ids = [0, 1].map(|n| {
        let layer = tar(&[("arch", platforms[n])]);
        image(&ours, names[n], platforms[n], &[layer])
    });
    layers::archive::save_dir(&ours, &names, dir).unwrap();
    wrap_in_index(dir);
    ids
}

/// Makes a layout's two images one multi-platform image named `both`.
fn wrap_in_index(dir: &Path) {
    let path = dir.join("index.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut inner: serde_json::Value = serde_json::from_str(&text).unwrap();
    for entry in inner["manifests"].as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().remove("annotations");
    }
    let bytes = serde_json::to_vec(&inner).unwrap();
    let digest = layers::Digest::of(&bytes);
    let blob = dir.join("blobs/sha256").join(digest.hex());
    fs::write(blob, &bytes).unwrap();
    let outer = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": layers::manifest::media::OCI_INDEX,
            "digest": digest,
            "size": bytes.len(),
            "annotations": {"org.opencontainers.image.ref.name": "both"},
        }],
    });
    fs::write(path, outer.to_string()).unwrap();
}

pub fn host() -> String {
    Platform::host().to_string()
}

/// Bytes that do not compress away.
pub fn noise(length: usize, mut seed: u64) -> String {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
        text.push(char::from(b'!' + (seed >> 33) as u8 % 90));
    }
    text
}

/// Runs a program of somebody else; `None` when it is not installed.
pub fn run(test: &str, program: &str, arguments: &[&str]) -> Option<String> {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(child) = spawned else {
        cli_api::testing::skip(test, &format!("{program} is not installed"));
        return None;
    };
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Everything below a directory, as relative paths; for "nothing is left".
pub fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let inner = path.strip_prefix(dir).unwrap();
            found.push(inner.display().to_string());
            if path.is_dir() && !path.is_symlink() {
                todo.push(path);
            }
        }
    }
    found.sort();
    found
}
