//! What is charged for an offer whose amount is a ceiling: scheme `upto`.

use crate::Offer;
use crate::assets;
use crate::door::{self, Amount};
use crate::money::Money;

/// The scheme whose offers' amounts are ceilings.
pub const UPTO: &str = "upto";

/// How much of an offer is charged, as a handler says it.
///
/// ```
/// use tollway_protocol::charge::Charge;
/// assert_eq!(Charge::new("1858")?, Charge::Atomic(1858.into()));
/// assert_eq!(Charge::new("12.5%")?, Charge::Share { hundredths: 1250 });
/// assert!(Charge::new("101%").is_err());
/// # Ok::<(), tollway_protocol::charge::ChargeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charge {
    /// Atomic units.
    Atomic(Amount),
    /// A share of the offer's amount, in hundredths of a percent; what is left over is not charged.
    Share {
        /// 0 to 10,000.
        hundredths: u16,
    },
    /// Money, in the offer's asset.
    Money(Money),
}

/// Why a charge can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChargeError {
    /// Not a charge.
    #[error("`{0}` is no charge: write atomic units, a share such as 12.5%, or money such as $0.01")]
    Form(String),
    /// Money does not fit the asset.
    #[error("the charge: {0}")]
    Money(#[from] crate::money::MoneyError),
    /// The asset's decimals are not known.
    #[error("the decimals of {0} are not known: charge atomic units, or a share")]
    Asset(String),
    /// More than the offer's amount.
    #[error("{charged} would be charged, {most} was agreed to")]
    TooMuch {
        /// The charge, in atomic units.
        charged: Amount,
        /// The offer's amount.
        most: Amount,
    },
}

impl Charge {
    /// Reads `1858` (atomic units), `12.5%` (at most two decimals) or `$0.01`.
    ///
    /// # Errors
    /// [`ChargeError::Form`] or [`ChargeError::Money`].
    pub fn new(text: &str) -> Result<Self, ChargeError> {
        let wrong = || ChargeError::Form(text.chars().take(64).collect());
        let text = text.trim();
        if text.starts_with('$') {
            return Ok(Self::Money(Money::new(text)?));
        }
        let Some(percent) = text.strip_suffix('%') else {
            return Amount::atomic(text).map(Self::Atomic).map_err(|_| wrong());
        };
        let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
        if !(1..=2).contains(&fraction.len()) {
            return Err(wrong());
        }
        let digits = |text: &str| {
            let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.trim_start_matches('0'));
            number.and_then(|text| door::decimal_u64(if text.is_empty() { "0" } else { text }).ok())
        };
        let whole = door::decimal_u64(whole).map_err(|_| wrong())?;
        let fraction = digits(&format!("{fraction:0<2}")).ok_or_else(wrong)?;
        let hundredths =
            whole.checked_mul(100).and_then(|n| n.checked_add(fraction)).filter(|n| *n <= 10_000);
        hundredths
            .and_then(|n| u16::try_from(n).ok())
            .map(|hundredths| Self::Share { hundredths })
            .ok_or_else(wrong)
    }

    /// The charge in atomic units of `offer`'s asset: at most its amount.
    ///
    /// # Errors
    /// [`ChargeError`].
    pub fn of(&self, offer: &Offer) -> Result<Amount, ChargeError> {
        let charged = match self {
            Self::Atomic(amount) => *amount,
            Self::Share { hundredths } => share(offer.amount, *hundredths),
            Self::Money(money) => {
                let unknown = || ChargeError::Asset(offer.asset.chars().take(64).collect());
                let asset = assets::at(&offer.network, &offer.asset, &[]).ok_or_else(unknown)?;
                if money.symbol().is_some_and(|symbol| symbol != asset.symbol) {
                    return Err(unknown());
                }
                money.atomic(asset.decimals)?
            }
        };
        if charged > offer.amount {
            return Err(ChargeError::TooMuch { charged, most: offer.amount });
        }
        Ok(charged)
    }
}

/// `hundredths` of a percent of `amount`, rounded down, without overflow.
fn share(amount: Amount, hundredths: u16) -> Amount {
    use ruint::aliases::U256;
    let (share, whole) = (U256::from(hundredths), U256::from(10_000));
    let (times, rest) = amount.get().div_rem(whole);
    // Both factors are small enough: times is at most 2^256 / 10,000, rest less than 10,000.
    Amount::from(times.saturating_mul(share).saturating_add(rest.saturating_mul(share) / whole))
}
