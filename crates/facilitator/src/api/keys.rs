//! API keys: who may ask, how often, and how many payments a day.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, header};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tollway_protocol::door::UnixTime;

use super::rate::{Bucket, Rate};
use crate::meter::Operation;

/// The other header in which a key may come, besides `Authorization: Bearer`.
const X_API_KEY: &str = "x-api-key";
/// The longest key that is looked at, in bytes.
const LONGEST: usize = 256;
const DAY: u64 = 86_400;

/// A key that may be used: its hash, never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What it is called in logs and rules.
    pub name: String,
    /// SHA-256 of the key's text.
    pub hash: [u8; 32],
    /// Requests that it may make; any number unless set.
    pub rate: Option<Rate>,
    /// Payments a day (UTC), counted for verifications and for settlements separately; any number unless set.
    pub payments_per_day: Option<u64>,
}

impl Key {
    /// The hash of a key's text, as it is stored.
    #[must_use]
    pub fn hash(text: &str) -> [u8; 32] {
        Sha256::digest(text).into()
    }
}

/// The keys in force. Counters of rates and quotas live in this process: a restart begins anew, and replicas count
/// each for itself.
pub struct Keys(Vec<Entry>);

struct Entry {
    name: Arc<str>,
    hash: [u8; 32],
    bucket: Option<Bucket>,
    quota: Option<Quota>,
}

struct Quota {
    per_day: u64,
    /// The day, and its verifications and settlements.
    used: Mutex<(u64, [u64; 2])>,
}

/// Why a key does not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is none, or it is not known.
    Unknown,
    /// It asks too often: come again in this time.
    TooOften(Duration),
    /// Its payments of today are used up: come again in this time.
    UsedUp(Duration),
}

/// A key that was shown, by its place.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) name: Arc<str>,
    place: usize,
}

impl Keys {
    /// These keys, with nothing used yet.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        let entry = |key: Key| Entry {
            name: key.name.into(),
            hash: key.hash,
            bucket: key.rate.map(Bucket::new),
            quota: key.payments_per_day.map(|per_day| Quota { per_day, used: Mutex::default() }),
        };
        Self(keys.into_iter().map(entry).collect())
    }

    /// Finds the key that a request shows and counts the request.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<Shown, Refused> {
        let shown = text(headers).filter(|text| text.len() <= LONGEST).ok_or(Refused::Unknown)?;
        let hash = Key::hash(shown);
        // Every entry is compared, each in constant time: how long it takes tells nothing.
        let found = self.0.iter().enumerate().fold(None, |found, (place, entry)| {
            if bool::from(entry.hash.ct_eq(&hash)) { Some((place, entry)) } else { found }
        });
        let (place, entry) = found.ok_or(Refused::Unknown)?;
        entry.bucket.as_ref().map_or(Ok(()), Bucket::take).map_err(Refused::TooOften)?;
        Ok(Shown { name: entry.name.clone(), place })
    }

    /// Counts a payment.
    pub(super) fn spend(&self, shown: &Shown, operation: Operation, now: UnixTime) -> Result<(), Refused> {
        let Some(quota) = self.0.get(shown.place).and_then(|entry| entry.quota.as_ref()) else {
            return Ok(());
        };
        let (today, rest) = (now.0 / DAY, DAY.saturating_sub(now.0 % DAY));
        let mut used = quota.used.lock();
        if used.0 != today {
            *used = (today, [0, 0]);
        }
        let [verified, settled] = &mut used.1;
        let count = if operation == Operation::Verify { verified } else { settled };
        if *count >= quota.per_day {
            return Err(Refused::UsedUp(Duration::from_secs(rest)));
        }
        *count = count.saturating_add(1);
        Ok(())
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|entry| &entry.name)).finish()
    }
}

/// The key that a request shows: `Authorization: Bearer KEY`, or `X-API-Key: KEY`.
fn text(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let plain = || headers.get(X_API_KEY).and_then(|value| value.to_str().ok()).map(str::trim);
    bearer.or_else(plain).filter(|key| !key.is_empty())
}
