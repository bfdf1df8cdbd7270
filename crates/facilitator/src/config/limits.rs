//! What callers may take, as configured.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use crate::{api, serve};

/// Limits and time-outs; every one has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The longest body, in bytes; 65536 unless set.
    pub body_bytes: u64,
    /// Connections at a time; 1024 unless set.
    pub connections: u64,
    /// Payments being answered at a time; 256 unless set.
    pub concurrency: u64,
    /// Settlements in progress, callers that hung up included; 1024 unless set.
    pub settlements: u64,
    /// Connections of one address at a time; 0, unless set, is any number. Behind a proxy they are all the proxy's.
    pub address_connections: u64,
    /// Requests a second from one address; 0, unless set, is any number.
    pub address_per_second: u64,
    /// Requests at once from one address, where `address_per_second` is set; 50 unless set.
    pub address_burst: u64,
    /// Seconds for a request's head to arrive, and for an idle connection; 10 unless set.
    pub header_read_seconds: u64,
    /// Seconds for a body to arrive; 15 unless set.
    pub body_read_seconds: u64,
    /// Seconds to a verdict; 10 unless set.
    pub verify_seconds: u64,
    /// Seconds to a settlement's answer; 25 unless set. Must be less than the sellers' own patience.
    pub settle_seconds: u64,
    /// Seconds for what is in flight at shutdown; 30 unless set.
    pub drain_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 * 1024,
            connections: 1024,
            concurrency: 256,
            settlements: 1024,
            address_connections: 0,
            address_per_second: 0,
            address_burst: 50,
            header_read_seconds: 10,
            body_read_seconds: 15,
            verify_seconds: 10,
            settle_seconds: 25,
            drain_seconds: 30,
        }
    }
}

/// A limit's name, its place, and what makes sense.
pub(super) type Row = (&'static str, fn(&mut Limits) -> &mut u64, std::ops::RangeInclusive<u64>);

pub(super) const ROWS: &[Row] = &[
    ("body_bytes", |l| &mut l.body_bytes, 4096..=1024 * 1024),
    ("connections", |l| &mut l.connections, 1..=1_000_000),
    ("concurrency", |l| &mut l.concurrency, 1..=100_000),
    ("settlements", |l| &mut l.settlements, 1..=1_000_000),
    ("address_connections", |l| &mut l.address_connections, 0..=1_000_000),
    ("address_per_second", |l| &mut l.address_per_second, 0..=1_000_000),
    ("address_burst", |l| &mut l.address_burst, 1..=1_000_000),
    ("header_read_seconds", |l| &mut l.header_read_seconds, 1..=300),
    ("body_read_seconds", |l| &mut l.body_read_seconds, 1..=300),
    ("verify_seconds", |l| &mut l.verify_seconds, 1..=300),
    ("settle_seconds", |l| &mut l.settle_seconds, 2..=600),
    ("drain_seconds", |l| &mut l.drain_seconds, 1..=3600),
];

fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

impl Limits {
    /// The HTTP API's part.
    #[must_use]
    pub fn api(&self) -> api::Limits {
        api::Limits {
            body_bytes: count(self.body_bytes),
            body_read: Duration::from_secs(self.body_read_seconds),
            concurrency: count(self.concurrency),
        }
    }

    /// What one address may ask, if that is bounded.
    #[must_use]
    pub fn per_address(&self) -> Option<api::Rate> {
        let number = |limit: u64| NonZeroU32::new(u32::try_from(limit).unwrap_or(u32::MAX));
        Some(api::Rate { per_second: number(self.address_per_second)?, burst: number(self.address_burst)? })
    }

    /// The server's part.
    #[must_use]
    pub fn serve(&self) -> serve::Limits {
        serve::Limits {
            connections: count(self.connections),
            per_address: if self.address_connections == 0 {
                usize::MAX
            } else {
                count(self.address_connections)
            },
            header_read: Duration::from_secs(self.header_read_seconds),
            body_pause: Duration::from_secs(self.body_read_seconds),
            drain: Duration::from_secs(self.drain_seconds),
            ..serve::Limits::default()
        }
    }

    /// The registry's part.
    #[must_use]
    pub fn registry(&self) -> crate::registry::Builder {
        crate::Registry::builder()
            .verify_within(Duration::from_secs(self.verify_seconds))
            .settle_within(Duration::from_secs(self.settle_seconds))
            .settlements(count(self.settlements))
    }
}
