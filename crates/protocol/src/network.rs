//! CAIP-2 network ids, the v1 names that stand for some of them, and patterns over them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A network in CAIP-2 form, such as `eip155:8453`.
///
/// ```
/// use tollway_protocol::Network;
/// let base = Network::new("eip155:8453")?;
/// assert_eq!((base.namespace(), base.reference()), ("eip155", "8453"));
/// assert_eq!(Network::named("base"), Some(base.clone()));
/// assert_eq!(base.v1_name(), Some("base"));
/// # Ok::<(), tollway_protocol::network::NotANetwork>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    id: Box<str>,
    colon: usize,
}

/// The text is no CAIP-2 id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a CAIP-2 network id such as eip155:8453")]
pub struct NotANetwork(String);

impl Network {
    /// Reads a CAIP-2 id: `[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}`; an `eip155` reference is a chain id
    /// without leading zeros.
    ///
    /// # Errors
    /// [`NotANetwork`] otherwise.
    pub fn new(id: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork(id.chars().take(64).collect());
        let (namespace, reference) = id.split_once(':').ok_or_else(wrong)?;
        let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let any = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let good = (3..=8).contains(&namespace.len())
            && namespace.bytes().all(lower)
            && (1..=32).contains(&reference.len())
            && reference.bytes().all(any)
            && (namespace != "eip155" || crate::door::decimal_u64(reference).is_ok_and(|n| n > 0));
        if good { Ok(Self { id: id.into(), colon: namespace.len() }) } else { Err(wrong()) }
    }

    /// An EVM network by its chain id.
    #[must_use]
    pub fn eip155(chain_id: u64) -> Self {
        Self { id: format!("eip155:{chain_id}").into(), colon: 6 }
    }

    /// The network that a v1 name such as `base-sepolia` stands for.
    #[must_use]
    pub fn named(v1_name: &str) -> Option<Self> {
        V1_NAMES.iter().find(|(name, _)| *name == v1_name).and_then(|(_, id)| Self::new(id).ok())
    }

    /// Reads either form: a CAIP-2 id or a v1 name.
    ///
    /// # Errors
    /// [`NotANetwork`] when it is neither.
    pub fn any(text: &str) -> Result<Self, NotANetwork> {
        Self::named(text).map_or_else(|| Self::new(text), Ok)
    }

    /// The v1 name, for networks that had one.
    #[must_use]
    pub fn v1_name(&self) -> Option<&'static str> {
        V1_NAMES.iter().find(|(_, id)| *id == &*self.id).map(|(name, _)| *name)
    }

    /// The part before the colon.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.id.get(..self.colon).unwrap_or_default()
    }

    /// The part after the colon.
    #[must_use]
    pub fn reference(&self) -> &str {
        self.id.get(self.colon.saturating_add(1)..).unwrap_or_default()
    }

    /// The EVM chain id of an `eip155` network.
    #[must_use]
    pub fn chain_id(&self) -> Option<u64> {
        (self.namespace() == "eip155").then(|| crate::door::decimal_u64(self.reference()).ok()).flatten()
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.id
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id)
    }
}

impl std::str::FromStr for Network {
    type Err = NotANetwork;
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        Self::any(text)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.id)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// One network, or a family of them: `eip155:8453`, `eip155:*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NetworkPattern(String);

impl NetworkPattern {
    /// Reads a network (either form) or `namespace:*`.
    ///
    /// # Errors
    /// [`NotANetwork`] when it is neither.
    pub fn new(text: &str) -> Result<Self, NotANetwork> {
        match text.strip_suffix(":*") {
            Some(namespace) => Network::new(&format!("{namespace}:1")).map(|_| Self(text.to_owned())),
            None => Network::any(text).map(|n| Self(n.as_str().to_owned())),
        }
    }

    /// Whether `network` is one of these.
    #[must_use]
    pub fn matches(&self, network: &Network) -> bool {
        self.0
            .strip_suffix(":*")
            .map_or_else(|| self.0 == network.as_str(), |family| family == network.namespace())
    }
}

impl std::fmt::Display for NetworkPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every v1 name of the published SDKs, and its CAIP-2 id.
pub const V1_NAMES: &[(&str, &str)] = &[
    ("ethereum", "eip155:1"),
    ("sepolia", "eip155:11155111"),
    ("abstract", "eip155:2741"),
    ("abstract-testnet", "eip155:11124"),
    ("base", "eip155:8453"),
    ("base-sepolia", "eip155:84532"),
    ("avalanche", "eip155:43114"),
    ("avalanche-fuji", "eip155:43113"),
    ("iotex", "eip155:4689"),
    ("sei", "eip155:1329"),
    ("sei-testnet", "eip155:1328"),
    ("polygon", "eip155:137"),
    ("polygon-amoy", "eip155:80002"),
    ("peaq", "eip155:3338"),
    ("story", "eip155:1514"),
    ("educhain", "eip155:41923"),
    ("skale-base-sepolia", "eip155:324705682"),
    ("megaeth", "eip155:4326"),
    ("monad", "eip155:143"),
    ("stable", "eip155:988"),
    ("stable-testnet", "eip155:2201"),
    ("celo", "eip155:42220"),
    ("flare", "eip155:14"),
    ("solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
    ("solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
    ("solana-testnet", "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"),
];
