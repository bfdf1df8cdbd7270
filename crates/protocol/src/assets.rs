//! The assets that are known on each network: the published SDKs' table.

use crate::Network;
use crate::door::Address;
use crate::json::Object;

/// A token on a network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asset {
    /// Where it lives.
    pub network: Network,
    /// Its contract or mint, as the chain's own tools spell it.
    pub address: String,
    /// Its symbol, such as `USDC`.
    pub symbol: String,
    /// Atomic units in a whole one, as a power of ten.
    pub decimals: u8,
    /// Its EIP-712 domain's name and version, on EVM networks.
    pub domain: Option<(String, String)>,
    /// Whether it has EIP-3009's `transferWithAuthorization`.
    pub eip3009: bool,
}

impl Asset {
    /// Whether this is the token at `address`.
    #[must_use]
    pub fn is(&self, network: &Network, address: &str) -> bool {
        self.network == *network
            && match (Address::on(network, &self.address), Address::on(network, address)) {
                (Ok(a), Ok(b)) => a == b,
                _ => false,
            }
    }

    /// A token that only its seller knows, described by an offer's `extra`; its decimals are not
    /// known, so only atomic prices fit it.
    #[must_use]
    pub fn described(network: &Network, address: &str, extra: &Object) -> Option<Self> {
        let domain = (extra.str("name")?.to_owned(), extra.str("version")?.to_owned());
        Some(Self {
            network: network.clone(),
            address: address.to_owned(),
            symbol: domain.0.clone(),
            decimals: 0,
            domain: Some(domain),
            eip3009: true,
        })
    }
}

/// The asset with this symbol on `network`, or the network's default one; `more` comes first.
#[must_use]
pub fn find(network: &Network, symbol: Option<&str>, more: &[Asset]) -> Option<Asset> {
    on(network, more).find(|asset| symbol.is_none_or(|symbol| symbol == asset.symbol))
}

/// The asset at this address on `network`; `more` comes first.
#[must_use]
pub fn at(network: &Network, address: &str, more: &[Asset]) -> Option<Asset> {
    on(network, more).find(|asset| asset.is(network, address))
}

/// Every asset known on `network`; `more` comes first.
pub fn on<'a>(network: &'a Network, more: &'a [Asset]) -> impl Iterator<Item = Asset> + 'a {
    more.iter().filter(move |asset| asset.network == *network).cloned().chain(
        EVM.iter()
            .filter(move |row| network.chain_id() == Some(row.0))
            .map(move |row| row.asset(network))
            .chain(SOLANA.iter().filter(move |row| row.0 == network.as_str()).map(move |row| Asset {
                network: network.clone(),
                address: row.1.to_owned(),
                symbol: row.2.to_owned(),
                decimals: 6,
                domain: None,
                eip3009: false,
            })),
    )
}

/// Chain id, address, symbol, decimals, EIP-712 name and version, whether EIP-3009 works.
struct Row(u64, &'static str, &'static str, u8, &'static str, &'static str, bool);

impl Row {
    fn asset(&self, network: &Network) -> Asset {
        Asset {
            network: network.clone(),
            address: self.1.to_owned(),
            symbol: self.2.to_owned(),
            decimals: self.3,
            domain: Some((self.4.to_owned(), self.5.to_owned())),
            eip3009: self.6,
        }
    }
}

