//! What may be paid: the limits, and the typed refusals that say how to change them.

use tollway_protocol::assets::{self, Asset};
use tollway_protocol::bind::MIN_REMAINING_SECONDS;
use tollway_protocol::door::{Address, Amount};
use tollway_protocol::money::{Money, MoneyError};
use tollway_protocol::{Network, NetworkPattern, Offer};

use crate::budget::{Budget, Overdrawn};
use crate::origin::{Purchase, ResourceRule};
use crate::text;
use crate::value::Value;

/// What to do when an origin asks to be paid at another address than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pinning {
    /// Refuse: the address first paid for an origin and network is the only one.
    #[default]
    Refuse,
    /// Follow: pay it and remember it.
    Follow,
}

/// Why an offer is outside the policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The scheme is not allowed.
    #[error("scheme {scheme} is not allowed")]
    Scheme {
        /// The offer's.
        scheme: String,
    },
    /// The network is not allowed.
    #[error("network {network} is not allowed")]
    Network {
        /// The offer's.
        network: Network,
    },
    /// The asset is not known, or its value can't be computed.
    #[error("asset {asset} on {network} is not allowed")]
    Asset {
        /// The offer's network.
        network: Network,
        /// The offer's asset.
        asset: String,
    },
    /// More than the cap for one payment.
    #[error("{asked} {symbol} asked, at most {cap} a payment")]
    Cap {
        /// What is asked, in whole units of the asset.
        asked: String,
        /// The asset.
        symbol: String,
        /// The limit.
        cap: Value,
    },
    /// The signed payment would be spendable for too long.
    #[error("maxTimeoutSeconds is {asked}, at most {max}")]
    WindowTooLong {
        /// The offer's.
        asked: u64,
        /// The limit.
        max: u64,
    },
    /// The payment could not reach a block in time.
    #[error("maxTimeoutSeconds is {asked}, at least {min}")]
    WindowTooShort {
        /// The offer's.
        asked: u64,
        /// The limit.
        min: u64,
    },
    /// Whatever the offer says, the signed payment would be spendable for longer than the policy allows.
    #[error("a payment on {network} may be settled for {seconds} s once signed, at most {max} are allowed")]
    LivesTooLong {
        /// The offer's network.
        network: Network,
        /// For how long.
        seconds: u64,
        /// The limit.
        max: u64,
    },
    /// The origin was paid elsewhere before.
    #[error("{origin} asks for payment to {asked} on {network}, it was {pinned} before")]
    Recipient {
        /// Who asks.
        origin: String,
        /// Where.
        network: Network,
        /// The address paid before.
        pinned: String,
        /// The offer's.
        asked: String,
    },
    /// Neither https nor a loopback host.
    #[error("{origin} is not https: others on the way could take the payment")]
    Insecure {
        /// Who asks.
        origin: String,
    },
    /// The offer is for another resource than the one requested.
    #[error("the offer is for {named}, not for the URL requested at {origin}")]
    Resource {
        /// What the offer names.
        named: String,
        /// Who was asked.
        origin: String,
    },
    /// A budget would be overdrawn.
    #[error(transparent)]
    Budget(Box<Overdrawn>),
}

impl PolicyError {
    /// How a program changes that; not part of the message, since people have flags and settings.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Scheme { .. } => "allow it with Policy::schemes",
            Self::Network { .. } => "allow it with Policy::networks",
            Self::Asset { .. } => "add it with Policy::allow_asset, with its real decimals",
            Self::Cap { .. } => "raise it with Policy::cap",
            Self::WindowTooLong { .. } => "raise it with Policy::window",
            Self::WindowTooShort { .. } => "lower it with Policy::window",
            Self::LivesTooLong { seconds, .. } => {
                return format!("allow it with Policy::window, whose most must be {seconds} or more");
            }
            Self::Recipient { .. } => "if that is right, allow it with Policy::allow_recipient",
            Self::Insecure { .. } => "allow it with Policy::allow_insecure",
            Self::Resource { .. } => "see Policy::resource",
            Self::Budget(overdrawn) => return overdrawn.hint(),
        };
        hint.to_owned()
    }
}

