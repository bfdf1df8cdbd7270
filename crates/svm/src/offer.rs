//! The seller's side: a price becomes an offer, and a payment is decoded.

use tollway_protocol::assets::{Asset, at};
use tollway_protocol::bind::{Effects, Presented};
use tollway_protocol::door::{Address, Amount};
use tollway_protocol::json::Object;
use tollway_protocol::money::Price;
use tollway_protocol::scheme::{Ask, AskError, SellerScheme};
use tollway_protocol::wire::{Kind, Offer};
use tollway_protocol::{Network, Refusal};

use crate::layout::Limits;
use crate::payload::{self, SvmPayment};
use crate::{SCHEME, is_solana, programs};

/// `exact` on every Solana cluster, for sellers.
///
/// The facilitator's fee payer, which each offer names, comes from its `/supported`. A `memo` in an ask's `extra`, of
/// at most 256 bytes, is written into the payer's transaction, so that it carries the seller's reference.
///
/// ```
/// use tollway_protocol::{Network, money::Money, scheme::{Ask, SellerScheme}};
/// use tollway_svm::ExactSeller;
///
/// let ask = Ask {
///     network: Network::named("solana-devnet").unwrap(),
///     price: Money::new("$0.01")?.into(),
///     pay_to: "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4".into(),
///     max_timeout_seconds: 60,
///     extra: Default::default(),
/// };
/// let kind = serde_json::from_str(
///     r#"{"x402Version":2,"scheme":"exact","network":"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
///         "extra":{"feePayer":"EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd"}}"#,
/// )?;
/// let offer = ExactSeller::new().offer(&ask, &kind)?;
/// assert_eq!(offer.amount.to_string(), "10000");
/// assert_eq!(offer.extra.str("feePayer"), Some("EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ExactSeller {
    assets: Vec<Asset>,
}

impl ExactSeller {
    /// With the known assets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also with these.
    #[must_use]
    pub fn with_assets(assets: Vec<Asset>) -> Self {
        Self { assets }
    }

    /// What is to be paid, in atomic units. A mint that no table knows can be asked for by its address.
    fn resolve(&self, ask: &Ask) -> Result<(String, Amount), AskError> {
        match &ask.price {
            Price::Atomic { asset, amount, .. } if at(&ask.network, asset, &self.assets).is_none() => {
                programs::address(asset).map_err(|_| AskError::UnknownAsset {
                    asset: asset.clone(),
                    network: ask.network.clone(),
                })?;
                Ok((asset.clone(), *amount))
            }
            price => price.resolve(&ask.network, &self.assets).map(|(asset, amount)| (asset.address, amount)),
        }
    }
}

impl SellerScheme for ExactSeller {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn supports(&self, network: &Network) -> bool {
        is_solana(network)
    }

    fn offer(&self, ask: &Ask, kind: &Kind) -> Result<Offer, AskError> {
        let (asset, amount) = self.resolve(ask)?;
        Address::on(&ask.network, &ask.pay_to).map_err(AskError::PayTo)?;
        let mut extra = Object::new();
        for more in [&kind.extra, &ask.extra] {
            extra.0.extend(more.0.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        let offer = Offer {
            scheme: SCHEME.to_owned(),
            network: ask.network.clone(),
            amount,
            asset,
            pay_to: ask.pay_to.clone(),
            max_timeout_seconds: ask.max_timeout_seconds,
            extra,
            unknown: Object::new(),
        };
        let incomplete = |(_, message): (_, String)| AskError::Incomplete(message);
        payload::member("payTo", &offer.pay_to).map_err(incomplete)?;
        payload::fee_payer(&offer)
            .map_err(|(_, why)| AskError::Incomplete(format!("the facilitator's /supported: {why}")))?;
        payload::memo(&offer).map_err(incomplete)?;
        if amount == Amount::ZERO {
            return Err(AskError::Incomplete("an amount of 0 can't be paid".to_owned()));
        }
        if amount > Amount::from(u64::MAX) {
            return Err(AskError::Incomplete("the amount does not fit in 64 bits".to_owned()));
        }
        Ok(offer)
    }

    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        // What a facilitator pays for is its own affair.
        let any = Limits::NONE;
        SvmPayment::effects(presented, &any).map(|(_, effects)| effects)
    }
}
