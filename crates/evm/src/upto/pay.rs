//! The payer's side: an offer is signed for at most its amount.

use alloy_primitives::Address;
use async_trait::async_trait;
use tollway_protocol::assets::Asset;
use tollway_protocol::door::{self, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{PayerScheme, SignError, Signed};
use tollway_protocol::wire::Offer;
use tollway_protocol::{Network, NetworkPattern};

use super::{FACILITATOR, SCHEME};
use crate::exact::{offer_asset, payer_on};
use crate::keys::Key;
use crate::permit2::{self, Sponsoring};

/// `upto` on EVM networks, paid from one account. A policy counts the offer's amount: what is charged of it is the
/// seller's to say.
#[derive(Clone)]
pub struct UptoPayer {
    key: Key,
    networks: Vec<NetworkPattern>,
    assets: Vec<Asset>,
    sponsoring: Option<Sponsoring>,
}

impl UptoPayer {
    /// Pays with `key` on every EVM network.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self { key, networks: Vec::new(), assets: Vec::new(), sponsoring: None }
    }

    /// Pays on these networks only.
    #[must_use]
    pub fn on(mut self, networks: Vec<NetworkPattern>) -> Self {
        self.networks = networks;
        self
    }

    /// Knows these assets too.
    #[must_use]
    pub fn with_assets(mut self, assets: Vec<Asset>) -> Self {
        self.assets = assets;
        self
    }

    /// Signs Permit2's allowance where it lacks and the facilitator pays for it.
    #[must_use]
    pub fn sponsored(mut self, sponsoring: Sponsoring) -> Self {
        self.sponsoring = Some(sponsoring);
        self
    }

    /// The account.
    #[must_use]
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// The asset, and who may settle.
    fn prepare(&self, offer: &Offer) -> Result<(Asset, Address), SignError> {
        let wrong = |message: String| SignError::Offer(message);
        if offer.scheme != SCHEME || self.payer(&offer.network).is_none() {
            return Err(wrong(format!("this wallet does not pay {} on {}", offer.scheme, offer.network)));
        }
        if offer.extra.get("assetTransferMethod").is_some() && !permit2::is_asked(offer) {
            return Err(wrong("its assetTransferMethod is not permit2".into()));
        }
        let asset = offer_asset(offer, &self.assets).map_err(wrong)?;
        let address = |member: &str, text: &str| -> Result<Address, SignError> {
            door::hex_array::<20>(text).map(Into::into).map_err(|e| wrong(format!("{member}: {e}")))
        };
        address("payTo", &offer.pay_to)?;
        address("asset", &offer.asset)?;
        let named =
            offer.extra.str(FACILITATOR).ok_or_else(|| wrong(format!("extra.{FACILITATOR} is missing")))?;
        let facilitator = address("extra.facilitatorAddress", named)?;
        if facilitator.is_zero() {
            return Err(wrong("extra.facilitatorAddress is zero: nobody could settle".into()));
        }
        Ok((asset, facilitator))
    }
}

#[async_trait]
impl PayerScheme for UptoPayer {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn methods(&self) -> &[&str] {
        &[permit2::METHOD]
    }

    fn payer(&self, network: &Network) -> Option<door::Address> {
        payer_on(network, &self.networks, &self.key)
    }

    fn check(&self, offer: &Offer) -> Result<(), SignError> {
        self.prepare(offer).map(drop)
    }

    async fn sign(&self, offer: &Offer, now: UnixTime, entropy: [u8; 32]) -> Result<Signed, SignError> {
        let (_, facilitator) = self.prepare(offer)?;
        permit2::sign(&self.key, offer, Some(facilitator), now, entropy)
    }

    async fn extend(&self, offer: &Offer, signed: &Signed, advertised: &Object) -> Result<Object, SignError> {
        let Some(sponsoring) = &self.sponsoring else { return Ok(Object::new()) };
        let (asset, _) = self.prepare(offer)?;
        permit2::extend(&self.key, sponsoring, &asset, offer, signed, advertised).await
    }
}
