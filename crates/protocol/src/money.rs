//! Prices as people write them, turned into atomic amounts without floating point.

use ruint::aliases::U256;

use crate::Network;
use crate::assets::Asset;
use crate::door::{self, Amount};
use crate::json::Object;

/// Why a price can't be read or does not fit its asset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not `$1.50`, `1.50` or `1.50 USDC`.
    #[error(
        "`{0}` is not a price: write $1.50, 1.50 or 1.50 USDC (a point for decimals, no thousands separators)"
    )]
    Form(String),
    /// More decimals than the asset has.
    #[error("{value} has more decimals than the asset's {decimals}: it can't be paid exactly")]
    TooPrecise {
        /// The number as written.
        value: String,
        /// The asset's decimals.
        decimals: u8,
    },
    /// More than 2^256-1 atomic units.
    #[error("the price is out of range")]
    OutOfRange,
}

/// A decimal number in an asset's whole units, perhaps with the asset's symbol.
///
/// ```
/// use tollway_protocol::money::Money;
/// let price = Money::new("$0.01")?;
/// assert_eq!(price.atomic(6)?.to_string(), "10000");
/// assert_eq!(Money::new("0.01 USDC")?.symbol(), Some("USDC"));
/// for bad in ["1,50", "-1", "1e3", ".5", "5.", "$", "1 2", "NaN"] {
///     assert!(Money::new(bad).is_err(), "{bad}");
/// }
/// # Ok::<(), tollway_protocol::money::MoneyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Money {
    whole: Box<str>,
    fraction: Box<str>,
    symbol: Option<Box<str>>,
}

impl Money {
    /// Reads `$1.50`, `1.50`, `1.50 USDC`; `USD` means the network's default asset.
    ///
    /// # Errors
    /// [`MoneyError::Form`].
    pub fn new(text: &str) -> Result<Self, MoneyError> {
        let wrong = || MoneyError::Form(text.chars().take(64).collect());
        let trimmed = text.trim();
        let (number, symbol) = match trimmed.strip_prefix('$') {
            Some(rest) => (rest, None),
            None => match trimmed.split_once(' ') {
                Some((number, symbol)) => (number, Some(symbol)),
                None => (trimmed, None),
            },
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((_, "")) => return Err(wrong()),
            Some((whole, fraction)) => (whole, fraction),
            None => (number, ""),
        };
        door::decimal_u256(whole).map_err(|_| wrong())?;
        if fraction.len() > 77 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let named = |s: &str| {
            s.len() <= 16
                && s.starts_with(|c: char| c.is_ascii_alphabetic())
                && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
        };
        if symbol.is_some_and(|s| !named(s)) {
            return Err(wrong());
        }
        Ok(Self {
            whole: whole.into(),
            fraction: fraction.trim_end_matches('0').into(),
            symbol: symbol.filter(|s| *s != "USD").map(Into::into),
        })
    }

    /// The asset's symbol, if one was written.
    #[must_use]
    pub fn symbol(&self) -> Option<&str> {
        self.symbol.as_deref()
    }

    /// The amount in an asset with so many decimals; nothing is rounded.
    ///
    /// # Errors
    /// [`MoneyError::TooPrecise`] or [`MoneyError::OutOfRange`].
    pub fn atomic(&self, decimals: u8) -> Result<Amount, MoneyError> {
        let places = usize::from(decimals);
        if self.fraction.len() > places {
            return Err(MoneyError::TooPrecise { value: self.number(), decimals });
        }
        let number = |text: &str| {
            if text.is_empty() { Ok(U256::ZERO) } else { U256::from_str_radix(text, 10) }
                .map_err(|_| MoneyError::OutOfRange)
        };
        let scale = U256::from(10).checked_pow(U256::from(decimals)).ok_or(MoneyError::OutOfRange)?;
        let fraction = number(&format!("{:0<places$}", self.fraction))?;
        number(&self.whole)?
            .checked_mul(scale)
            .and_then(|whole| whole.checked_add(fraction))
            .map(Amount::from)
            .ok_or(MoneyError::OutOfRange)
    }

    fn number(&self) -> String {
        if self.fraction.is_empty() {
            self.whole.to_string()
        } else {
            format!("{}.{}", self.whole, self.fraction)
        }
    }
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.symbol {
            Some(symbol) => write!(f, "{} {symbol}", self.number()),
            None => write!(f, "${}", self.number()),
        }
    }
}

impl std::str::FromStr for Money {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        Self::new(text)
    }
}

/// What a seller asks for: money in whole units, or atomic units of a given asset.
#[derive(Debug, Clone, PartialEq)]
pub enum Price {
    /// `$0.01`: the network's default asset, or the one named by symbol.
    Money(Money),
    /// Atomic units of the asset at this address.
    Atomic {
        /// The asset's address.
        asset: String,
        /// How much.
        amount: Amount,
        /// What the offer's `extra` needs for an asset that no table knows (`name`, `version`).
        extra: Object,
    },
}

impl Price {
    /// Resolves the price on `network` against the known assets and `more` of the caller's own.
    ///
    /// # Errors
    /// [`crate::scheme::AskError`] when no asset is known or the price doesn't fit it.
    pub fn resolve(
        &self,
        network: &Network,
        more: &[Asset],
    ) -> Result<(Asset, Amount), crate::scheme::AskError> {
        use crate::scheme::AskError;
        let unknown =
            |asset: &str| AskError::UnknownAsset { asset: asset.to_owned(), network: network.clone() };
        match self {
            Self::Money(money) => {
                let asset = crate::assets::find(network, money.symbol(), more)
                    .ok_or_else(|| unknown(money.symbol().unwrap_or("default")))?;
                let amount = money.atomic(asset.decimals)?;
                Ok((asset, amount))
            }
            Self::Atomic { asset, amount, extra } => {
                let known = crate::assets::at(network, asset, more);
                let described = || Asset::described(network, asset, extra);
                known.or_else(described).map(|asset| (asset, *amount)).ok_or_else(|| unknown(asset))
            }
        }
    }
}

impl From<Money> for Price {
    fn from(money: Money) -> Self {
        Self::Money(money)
    }
}
