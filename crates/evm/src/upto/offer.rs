//! The seller's side: a ceiling becomes an offer, and a payment is decoded.

use tollway_protocol::assets::Asset;
use tollway_protocol::bind::{Effects, Presented};
use tollway_protocol::door::Address;
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{Ask, AskError, SellerScheme};
use tollway_protocol::wire::{Kind, Offer};
use tollway_protocol::{Network, Refusal};

use super::{FACILITATOR, SCHEME};
use crate::exact::offered;
use crate::permit2::{self, Permit2Payment};

/// `upto` on every EVM network, for sellers: the price is the most that is charged, and the handler says how much of it
/// is.
///
/// ```
/// use tollway_evm::UptoSeller;
/// use tollway_protocol::{Network, money::Money, scheme::{Ask, SellerScheme}};
///
/// let ask = Ask {
///     network: Network::named("base").unwrap(),
///     price: Money::new("$0.50")?.into(),
///     pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".into(),
///     max_timeout_seconds: 300,
///     extra: Default::default(),
/// };
/// let kind = serde_json::from_str(r#"{"x402Version":2,"scheme":"upto","network":"eip155:8453",
///     "extra":{"facilitatorAddress":"0x857b06519E91e3A54538791bDbb0E22373e36b66"}}"#)?;
/// let offer = UptoSeller::new().offer(&ask, &kind)?;
/// assert_eq!(offer.amount.to_string(), "500000");
/// assert_eq!(offer.extra.str("assetTransferMethod"), Some("permit2"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct UptoSeller {
    assets: Vec<Asset>,
}

impl UptoSeller {
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

impl SellerScheme for UptoSeller {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn supports(&self, network: &Network) -> bool {
        network.chain_id().is_some()
    }

    fn offer(&self, ask: &Ask, kind: &Kind) -> Result<Offer, AskError> {
        let (asset, amount) = ask.price.resolve(&ask.network, &self.assets)?;
        let offer = offered(SCHEME, ask, kind, asset, amount, Some(permit2::METHOD))?;
        let facilitator = offer.extra.str(FACILITATOR);
        if facilitator.is_none_or(|text| Address::on(&ask.network, text).is_err()) {
            let message =
                format!("the facilitator does not say its {FACILITATOR} for upto on {}", ask.network);
            return Err(AskError::Incomplete(message));
        }
        Ok(offer)
    }

    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        Permit2Payment::effects(presented).map(|(_, effects)| effects)
    }

    fn extensions(&self, _: &Offer, supported: &[String]) -> Object {
        permit2::declared(supported)
    }
}
