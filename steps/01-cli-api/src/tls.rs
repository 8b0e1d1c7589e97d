//! Who may talk to a daemon over a network, proven by certificates.
//!
//! Whoever reaches a daemon is root on its machine. A Unix socket has an
//! owner and a mode for that; a TCP port has nothing. So both sides show a
//! certificate that one authority has signed (mutual TLS): the client then
//! knows that it talks to its daemon, and the daemon that it talks to one of
//! its clients. A daemon's files are `ca.pem`, `cert.pem` and `key.pem`, and
//! so are a client's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, ServerName, UnixTime,
};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};

use crate::Error;

/// A certificate and the key that proves it to be ours.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate; behind it, those between it and the authority.
    pub cert: PathBuf,
    /// The private key, not encrypted.
    pub key: PathBuf,
}

/// What a daemon shows, and whom it lets in: with `clients`, only those
/// whose certificate was signed by that authority; without, everybody.
///
/// # Errors
/// [`Error::Tls`] that names the file.
pub fn daemon(
    own: &Pair,
    clients: Option<&Path>,
) -> Result<Arc<ServerConfig>, Error> {
    let (chain, key) = load(own)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|cause| mismatch(own, &cause))?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authority(path)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|it| unreadable("CA certificate", path, it))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder
        .with_single_cert(chain, key)
        .map(Arc::new)
        .map_err(|cause| mismatch(own, &cause))
}

/// What a client shows, if it has something, and whom it believes: with
/// `daemons`, a daemon whose certificate was signed by that authority for
/// the name in the address; without, whoever answers.
///
/// # Errors
/// [`Error::Tls`] that names the file.
pub fn client(
    own: Option<&Pair>,
    daemons: Option<&Path>,
) -> Result<Arc<ClientConfig>, Error> {
    let failed = |cause: rustls::Error| Error::Tls(cause.to_string());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = match daemons {
        Some(path) => builder.with_root_certificates(authority(path)?),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider()))),
    };
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let (chain, key) = load(own)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|cause| mismatch(own, &cause))?
        }
    };
    Ok(Arc::new(config))
}

/// Named, because rustls would otherwise choose by the features of the whole
/// program, and panics where they leave a choice.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn authority(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let bad = |cause: String| unreadable("CA certificate", path, cause);
    for certificate in CertificateDer::pem_file_iter(path)
        .map_err(|cause| bad(cause.to_string()))?
    {
        let certificate = certificate.map_err(|it| bad(it.to_string()))?;
        roots.add(certificate).map_err(|it| bad(it.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn load(own: &Pair) -> Result<Identity, Error> {
    let chain = CertificateDer::pem_file_iter(&own.cert)
        .and_then(Iterator::collect)
        .map_err(|cause| unreadable("certificate", &own.cert, cause))?;
    let key = PrivateKeyDer::from_pem_file(&own.key)
        .map_err(|cause| unreadable("key", &own.key, cause))?;
    Ok((chain, key))
}

fn unreadable(what: &str, path: &Path, cause: impl std::fmt::Display) -> Error {
    let path = path.display();
    Error::Tls(format!("could not read {what} \"{path}\": {cause}"))
}

/// Docker's words.
fn mismatch(own: &Pair, cause: &rustls::Error) -> Error {
    Error::Tls(format!(
        "could not load X509 key pair (cert: \"{}\", key: \"{}\"): {cause}",
        own.cert.display(),
        own.key.display()
    ))
}

/// Believes whoever answers, as `docker --tls` does: what is said cannot be
/// overheard, but nobody knows who listens.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
