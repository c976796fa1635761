//! The stylesheet, modules and icons, embedded in the binary.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../static"]
struct Static;

/// The file at `path`, with its hash as `ETag`; 304 to whoever has it.
pub fn serve(path: &str, headers: &HeaderMap) -> Response {
    let Some(file) = Static::get(path) else { return StatusCode::NOT_FOUND.into_response() };
    let hash = portolan_scanner::wire::hex::encode(&file.metadata.sha256_hash());
    let etag = format!("\"{}\"", &hash[..32]);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let common = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, "public, max-age=300".to_owned())];
    if known.is_some_and(|known| known.contains(&etag)) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(header::CONTENT_TYPE, media(path))], file.data.into_owned()).into_response()
}

fn media(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}
