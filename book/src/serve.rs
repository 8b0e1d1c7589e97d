//! Serving the built book to a browser on this machine.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::render;

/// Builds the book, then serves it until interrupted.
pub(crate) fn serve(root: &Path, address: SocketAddr) -> Result<()> {
    render::build(root)?;
    let dir = root.join("target/book");
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| {
                format!(
                    "listen on {address} (is another copy of the book being \
                     served? choose another with --listen 127.0.0.1:PORT)"
                )
            })?;
        let address = listener.local_addr().context("look at the port")?;
        println!("the book is at http://{address}/ (ctrl-c ends)");
        let app = Router::new().fallback(move |uri: Uri| {
            let dir = dir.clone();
            async move { page(&dir, uri.path()).await }
        });
        axum::serve(listener, app).await.context("serve the book")
    })
}

async fn page(dir: &Path, path: &str) -> Response {
    let Some(file) = resolve(dir, path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match tokio::fs::read(&file).await {
        Ok(bytes) => {
            ([(header::CONTENT_TYPE, media_type(&file))], bytes).into_response()
        }
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The file a request names; `None` if it would climb out of the book.
fn resolve(dir: &Path, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path.trim_start_matches('/'));
    let inside = |part| matches!(part, Component::Normal(_));
    if !relative.components().all(inside) {
        return None;
    }
    let file = dir.join(relative);
    Some(if file.is_dir() { file.join("index.html") } else { file })
}

fn media_type(file: &Path) -> &'static str {
    match file.extension().and_then(|end| end.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_never_leaves_the_book() {
        let dir = Path::new("book");
        assert_eq!(resolve(dir, "/../etc/passwd"), None);
        assert_eq!(resolve(dir, "/a.html"), Some(PathBuf::from("book/a.html")));
    }
}
