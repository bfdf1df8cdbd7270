//! The API as an OpenAPI 3.1 document.

use axum::response::{IntoResponse as _, Response};
use http::header;

const DOCUMENT: &str = include_str!("openapi.json");

/// The document, as `GET /openapi.json` serves it.
#[must_use]
pub const fn document() -> &'static str {
    DOCUMENT
}

pub(super) async fn serve() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
