//! How long a caller waits: `Prefer: wait=N` (RFC 7240, 4.3).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tollway_protocol::door::decimal_u64;

const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(super) const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What the answer needs on its way back.
const WAY_BACK: Duration = Duration::from_millis(300);

/// A caller's deadline that is shorter than ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait(u64);

impl Wait {
    /// The time in which we answer, counted from the request's arrival.
    pub(super) fn time(self) -> Duration {
        let whole = Duration::from_secs(self.0);
        whole.saturating_sub(WAY_BACK.min(whole / 5))
    }

    pub(super) fn applied(self) -> HeaderValue {
        HeaderValue::from_str(&format!("wait={}", self.0)).unwrap_or(HeaderValue::from_static("wait"))
    }
}

/// The first `wait` that a caller prefers, in whole seconds; what can't be read, is 0 or not shorter than `most`
/// is ignored, as the RFC has it.
pub(super) fn wait(headers: &HeaderMap, most: Duration) -> Option<Wait> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(',')).filter_map(|preference| {
        let preference = preference.split(';').next()?;
        let (name, value) = preference.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        is_wait.then(|| decimal_u64(value.trim().trim_matches('"')))
    });
    let seconds = preferences.next()?.ok()?;
    (seconds > 0 && Duration::from_secs(seconds) < most).then_some(Wait(seconds))
}
