//! Headers around payments: what a response may not say, and what caches must know.

use http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, VARY};
use tollway_protocol::header::{
    PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, X_PAYMENT, X_PAYMENT_RESPONSE,
};

use crate::charge::SETTLEMENT_OVERRIDES;

/// Whether a header is for shared caches and outranks `Cache-Control` there; `*-cdn-cache-control` is a CDN's own.
fn is_for_shared_caches(name: &str) -> bool {
    matches!(
        name,
        "cdn-cache-control" | "x-accel-expires" | "edge-control" | "surrogate-control" | "surrogate-key"
    ) || name.ends_with("-cdn-cache-control")
}

/// Takes the payment off a request before its handler, or whatever that forwards to, sees it.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    headers.remove(PAYMENT_SIGNATURE);
    headers.remove(X_PAYMENT);
}

/// Takes off a response what only the gate may say.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    for name in [PAYMENT_REQUIRED, PAYMENT_RESPONSE, X_PAYMENT_RESPONSE, PAYMENT_SIGNATURE, X_PAYMENT] {
        headers.remove(name);
    }
    headers.remove(SETTLEMENT_OVERRIDES);
}

/// Makes a paid route's response private.
pub(crate) fn private(headers: &mut HeaderMap, keep_validators: bool) {
    let policy = cache_policy(headers);
    headers.insert(CACHE_CONTROL, policy);
    let shared: Vec<HeaderName> =
        headers.keys().filter(|name| is_for_shared_caches(name.as_str())).cloned().collect();
    for name in shared {
        headers.remove(name);
    }
    if !keep_validators {
        headers.remove(ETAG);
        headers.remove(LAST_MODIFIED);
    }
    for_clients(headers);
}

/// Makes an answer of the gate's own uncacheable.
pub(crate) fn no_store(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for_clients(headers);
}

/// Lets scripts of other origins read the payment headers, and caches know what responses vary by.
fn for_clients(headers: &mut HeaderMap) {
    headers.append(
        HeaderName::from_static("access-control-expose-headers"),
        HeaderValue::from_static("PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE"),
    );
    headers.append(VARY, HeaderValue::from_static("PAYMENT-SIGNATURE, X-PAYMENT"));
}

/// `private, no-store`, or what the handler says with `private` in place of what lets shared caches
/// keep it.
fn cache_policy(headers: &HeaderMap) -> HeaderValue {
    let mut kept = Vec::new();
    for value in headers.get_all(CACHE_CONTROL) {
        let Ok(text) = value.to_str() else { return HeaderValue::from_static("private, no-store") };
        // A quoted list, as in `private="a, b"`, falls apart here; its pieces are unknown directives, which
        // caches skip.
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            let name = directive.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
            if !matches!(
                name.as_str(),
                "public" | "private" | "s-maxage" | "proxy-revalidate" | "must-understand"
            ) {
                kept.push(directive.to_owned());
            }
        }
    }
    if kept.is_empty() {
        let silent = !headers.contains_key(CACHE_CONTROL);
        return HeaderValue::from_static(if silent { "private, no-store" } else { "private" });
    }
    kept.insert(0, "private".to_owned());
    HeaderValue::from_str(&kept.join(", ")).unwrap_or(HeaderValue::from_static("private, no-store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(value).unwrap());
        }
        private(&mut headers, false);
        assert_eq!(headers.get_all(CACHE_CONTROL).iter().count(), 1);
        headers[CACHE_CONTROL].to_str().unwrap().to_owned()
    }

    #[test]
    fn rs17_a_handlers_cache_policy_loses_what_lets_shared_caches_keep_it() {
        assert_eq!(policy(&[]), "private, no-store");
        assert_eq!(policy(&["public, max-age=60"]), "private, max-age=60");
        assert_eq!(policy(&["PUBLIC", "s-maxage=600"]), "private");
        assert_eq!(policy(&["max-age=5", "immutable"]), "private, max-age=5, immutable");
        assert_eq!(policy(&["private=\"x-a\", max-age=5"]), "private, max-age=5");
        assert_eq!(policy(&["no-store"]), "private, no-store");
    }
}