#[rustfmt::skip]
const EVM: &[Row] = &[
    Row(8453, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USDC", 6, "USD Coin", "2", true),
    Row(84532, "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC", 6, "USDC", "2", true),
    Row(1, "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC", 6, "USD Coin", "2", true),
    Row(43114, "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E", "USDC", 6, "USD Coin", "2", true),
    Row(4326, "0xFAfDdbb3FC7688494971a79cc65DCa3EF82079E7", "MegaUSD", 18, "MegaUSD", "1", false),
    Row(143, "0x754704Bc059F8C67012fEd69BC8A327a5aafb603", "USDC", 6, "USDC", "2", true),
    Row(10143, "0x534b2f3A21130d7a60830c2Df862319e593943A3", "USDC", 6, "USDC", "2", true),
    Row(988, "0x779Ded0c9e1022225f8E0630b35a9b54bE713736", "USDT0", 6, "USDT0", "1", true),
    Row(2201, "0x78Cf24370174180738C5B8E352B6D14c83a6c9A9", "USDT0", 6, "USDT0", "1", true),
    Row(137, "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USDC", 6, "USD Coin", "2", true),
    Row(42161, "0xaf88d065e77c8cC2239327C5EDb3A432268e5831", "USDC", 6, "USD Coin", "2", true),
    Row(421614, "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d", "USDC", 6, "USD Coin", "2", true),
    Row(31612, "0xdD468A1DDc392dcdbEf6db6e34E89AA338F9F186", "mUSD", 18, "Mezo USD", "1", false),
    Row(31611, "0x118917a40FAF1CD7a13dB0Ef56C86De7973Ac503", "mUSD", 18, "Mezo USD", "1", false),
    Row(723487, "0x33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb", "SBC", 6, "Stable Coin", "1", false),
    Row(72344, "0x33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb", "SBC", 6, "Stable Coin", "1", false),
    Row(36900, "0x9cb8142aEBBcdc60AF7c97Af897A67A8f3CA71C2", "USDC.e", 6, "USDC.e", "2", true),
    Row(190415, "0x401eCb1D350407f13ba348573E5630B83638E30D", "USDC.e", 6, "Bridged USDC", "2", true),
    Row(181228, "0x401eCb1D350407f13ba348573E5630B83638E30D", "USDC.e", 6, "Bridged USDC", "2", true),
    Row(50, "0xfA2958CB79b0491CC627c1557F441eF849Ca8eb1", "USDC", 6, "USDC", "2", true),
    Row(51, "0xb5AB69F7bBada22B28e79C8FFAECe55eF1c771D4", "USDC", 6, "USDC", "2", true),
    Row(38833, "0xA5b8BF902b2844dA17d4506cc827F7F1681735E7", "USDC", 6, "USDC", "1", false),
    Row(14, "0xe7cd86e13AC4309349F30B3435a9d337750fC82D", "USDT0", 6, "USD\u{20AE}0", "1", true),
    Row(42220, "0xcebA9300f2b948710d2653dD7B07f33A8B32118C", "USDC", 6, "USDC", "2", true),
    Row(42220, "0x48065fbBE25f71C9282ddf5e1cD6D6A887483D5e", "USDT", 6, "Tether USD", "1", true),
    Row(42220, "0xD2ab3C9A02DBBAB236BfEC45D1d755DF4267F771", "USAT", 6, "Tether America USD", "1", true),
    Row(11142220, "0x01C5C0122039549AD1493B8220cABEdD739BC44E", "USDC", 6, "USDC", "2", true),
    Row(1329, "0xe15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392", "USDC", 6, "USDC", "2", true),
    Row(1328, "0x4fCF1784B31630811181f670Aea7A7bEF803eaED", "USDC", 6, "USDC", "2", true),
    Row(5042, "0x3600000000000000000000000000000000000000", "USDC", 6, "USDC", "2", true),
    Row(5042002, "0x3600000000000000000000000000000000000000", "USDC", 6, "USDC", "2", true),
];

#[rustfmt::skip]
const SOLANA: &[(&str, &str, &str)] = &[
    ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", "USDC"),
    ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB", "USDT"),
    ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "2u1tszSeqZ3qBWF3uNGPFc8TzMk2tdiwknnRMWGWjGWH", "USDG"),
    ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo", "PYUSD"),
    ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "CASHx9KJUStyftLFWGvEVf59SGeG9sh5FfcnZMVPCASH", "CASH"),
    ("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", "USDC"),
    ("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "4F6PM96JJxngmHnZLBh9n58RH4aTVNWvDs2nuwrT5BP7", "USDG"),
    ("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM", "PYUSD"),
    ("solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z", "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", "USDC"),
    ("solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z", "4F6PM96JJxngmHnZLBh9n58RH4aTVNWvDs2nuwrT5BP7", "USDG"),
    ("solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z", "CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM", "PYUSD"),
];
