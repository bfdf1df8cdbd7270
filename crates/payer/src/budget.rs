//! How much may be spent in a time, in total, and at each host.

use tollway_protocol::door::UnixTime;
use tollway_protocol::money::{Money, MoneyError};

use crate::policy::PolicyError;
use crate::value::Value;

/// A limit on the sum of payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    limit: Value,
    seconds: Option<u64>,
    each_host: bool,
}

/// A budget that a payment doesn't fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{asked} asked, but of the budget of {limit} {scope} {spent} is spent and {held} reserved")]
#[non_exhaustive]
pub struct Overdrawn {
    /// What is asked.
    pub asked: Value,
    /// The budget's limit.
    pub limit: Value,
    /// What it is for: `a day`, `in total`, with the host when it is per host.
    pub scope: String,
    /// What was spent within it, with what may have been.
    pub spent: Value,
    /// What payments under way hold.
    pub held: Value,
    /// When some of what was spent counts no more, where that would help.
    pub free_at: Option<UnixTime>,
}

/// Something that was, or may have been, or is being spent.
#[derive(Debug, Clone)]
pub(crate) struct Spend {
    pub(crate) at: UnixTime,
    pub(crate) host: String,
    pub(crate) value: Value,
    pub(crate) kind: SpendKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpendKind {
    Held,
    Spent,
    Unproven,
}

impl Overdrawn {
    /// How a program changes that.
    #[must_use]
    pub fn hint(&self) -> String {
        let wait = self.free_at.map_or_else(String::new, |at| format!(", or wait until {at} (Unix time)"));
        format!("raise it with Policy::budget{wait}")
    }
}

impl Budget {
    /// At most `limit` in any `seconds` (a sliding window).
    ///
    /// # Errors
    /// [`MoneyError`] when the limit has more than 18 decimals.
    pub fn every(seconds: u64, limit: &Money) -> Result<Self, MoneyError> {
        Ok(Self { limit: Value::of(limit)?, seconds: Some(seconds), each_host: false })
    }

    /// At most `limit` in any 24 hours.
    ///
    /// # Errors
    /// [`MoneyError`].
    pub fn daily(limit: &Money) -> Result<Self, MoneyError> {
        Self::every(86_400, limit)
    }

    /// At most `limit` for as long as the journal lives.
    ///
    /// # Errors
    /// [`MoneyError`].
    pub fn total(limit: &Money) -> Result<Self, MoneyError> {
        Ok(Self { limit: Value::of(limit)?, seconds: None, each_host: false })
    }

    /// Makes the limit one for each host by itself.
    #[must_use]
    pub fn each_host(mut self) -> Self {
        self.each_host = true;
        self
    }

    fn scope(&self, host: &str) -> String {
        let span = match self.seconds {
            None => "in total".to_owned(),
            Some(86_400) => "a day".to_owned(),
            Some(seconds) => format!("every {seconds} s"),
        };
        if self.each_host { format!("{span} at {host}") } else { span }
    }

    /// Whether `value` more at `host` fits beside `spends`.
    pub(crate) fn fits<'a>(
        &self,
        value: Value,
        host: &str,
        now: UnixTime,
        release_unproven: bool,
        spends: impl Iterator<Item = &'a Spend>,
    ) -> Result<(), PolicyError> {
        let since = self.seconds.map_or(UnixTime(0), |seconds| now.minus(seconds));
        let (mut spent, mut held, mut oldest) = (Value::ZERO, Value::ZERO, None);
        for spend in spends.filter(|spend| !self.each_host || spend.host == host) {
            match spend.kind {
                SpendKind::Held => held = held.plus(spend.value),
                SpendKind::Unproven if release_unproven => {}
                SpendKind::Spent | SpendKind::Unproven if spend.at > since || self.seconds.is_none() => {
                    spent = spent.plus(spend.value);
                    oldest = Some(oldest.map_or(spend.at, |at: UnixTime| at.min(spend.at)));
                }
                SpendKind::Spent | SpendKind::Unproven => {}
            }
        }
        if spent.plus(held).plus(value) <= self.limit {
            return Ok(());
        }
        let free_at = self.seconds.zip(oldest).map(|(seconds, at)| at.plus(seconds));
        Err(PolicyError::Budget(Box::new(Overdrawn {
            asked: value,
            limit: self.limit,
            scope: self.scope(host),
            spent,
            held,
            free_at: free_at.filter(|_| value <= self.limit),
        })))
    }
}
