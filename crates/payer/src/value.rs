//! What an amount is worth, in one unit for all assets.

use ruint::aliases::U256;
use serde::{Deserialize, Serialize};
use tollway_protocol::assets::Asset;
use tollway_protocol::door::Amount;
use tollway_protocol::money::{Money, MoneyError};

const DECIMALS: u8 = 18;

/// Whole units of a dollar-like asset (or what the policy says that an asset is worth in them), in
/// steps of 10^-18: comparable across assets whatever their decimals.
///
/// ```
/// use tollway_payer::Value;
/// use tollway_protocol::money::Money;
/// assert_eq!(Value::of(&Money::new("$1.50")?)?.to_string(), "$1.5");
/// # Ok::<(), tollway_protocol::money::MoneyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Value(Amount);

impl Value {
    /// Nothing.
    pub const ZERO: Self = Self(Amount::ZERO);

    /// The value of money.
    ///
    /// # Errors
    /// [`MoneyError`]: more than 18 decimals, or out of range.
    pub fn of(money: &Money) -> Result<Self, MoneyError> {
        money.atomic(DECIMALS).map(Self)
    }

    /// The value of `amount` atomic units of `asset`, of which a whole unit is worth `unit`;
    /// rounded up, and none when it is out of range.
    #[must_use]
    pub fn worth(amount: Amount, asset: &Asset, unit: Self) -> Option<Self> {
        let scale = U256::from(10).checked_pow(U256::from(asset.decimals))?;
        let product = amount.get().checked_mul(unit.0.get())?;
        let (whole, rest) = (product.checked_div(scale)?, product.checked_rem(scale)?);
        let up = if rest.is_zero() { U256::ZERO } else { U256::from(1) };
        whole.checked_add(up).map(|value| Self(Amount::from(value)))
    }

    /// The sum; at most the largest value there is.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.checked_add(other.0).unwrap_or(Amount::from(U256::MAX)))
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "${}", self.0.in_units(DECIMALS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollway_protocol::Network;

    fn asset(decimals: u8) -> Asset {
        Asset {
            network: Network::eip155(1),
            address: format!("0x{:040x}", 1),
            symbol: "T".into(),
            decimals,
            domain: None,
            eip3009: true,
        }
    }

    #[test]
    fn x402rs_35_amounts_of_assets_with_other_decimals_are_compared_in_whole_units() {
        let dollar = Value::of(&Money::new("$1").unwrap()).unwrap();
        let worth = |text: &str, decimals| {
            Value::worth(Amount::atomic(text).unwrap(), &asset(decimals), dollar).unwrap()
        };
        assert_eq!(worth("1000000", 6), dollar);
        assert_eq!(worth("1000000000000000000", 18), dollar);
        assert!(worth("1000001", 6) > worth("1000000000000000000", 18));
        assert_eq!(worth("1", 30).to_string(), "$0.000000000000000001", "rounded up");
    }

    #[test]
    fn cl08_an_amount_out_of_range_has_no_value() {
        let dollar = Value::of(&Money::new("$1").unwrap()).unwrap();
        assert_eq!(Value::worth(Amount::from(U256::MAX), &asset(0), dollar), None);
        assert_eq!(Value::worth(Amount::from(1), &asset(100), dollar), None);
    }
}