/// What may be paid. The default: $1 a payment, known assets on any network, https or loopback,
/// windows up to 600 s, no budget.
///
/// ```
/// use tollway_payer::{Budget, Policy};
/// use tollway_protocol::{NetworkPattern, money::Money};
/// let policy = Policy::default()
///     .cap(&Money::new("$0.10")?)?
///     .networks([NetworkPattern::new("base")?])
///     .budget(Budget::daily(&Money::new("$5")?)?)
///     .budget(Budget::total(&Money::new("$1")?)?.each_host());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Policy {
    cap: Value,
    networks: Option<Vec<NetworkPattern>>,
    schemes: Option<Vec<String>>,
    assets: Vec<(Asset, Value)>,
    only_added: bool,
    window: (u64, u64),
    pinning: Pinning,
    recipients: Vec<(String, String)>,
    insecure: Vec<String>,
    resource: ResourceRule,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) release_unproven: bool,
    pub(crate) margin: u64,
}

fn dollar() -> Value {
    Money::new("$1").ok().and_then(|one| Value::of(&one).ok()).unwrap_or(Value::ZERO)
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            cap: dollar(),
            networks: None,
            schemes: None,
            assets: Vec::new(),
            only_added: false,
            window: (MIN_REMAINING_SECONDS.saturating_add(2), 600),
            pinning: Pinning::Refuse,
            recipients: Vec::new(),
            insecure: Vec::new(),
            resource: ResourceRule::Same,
            budgets: Vec::new(),
            release_unproven: false,
            margin: 120,
        }
    }
}

impl Policy {
    /// The most that one payment may cost.
    ///
    /// # Errors
    /// [`MoneyError`] when the amount has more than 18 decimals.
    pub fn cap(mut self, most: &Money) -> Result<Self, MoneyError> {
        self.cap = Value::of(most)?;
        Ok(self)
    }

    /// Only these networks.
    #[must_use]
    pub fn networks(mut self, only: impl IntoIterator<Item = NetworkPattern>) -> Self {
        self.networks = Some(only.into_iter().collect());
        self
    }

    /// Only these schemes.
    #[must_use]
    pub fn schemes<S: Into<String>>(mut self, only: impl IntoIterator<Item = S>) -> Self {
        self.schemes = Some(only.into_iter().map(Into::into).collect());
        self
    }

    /// Allows one more asset, worth a dollar a unit. Its decimals must be the token's own.
    #[must_use]
    pub fn allow_asset(mut self, asset: Asset) -> Self {
        self.assets.push((asset, dollar()));
        self
    }

    /// Allows one more asset, whose whole unit counts as `unit` for caps, budgets and comparison.
    ///
    /// # Errors
    /// [`MoneyError`] when `unit` has more than 18 decimals.
    pub fn allow_asset_at(mut self, asset: Asset, unit: &Money) -> Result<Self, MoneyError> {
        self.assets.push((asset, Value::of(unit)?));
        Ok(self)
    }

    /// Forgets the table of known assets: only those added count.
    #[must_use]
    pub fn only_added_assets(mut self) -> Self {
        self.only_added = true;
        self
    }

    /// The least and most seconds that an offer may give a payment (8 and 600 by default). A payment that may execute
    /// for longer than its offer gives is held to the most as well: on Solana that is 300 s, whatever the offer says.
    #[must_use]
    pub fn window(mut self, least: u64, most: u64) -> Self {
        self.window = (least, most);
        self
    }

    /// What to do when an origin's `payTo` changes.
    #[must_use]
    pub fn pinning(mut self, pinning: Pinning) -> Self {
        self.pinning = pinning;
        self
    }

    /// Allows `origin` (as `https://example.com`) to be paid at `pay_to`, whatever was paid before.
    #[must_use]
    pub fn allow_recipient(mut self, origin: &str, pay_to: &str) -> Self {
        self.recipients.push((origin.trim_end_matches('/').to_ascii_lowercase(), pay_to.to_owned()));
        self
    }

    /// Allows plain http to this host.
    #[must_use]
    pub fn allow_insecure(mut self, host: &str) -> Self {
        self.insecure.push(host.to_ascii_lowercase());
        self
    }

    /// How an offer's resource must match the requested URL.
    #[must_use]
    pub fn resource(mut self, rule: ResourceRule) -> Self {
        self.resource = rule;
        self
    }

