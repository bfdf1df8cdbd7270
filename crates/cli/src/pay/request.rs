//! The request that was asked for.

use std::io::Read as _;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use reqwest::Request;
use url::Url;

use super::PayArgs;
use crate::exit::{Doing as _, Exit, Failure};

/// As curl's.
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// Reads the URL; https unless it says otherwise.
pub(super) fn url(text: &str) -> Result<Url, Failure> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let wrong = |why: &str| {
        Failure::new(Exit::Usage, format!("the URL can't be used: {why}"))
            .todo("write it as https://host/path")
    };
    let url = Url::parse(&whole).map_err(|error| wrong(&error.to_string()))?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => Ok(url),
        _ => Err(wrong("expected http:// or https:// and a host")),
    }
}

/// The request, with its body in memory, so that it can be sent again with a payment.
pub(super) fn build(args: &PayArgs, url: Url) -> Result<Request, Failure> {
    let method = match &args.method {
        Some(text) => Method::from_bytes(text.as_bytes())
            .map_err(|_| Failure::new(Exit::Usage, format!("`{text}` is not a method")))?,
        None if args.data.is_empty() => Method::GET,
        None => Method::POST,
    };
    let mut request = Request::new(method, url);
    if !args.data.is_empty() {
        *request.body_mut() = Some(body(&args.data)?.into());
        request.headers_mut().insert(CONTENT_TYPE, FORM);
    }
    // A header that is given replaces the default; given twice, it is sent twice.
    request.headers_mut().extend(headers(&args.headers)?);
    Ok(request)
}

fn headers(texts: &[String]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for text in texts {
        // The value may be a secret: it is not repeated.
        let wrong = |what: &str| {
            Failure::new(Exit::Usage, format!("a header {what}")).todo("write it as -H 'Name: value'")
        };
        let (name, value) = text.split_once(':').ok_or_else(|| wrong("has no colon"))?;
        let name =
            HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong("has an impossible name"))?;
        let mut value = HeaderValue::from_str(value.trim())
            .map_err(|_| wrong(&format!("`{name}` has an impossible value")))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn body(data: &[String]) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    for (index, part) in data.iter().enumerate() {
        if index > 0 {
            body.push(b'&');
        }
        match part.strip_prefix('@') {
            Some("-") => {
                std::io::stdin().lock().read_to_end(&mut body).doing(|| "--data @-".to_owned())?;
            }
            Some(path) => body.extend(std::fs::read(path).doing(|| format!("--data @{path}"))?),
            None => body.extend_from_slice(part.as_bytes()),
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_scheme_is_https() {
        assert_eq!(url("api.example.com/x").unwrap().as_str(), "https://api.example.com/x");
        assert_eq!(url("http://127.0.0.1:1/x").unwrap().scheme(), "http");
        for wrong in ["ftp://host/", "https://", "://", ""] {
            assert_eq!(url(wrong).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn a_header_in_an_error_is_without_its_value() {
        let failure = headers(&["authorization: Bearer s3cret\u{1}".to_owned()]).unwrap_err();
        assert!(
            failure.what.contains("authorization") && !failure.what.contains("s3cret"),
            "{}",
            failure.what
        );
        assert!(!headers(&["s3cret".to_owned()]).unwrap_err().what.contains("s3cret"));
    }

    #[test]
    fn parts_of_a_body_are_joined_as_curl_does() {
        assert_eq!(body(&["a=1".to_owned(), "b=2".to_owned()]).unwrap(), b"a=1&b=2");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\n}").unwrap();
        assert_eq!(body(&[format!("@{}", file.path().display())]).unwrap(), b"{\n}");
    }
}
