//! Whose certificates are believed, and which is ours.
//!
//! Docker's directory for a registry, `/etc/docker/certs.d/HOST:PORT/`:
//!
//! | file | what it is |
//! |---|---|
//! | `*.crt` | authorities trusted for this registry |
//! | `NAME.cert`, `NAME.key` | who we are, for one that wants to know |

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ureq::tls::{
    Certificate, ClientCert, PemItem, PrivateKey, RootCerts, parse_pem,
};

use super::RegistryError;

/// The authorities for a registry: its own ones as well as the system's.
pub(super) fn roots(dir: &Path) -> RootCerts {
    let files = files(dir, "crt");
    let own: Vec<_> = files.iter().flat_map(|f| certificates(f)).collect();
    match (own.is_empty(), system_roots()) {
        (true, []) => RootCerts::WebPki,
        (_, system) => RootCerts::from(system.iter().cloned().chain(own)),
    }
}

/// Our own certificate for a registry, if there is one.
///
/// Half of a pair is an error, as in Docker: without the certificate the
/// registry would refuse us in words that say nothing of the missing file.
pub(super) fn client(
    dir: &Path,
    host: &str,
) -> Result<Option<ClientCert>, RegistryError> {
    let fail = |path: &Path, problem: &str| RegistryError::Credentials {
        host: host.to_owned(),
        problem: format!("{}: {problem}", path.display()),
    };
    if let [key, ..] = files(dir, "key").as_slice()
        && !key.with_extension("cert").exists()
    {
        return Err(fail(key, "a key without its NAME.cert beside it"));
    }
    let Some(file) = files(dir, "cert").into_iter().next() else {
        return Ok(None);
    };
    let key_file = file.with_extension("key");
    let pem = std::fs::read(&key_file)
        .map_err(|e| fail(&key_file, &format!("cannot read it: {e}")))?;
    let key = PrivateKey::from_pem(&pem)
        .map_err(|e| fail(&key_file, &e.to_string()))?;
    let chain = certificates(&file);
    match chain.is_empty() {
        true => Err(fail(&file, "no certificate in it")),
        false => Ok(Some(ClientCert::new_with_certs(&chain, key))),
    }
}

/// The files of a directory with this extension, by name. A directory that
/// is not there has none.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    found.sort();
    found
}

/// What `$SSL_CERT_FILE` or this system's bundle trusts: private authorities
/// are there, and not in a list that is compiled in.
fn system_roots() -> &'static [Certificate<'static>] {
    static ROOTS: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let given = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let usual = [
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/tls/certs/ca-bundle.crt",
            "/etc/ssl/ca-bundle.pem",
        ];
        let files = given.into_iter().chain(usual.map(PathBuf::from));
        let found = files.map(|file| certificates(&file));
        found.into_iter().find(|certs| !certs.is_empty()).unwrap_or_default()
    })
}

/// A file that is not there or holds no certificate gives none; what is then
/// not trusted is said when it is met.
fn certificates(file: &Path) -> Vec<Certificate<'static>> {
    let pem = std::fs::read(file).unwrap_or_default();
    let items = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    items.collect()
}
