//! The seller's side: a price becomes an offer, and a payment is decoded.

use tollway_protocol::assets::{self, Asset};
use tollway_protocol::bind::{Effects, Presented};
use tollway_protocol::door::{Address, Amount};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{Ask, AskError, SellerScheme};
use tollway_protocol::wire::{Kind, Offer};
use tollway_protocol::{Network, Refusal};

use crate::exact::authorization::METHOD;
use crate::exact::{ExactPayload, SCHEME};
use crate::{delegation, permit2};

/// `exact` on every EVM network, for sellers.
///
/// ```
/// use tollway_evm::ExactSeller;
/// use tollway_protocol::{Network, money::Money, scheme::{Ask, SellerScheme}};
///
/// let ask = Ask {
///     network: Network::named("base").unwrap(),
///     price: Money::new("$0.01")?.into(),
///     pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".into(),
///     max_timeout_seconds: 300,
///     extra: Default::default(),
/// };
/// let kind = serde_json::from_str(r#"{"x402Version":2,"scheme":"exact","network":"eip155:8453"}"#)?;
/// let offer = ExactSeller::new().offer(&ask, &kind)?;
/// assert_eq!(offer.amount.to_string(), "10000");
/// assert_eq!(offer.extra.str("name"), Some("USD Coin"));
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
}

impl SellerScheme for ExactSeller {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn supports(&self, network: &Network) -> bool {
        network.chain_id().is_some()
    }

    fn offer(&self, ask: &Ask, kind: &Kind) -> Result<Offer, AskError> {
        let (asset, amount) = ask.price.resolve(&ask.network, &self.assets)?;
        let asked = ask.extra.str("assetTransferMethod");
        let method = asked.or_else(|| (!asset.eip3009).then_some(permit2::METHOD));
        match method {
            None | Some(METHOD) if !asset.eip3009 => Err(AskError::Incomplete(format!(
                "{} on {} has no transferWithAuthorization: ask for transfer method permit2",
                asset.symbol, ask.network
            ))),
            None | Some(METHOD) if asset.domain.is_none() => {
                Err(AskError::Incomplete(format!("{} has no EIP-712 name and version", asset.address)))
            }
            None | Some(METHOD | permit2::METHOD | delegation::METHOD) => {
                offered(SCHEME, ask, kind, asset, amount, method)
            }
            Some(other) => Err(AskError::Incomplete(format!(
                "assetTransferMethod `{other}` is none of eip3009, permit2 and erc7710"
            ))),
        }
    }

    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        ExactPayload::effects(presented).map(|(_, effects)| effects)
    }

    fn extensions(&self, offer: &Offer, supported: &[String]) -> Object {
        let by_permit2 = offer.extra.str("assetTransferMethod") == Some(permit2::METHOD);
        if by_permit2 { permit2::declared(supported) } else { Object::new() }
    }
}

/// An offer of `ask`, by `method` where it is to be named.
pub(crate) fn offered(
    scheme: &str,
    ask: &Ask,
    kind: &Kind,
    asset: Asset,
    amount: Amount,
    method: Option<&str>,
) -> Result<Offer, AskError> {
    Address::on(&ask.network, &ask.pay_to).map_err(AskError::PayTo)?;
    let mut extra = Object::new();
    if let Some((name, version)) = asset.domain {
        extra = extra.with("name", name).with("version", version);
    }
    for more in [&kind.extra, &ask.extra] {
        extra.0.extend(more.0.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    if let Some(method) = method {
        extra = extra.with("assetTransferMethod", method);
    }
    Ok(Offer {
        scheme: scheme.to_owned(),
        network: ask.network.clone(),
        amount,
        asset: asset.address,
        pay_to: ask.pay_to.clone(),
        max_timeout_seconds: ask.max_timeout_seconds,
        extra,
        unknown: Object::new(),
    })
}

/// The asset of an offer, with the domain from our table when it is known there, and otherwise as
/// the offer describes it.
///
/// # Errors
/// What the offer says differently from the table, or lacks.
pub fn offer_asset(offer: &Offer, more: &[Asset]) -> Result<Asset, String> {
    let (name, version) = (offer.extra.str("name"), offer.extra.str("version"));
    let Some(asset) = assets::at(&offer.network, &offer.asset, more) else {
        return Asset::described(&offer.network, &offer.asset, &offer.extra)
            .ok_or_else(|| "extra has no EIP-712 name and version, and the asset is not known".to_owned());
    };
    match &asset.domain {
        Some((known, _)) if name.is_some_and(|name| name != known) => {
            Err(format!("extra.name is not {known:?}, the token's EIP-712 name"))
        }
        Some((_, known)) if version.is_some_and(|version| version != known) => {
            Err(format!("extra.version is not {known:?}, the token's EIP-712 version"))
        }
        _ => Ok(asset),
    }
}
