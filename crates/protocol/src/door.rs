//! The one door for numbers, hex and addresses that come from outside.
//!
//! Rust's own parsers are too kind for money: `u64::from_str` takes `+10`, big-integer crates
//! take `1_000`, `0x10` or an empty string. Everything a peer sends goes through here instead;
//! `str::parse` on outside input is forbidden in `clippy.toml`.

use ruint::aliases::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Network;

/// Why a text was turned away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// Not `0|[1-9][0-9]*` in ASCII digits.
    #[error("not a plain decimal number (digits only; no sign, space, separator or leading zero)")]
    NotDecimal,
    /// Too large for its type.
    #[error("number out of range")]
    OutOfRange,
    /// Not `0x` followed by hex digits.
    #[error("not 0x-prefixed hex")]
    NotHex,
    /// Hex of another length.
    #[error("expected {expected} bytes of hex, found {found}")]
    Length {
        /// Bytes wanted.
        expected: usize,
        /// Bytes (rounded up) given.
        found: usize,
    },
    /// An address that its chain family can't have.
    #[error("not an address of a {0} network")]
    NotAddress(String),
}

fn digits(text: &str, max: usize) -> Result<&str, DoorError> {
    let bytes = text.as_bytes();
    if bytes.len() > max {
        return Err(if bytes.iter().all(u8::is_ascii_digit) {
            DoorError::OutOfRange
        } else {
            DoorError::NotDecimal
        });
    }
    match bytes {
        [b'0'] => Ok(text),
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => Ok(text),
        _ => Err(DoorError::NotDecimal),
    }
}

/// `0|[1-9][0-9]{0,77}`, at most 2^256-1.
///
/// ```
/// use tollway_protocol::door;
/// assert!(door::decimal_u256("10000").is_ok());
/// for bad in ["", "+1", " 1", "01", "1_000", "1e3", "0x1", "１"] {
///     assert!(door::decimal_u256(bad).is_err(), "{bad}");
/// }
/// ```
///
/// # Errors
/// [`DoorError::NotDecimal`] or [`DoorError::OutOfRange`].
pub fn decimal_u256(text: &str) -> Result<U256, DoorError> {
    U256::from_str_radix(digits(text, 78)?, 10).map_err(|_| DoorError::OutOfRange)
}

/// The same grammar, at most 2^64-1.
///
/// # Errors
/// [`DoorError::NotDecimal`] or [`DoorError::OutOfRange`].
pub fn decimal_u64(text: &str) -> Result<u64, DoorError> {
    u64::from_str_radix(digits(text, 20)?, 10).map_err(|_| DoorError::OutOfRange)
}

/// `0x` and hex digits of either case, at most `max` bytes.
///
/// # Errors
/// [`DoorError::NotHex`] or [`DoorError::Length`].
pub fn hex_bytes(text: &str, max: usize) -> Result<Vec<u8>, DoorError> {
    let body = text.strip_prefix("0x").ok_or(DoorError::NotHex)?;
    if body.len() > max.saturating_mul(2) {
        return Err(DoorError::Length { expected: max, found: body.len().div_ceil(2) });
    }
    hex::decode(body).map_err(|_| DoorError::NotHex)
}

/// `0x` and exactly `N` bytes of hex.
///
/// # Errors
/// [`DoorError::NotHex`] or [`DoorError::Length`].
pub fn hex_array<const N: usize>(text: &str) -> Result<[u8; N], DoorError> {
    let body = text.strip_prefix("0x").ok_or(DoorError::NotHex)?;
    if body.len() != N.saturating_mul(2) {
        return Err(DoorError::Length { expected: N, found: body.len().div_ceil(2) });
    }
    let mut out = [0u8; N];
    hex::decode_to_slice(body, &mut out).map_err(|_| DoorError::NotHex)?;
    Ok(out)
}

/// An account or token address in its chain family's canonical spelling, so that equality of the
/// text is equality of the address: lower-case hex on `eip155`, as given elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(String);

impl Address {
    /// Reads `text` as an address on `network`.
    ///
    /// ```
    /// use tollway_protocol::{Network, door::Address};
    /// let base = Network::new("eip155:8453")?;
    /// let a = Address::on(&base, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")?;
    /// assert_eq!(a.as_str(), "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913");
    /// assert!(Address::on(&base, "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DoorError::NotAddress`] when the network's family can't have such an address.
    pub fn on(network: &Network, text: &str) -> Result<Self, DoorError> {
        let wrong = || DoorError::NotAddress(network.namespace().to_owned());
        match network.namespace() {
            "eip155" => {
                hex_array::<20>(text).map_err(|_| wrong())?;
                Ok(Self(text.to_ascii_lowercase()))
            }
            "solana" => {
                let base58 = |b: &u8| b.is_ascii_alphanumeric() && !matches!(b, b'0' | b'O' | b'I' | b'l');
                ((32..=44).contains(&text.len()) && text.as_bytes().iter().all(base58))
                    .then(|| Self(text.to_owned()))
                    .ok_or_else(wrong)
            }
            _ => {
                let plain =
                    !text.is_empty() && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic());
                plain.then(|| Self(text.to_owned())).ok_or_else(wrong)
            }
        }
    }

    /// The address of 20 bytes that every `eip155` network has.
    ///
    /// ```
    /// use tollway_protocol::door::Address;
    /// assert_eq!(Address::evm([0xab; 20]).as_str(), "0xabababababababababababababababababababab");
    /// ```
    #[must_use]
    pub fn evm(bytes: [u8; 20]) -> Self {
        let mut text = String::with_capacity(42);
        text.push_str("0x");
        for byte in bytes {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        Self(text)
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An amount in the asset's atomic units; on the wire a decimal string.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Amount(U256);

impl Amount {
    /// Zero.
    pub const ZERO: Self = Self(U256::ZERO);

    /// Reads atomic units; the grammar of [`decimal_u256`].
    ///
    /// # Errors
    /// [`DoorError::NotDecimal`] or [`DoorError::OutOfRange`].
    pub fn atomic(text: &str) -> Result<Self, DoorError> {
        decimal_u256(text).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> U256 {
        self.0
    }

    /// The sum, unless it overflows.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The amount as a decimal in whole units: `10000` with 6 decimals is `0.01`.
    ///
    /// ```
    /// use tollway_protocol::door::Amount;
    /// assert_eq!(Amount::from(10_000u64).in_units(6), "0.01");
    /// assert_eq!(Amount::from(2_000_000u64).in_units(6), "2");
    /// ```
    #[must_use]
    pub fn in_units(self, decimals: u8) -> String {
        let places = usize::from(decimals);
        let text = format!("{:0>width$}", self.0.to_string(), width = places.saturating_add(1));
        let (whole, fraction) = text.split_at(text.len().saturating_sub(places));
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }
}

impl From<u64> for Amount {
    fn from(value: u64) -> Self {
        Self(U256::from(value))
    }
}

impl From<U256> for Amount {
    fn from(value: U256) -> Self {
        Self(value)
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Amount({})", self.0)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::atomic(&text).map_err(serde::de::Error::custom)
    }
}

/// Seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// Reads seconds; the grammar of [`decimal_u64`].
    ///
    /// # Errors
    /// [`DoorError::NotDecimal`] or [`DoorError::OutOfRange`].
    pub fn decimal(text: &str) -> Result<Self, DoorError> {
        decimal_u64(text).map(Self)
    }

    /// Later by `seconds`, stopping at the end of time.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Earlier by `seconds`, stopping at 1970.
    #[must_use]
    pub const fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }
}

impl std::fmt::Display for UnixTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
