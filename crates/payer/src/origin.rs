//! Who is asked: origins, and the comparison of what a seller names with what was requested.

use sha2::{Digest, Sha256};
use url::Url;

/// Scheme, host and port, as `https://example.com` or `https://example.com:8443`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    text: String,
    host: String,
    https: bool,
    loopback: bool,
}

impl Origin {
    /// The origin of a URL.
    #[must_use]
    pub fn of(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let mut text = format!("{}://{host}", url.scheme());
        if let Some(port) = url.port() {
            text.push(':');
            text.push_str(&port.to_string());
        }
        let loopback = match url.host() {
            // Names below it may be anybody's: not every resolver keeps them at home.
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        let loopback = loopback && url.scheme() == "http";
        Self { text, host, https: url.scheme() == "https", loopback }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether nobody on the way can read or change what is sent: https, or a loopback host.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.https || self.loopback
    }

    /// Whether it is plain http to this computer, which is safe only if it goes there directly.
    pub(crate) fn is_plain_loopback(&self) -> bool {
        self.loopback
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is bought: the request that a payment is for. Two requests with the same method, URL and
/// body are the same purchase.
#[derive(Clone, PartialEq, Eq)]
pub struct Purchase {
    method: String,
    url: Url,
    origin: Origin,
    body_sha256: String,
}

impl Purchase {
    /// A request. Credentials and fragment of the URL are dropped.
    ///
    /// ```
    /// use tollway_payer::Purchase;
    /// let url = url::Url::parse("https://user:secret@example.com/data?q=1#top")?;
    /// let purchase = Purchase::new("GET", &url, b"");
    /// assert_eq!(purchase.url().as_str(), "https://example.com/data?q=1");
    /// # Ok::<(), url::ParseError>(())
    /// ```
    #[must_use]
    pub fn new(method: &str, url: &Url, body: &[u8]) -> Self {
        Self {
            method: method.to_owned(),
            url: without_credentials(url),
            origin: Origin::of(url),
            body_sha256: hex::encode(Sha256::digest(body)),
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The URL, without credentials and fragment.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The URL's origin.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The SHA-256 of the body, in hex.
    #[must_use]
    pub fn body_sha256(&self) -> &str {
        &self.body_sha256
    }

    /// What names this purchase in the journal: 32 hex digits.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.method, self.url.as_str(), &self.body_sha256] {
            hash.update(part.len().to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut text = hex::encode(hash.finalize());
        text.truncate(32);
        text
    }
}

impl std::fmt::Debug for Purchase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Purchase")
            .field("method", &self.method)
            .field("origin", &self.origin.text)
            .finish_non_exhaustive()
    }
}

/// The URL without user, password and fragment.
fn without_credentials(url: &Url) -> Url {
    let mut clean = url.clone();
    // These fail only for URLs that have no host, and so no credentials.
    let _ = clean.set_username("");
    let _ = clean.set_password(None);
    clean.set_fragment(None);
    clean
}

/// How a seller's `resource.url` must match the requested URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ResourceRule {
    /// Same scheme, host, port and path; the same query, unless the seller names none: many name
    /// the route, which is what they price.
    #[default]
    Same,
    /// The same, but `http` may stand for `https`: sellers behind a TLS proxy say so.
    SameBehindProxy,
    /// Not compared.
    Any,
}

impl ResourceRule {
    /// Whether `named`, absolute or relative to `requested`, is the URL requested.
    #[must_use]
    pub fn allows(self, requested: &Url, named: &str) -> bool {
        if self == Self::Any {
            return true;
        }
        let named = named.trim();
        if named.is_empty() {
            return false;
        }
        let Ok(named) = requested.join(named) else { return false };
        let pairs = |url: &Url| {
            let mut pairs: Vec<_> = url.query_pairs().into_owned().collect();
            pairs.sort();
            pairs
        };
        let host = |url: &Url| {
            url.host_str().map(|host| host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
        };
        let same_scheme = named.scheme() == requested.scheme()
            && named.port_or_known_default() == requested.port_or_known_default();
        let behind_proxy = self == Self::SameBehindProxy
            && (named.scheme(), requested.scheme()) == ("http", "https")
            && named.port() == requested.port();
        (same_scheme || behind_proxy)
            && named.username().is_empty()
            && named.password().is_none()
            && host(&named) == host(requested)
            && plain(named.path()) == plain(requested.path())
            && (named.query().is_none() || pairs(&named) == pairs(requested))
    }
}

/// A path in which unreserved characters are never percent-encoded and escapes are upper-case.
fn plain(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok().map(|byte| (digits, byte)))
        {
            Some((_, byte)) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            Some((digits, _)) => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn cl10_a_resource_is_the_requested_url_however_it_is_spelt() {
        let asked = url("https://Shop.example/a/%7Eb?x=1&y=2");
        for good in [
            "https://shop.example/a/~b?x=1&y=2",
            "https://shop.example:443/a/~b?y=2&x=1",
            "https://shop.example/a/%7eb",
            "/a/~b",
            "https://shop.example./a/~b#top",
        ] {
            assert!(ResourceRule::Same.allows(&asked, good), "{good}");
        }
        for bad in [
            "",
            "http://shop.example/a/~b",
            "https://shop.example:8443/a/~b",
            "https://shop.example.evil/a/~b",
            "https://user@shop.example/a/~b",
            "https://shop.example/a/~b/",
            "https://shop.example/A/~b",
            "https://shop.example/a/~b?x=1",
            "https://shop.example/a%2F~b",
            "//evil.example/a/~b",
            "not a url at all ://",
        ] {
            assert!(!ResourceRule::Same.allows(&asked, bad), "{bad}");
        }
        assert!(ResourceRule::SameBehindProxy.allows(&asked, "http://shop.example/a/~b"));
        assert!(!ResourceRule::SameBehindProxy.allows(&asked, "http://shop.example:81/a/~b"));
        assert!(ResourceRule::Any.allows(&asked, "https://else.example/"));
    }

    #[test]
    fn cl09_only_https_and_loopback_are_safe() {
        for good in ["https://a.example", "http://localhost:1", "http://127.0.0.9/", "http://[::1]:8/"] {
            assert!(Origin::of(&url(good)).is_safe(), "{good}");
        }
        for bad in [
            "http://a.example",
            "http://localhost.evil.example",
            "http://a.localhost",
            "http://128.0.0.1",
            "ftp://localhost",
        ] {
            assert!(!Origin::of(&url(bad)).is_safe(), "{bad}");
        }
    }

    #[test]
    fn a_purchase_is_its_method_url_and_body() {
        let one = Purchase::new("GET", &url("https://u:p@a.example/x?q#f"), b"").digest();
        assert_eq!(one, Purchase::new("GET", &url("https://a.example/x?q"), b"").digest());
        for other in [
            Purchase::new("POST", &url("https://a.example/x?q"), b""),
            Purchase::new("GET", &url("https://a.example/x?r"), b""),
            Purchase::new("GET", &url("https://a.example/x?q"), b"b"),
        ] {
            assert_ne!(one, other.digest());
        }
    }

    #[test]
    fn i16_a_purchases_debug_text_has_no_path_query_or_credentials() {
        let shown = format!("{:?}", Purchase::new("GET", &url("https://u:pw@a.example/p?key=k"), b""));
        assert!(!shown.contains("pw") && !shown.contains("key") && !shown.contains("/p"), "{shown}");
    }
}
