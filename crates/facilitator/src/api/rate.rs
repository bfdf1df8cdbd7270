//! Token buckets: per API key and per client address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};
use tokio::time::Instant;

/// Addresses that are told apart at a time; beyond them, those that are not known yet share a bucket.
const ADDRESSES: usize = 65_536;

/// So many requests a second, on average, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second.
    pub per_second: NonZeroU32,
    /// Requests at once, after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }
}

/// tokio's clock, which tests can hold.
#[derive(Debug, Clone)]
struct Ticks(Instant);

impl Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

fn wait(until: &NotUntil<Nanos>, clock: &Ticks) -> Duration {
    until.wait_time_from(clock.now())
}

/// One bucket.
pub(super) struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>,
    clock: Ticks,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        let clock = Ticks(Instant::now());
        Self { limiter: RateLimiter::direct_with_clock(rate.quota(), clock.clone()), clock }
    }

    /// # Errors
    /// How long until there is room.
    pub(super) fn take(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|until| wait(&until, &self.clock))
    }
}

/// A bucket for each client.
pub(super) struct Buckets {
    limiter: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, Ticks, NoOpMiddleware<Nanos>>,
    clock: Ticks,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        let clock = Ticks(Instant::now());
        let state = HashMapStateStore::default();
        Self { limiter: RateLimiter::new(rate.quota(), state, clock.clone()), clock }
    }

    /// # Errors
    /// How long until there is room.
    pub(super) fn take(&self, client: IpAddr) -> Result<(), Duration> {
        if self.limiter.len() >= ADDRESSES {
            self.limiter.retain_recent();
        }
        let full = self.limiter.len() >= ADDRESSES;
        let bucket = if full { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { household(client) };
        self.limiter.check_key(&bucket).map_err(|until| wait(&until, &self.clock))
    }
}

/// Whoever has one IPv6 address has its /64.
pub(crate) fn household(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}
