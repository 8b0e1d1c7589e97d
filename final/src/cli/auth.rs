//! Who we are to registries, told to the daemon with each request: it runs
//! as somebody else and can neither read our `config.json` nor ask our
//! keychain.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use layers::Reference;
use layers::registry::{Auth, ConfigFile};
use serde::Serialize;

use super::context::Global;

/// Our `config.json`. One that is no JSON is as good as none, as with
/// `docker`, which says so and goes on.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn config(global: &Global) -> anyhow::Result<ConfigFile> {
    use layers::registry::CredentialsError::Damaged;
    let Some(dir) = global.config_dir() else {
        return Ok(ConfigFile::default());
    };
    match ConfigFile::load(&dir) {
        Err(Damaged { path, problem }) => {
            warn(&format!("Error parsing config file ({path}): {problem}"));
            Ok(ConfigFile::empty(&dir))
        }
        other => Ok(other?),
    }
}

/// Most images are public, so a keychain that is locked is no reason not to
/// ask for one; but it may be why the answer is no.
pub(crate) fn warn(text: &str) {
    eprintln!("WARNING: {text}");
}

/// The `X-Registry-Auth` header for the registry that `image` is in.
///
/// # Errors
/// If config.json cannot be read.
pub(crate) fn header_for(
    global: &Global,
    image: &Reference,
) -> anyhow::Result<(&'static str, String)> {
    let auth = config(global)?.find(image.domain()).unwrap_or_else(|why| {
        warn(&format!("asking {} without an account: {why}", image.domain()));
        None
    });
    Ok(("x-registry-auth", auth.as_ref().map_or_else(nobody, Auth::to_header)))
}

fn nobody() -> String {
    Auth::default().to_header()
}

/// The `X-Registry-Config` header: all accounts, for a build.
///
/// # Errors
/// If config.json cannot be read.
pub(crate) fn header_for_all(
    global: &Global,
) -> anyhow::Result<(&'static str, String)> {
    let (all, failed) = config(global)?.all();
    for why in failed {
        warn(&format!("going on without an account: {why}"));
    }
    Ok(("x-registry-config", header(&all)?))
}

/// As it goes into a header: base64 with the alphabet for URLs.
fn header<T: Serialize>(value: &T) -> anyhow::Result<String> {
    Ok(URL_SAFE.encode(serde_json::to_vec(value)?))
}
