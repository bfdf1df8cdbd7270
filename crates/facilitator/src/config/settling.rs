//! When a settlement counts, and how transactions are sent.

use std::fmt;

use serde::{Deserialize, Deserializer};
use tollway_protocol::door::{Amount, decimal_u64};
use tollway_protocol::money::Money;

/// When no reorg can take a settlement back any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// So many blocks on top, the transaction's own counted.
    Blocks(u64),
    /// The node's `safe` block.
    Safe,
    /// The node's `finalized` block.
    Finalized,
}

impl Finality {
    /// Reads a number of blocks, `safe` or `finalized`.
    ///
    /// # Errors
    /// What was expected.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        match text {
            "safe" => Ok(Self::Safe),
            "finalized" => Ok(Self::Finalized),
            _ => decimal_u64(text)
                .map(Self::Blocks)
                .map_err(|_| "expected a number of blocks, \"safe\" or \"finalized\""),
        }
    }
}

impl<'de> Deserialize<'de> for Finality {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a number of blocks, \"safe\" or \"finalized\"")]
        enum Form {
            Number(u64),
            Word(String),
        }
        match Form::deserialize(d)? {
            Form::Number(blocks) => Ok(Self::Blocks(blocks)),
            Form::Word(word) => Self::new(&word).map_err(serde::de::Error::custom),
        }
    }
}

/// From which value on two nodes have to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgreeAbove {
    /// Millionths of a dollar, for assets that are worth one.
    Usd(Amount),
    /// Atomic units, of whatever asset.
    Atomic(Amount),
}

const AGREE: &str = "expected dollars such as \"$100\", or atomic units such as \"100000000\"";
/// Decimals of a dollar here, and of the stable coins that are priced in it.
const USD_DECIMALS: u8 = 6;

impl AgreeAbove {
    /// Reads `$100` or a number of atomic units.
    ///
    /// # Errors
    /// What was expected.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.starts_with('$') {
            let money = Money::new(text).map_err(|_| AGREE)?;
            return money.atomic(USD_DECIMALS).map(Self::Usd).map_err(|_| AGREE);
        }
        Amount::atomic(text).map(Self::Atomic).map_err(|_| AGREE)
    }
}

impl<'de> Deserialize<'de> for AgreeAbove {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for AgreeAbove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usd(amount) => write!(f, "${}", amount.in_units(USD_DECIMALS)),
            Self::Atomic(amount) => write!(f, "{amount}"),
        }
    }
}

/// One value, or a list of them.
pub(super) fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    struct Any<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Any<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one, or a list")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            T::deserialize(serde::de::value::StrDeserializer::new(text)).map(|one| vec![one])
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(|one| vec![one])
        }
    }
    d.deserialize_any(Any(std::marker::PhantomData))
}