    /// Adds a budget; a payment must fit all of them.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budgets.push(budget);
        self
    }

    /// Stops counting payments whose outcome never became known once they can't execute any more.
    /// By default they count as spent: whoever holds one may have used it and not said so.
    #[must_use]
    pub fn release_unproven(mut self) -> Self {
        self.release_unproven = true;
        self
    }

    /// Seconds after a payment's end at which it surely can't execute any more (120 by default):
    /// the chain's clock and finality.
    #[must_use]
    pub fn margin(mut self, seconds: u64) -> Self {
        self.margin = seconds;
        self
    }

    /// The longest window allowed.
    pub(crate) fn longest(&self) -> u64 {
        self.window.1
    }

    /// Whether a payment on `network` may execute for so many seconds after it is signed.
    ///
    /// # Errors
    /// [`PolicyError::LivesTooLong`].
    pub(crate) fn lives(&self, network: &Network, seconds: u64) -> Result<(), PolicyError> {
        let max = self.longest();
        let refused = || PolicyError::LivesTooLong { network: network.clone(), seconds, max };
        (seconds <= max).then_some(()).ok_or_else(refused)
    }

    /// What `offer` would cost, if it is inside the policy for `purchase`; recipients and budgets
    /// are judged with the journal.
    ///
    /// # Errors
    /// The first limit that it crosses.
    pub fn judge(&self, purchase: &Purchase, named: &str, offer: &Offer) -> Result<Worth, PolicyError> {
        let origin = purchase.origin();
        if !origin.is_safe() && !self.insecure.iter().any(|host| host == origin.host()) {
            return Err(PolicyError::Insecure { origin: origin.to_string() });
        }
        if !self.resource.allows(purchase.url(), named) {
            return Err(PolicyError::Resource { named: text::name(named), origin: origin.to_string() });
        }
        if self.schemes.as_ref().is_some_and(|only| !only.contains(&offer.scheme)) {
            return Err(PolicyError::Scheme { scheme: text::name(&offer.scheme) });
        }
        let network = &offer.network;
        if self.networks.as_ref().is_some_and(|only| !only.iter().any(|pattern| pattern.matches(network))) {
            return Err(PolicyError::Network { network: network.clone() });
        }
        let unknown = || PolicyError::Asset { network: network.clone(), asset: text::name(&offer.asset) };
        let added = self.assets.iter().find(|(asset, _)| asset.is(network, &offer.asset)).cloned();
        let known = || assets::at(network, &offer.asset, &[]).map(|asset| (asset, dollar()));
        let (asset, unit) =
            added.or_else(|| if self.only_added { None } else { known() }).ok_or_else(unknown)?;
        let asked = || PolicyError::Cap {
            asked: offer.amount.in_units(asset.decimals),
            symbol: asset.symbol.clone(),
            cap: self.cap,
        };
        let value = Value::worth(offer.amount, &asset, unit).ok_or_else(asked)?;
        if value > self.cap {
            return Err(asked());
        }
        let (min, max) = self.window;
        match offer.max_timeout_seconds {
            asked if asked > max => Err(PolicyError::WindowTooLong { asked, max }),
            asked if asked < min => Err(PolicyError::WindowTooShort { asked, min }),
            _ => Ok(Worth { amount: offer.amount, asset, value }),
        }
    }

    /// Whether `pay_to` may be paid for `origin`, which was paid at `pinned` before.
    ///
    /// # Errors
    /// [`PolicyError::Recipient`].
    pub(crate) fn recipient(
        &self,
        origin: &str,
        network: &Network,
        pay_to: &str,
        pinned: &[String],
    ) -> Result<(), PolicyError> {
        let same = |other: &str| match (Address::on(network, other), Address::on(network, pay_to)) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        };
        let Some(first) = pinned.first() else { return Ok(()) };
        let allowed = self.pinning == Pinning::Follow
            || pinned.iter().any(|one| same(one))
            || self.recipients.iter().any(|(at, one)| at == origin && same(one));
        allowed.then_some(()).ok_or_else(|| PolicyError::Recipient {
            origin: origin.to_owned(),
            network: network.clone(),
            pinned: first.clone(),
            asked: text::name(pay_to),
        })
    }
}

/// What an offer costs, by our own table.
#[derive(Debug, Clone, PartialEq)]
pub struct Worth {
    /// Atomic units.
    pub amount: Amount,
    /// Of this.
    pub asset: Asset,
    /// In dollar-like units.
    pub value: Value,
}

impl std::fmt::Display for Worth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.amount.in_units(self.asset.decimals), self.asset.symbol)
    }
}
