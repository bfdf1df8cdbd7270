//! The payer's side: an offer is signed.

use alloy_primitives::{Address, B256, U256};
use alloy_signer::SignerSync as _;
use async_trait::async_trait;
use tollway_protocol::assets::Asset;
use tollway_protocol::door::{self, UnixTime};
use tollway_protocol::scheme::{PayerScheme, SignError, Signed};
use tollway_protocol::wire::Offer;
use tollway_protocol::{Network, NetworkPattern};

use crate::abi::TransferWithAuthorization;
use crate::exact::authorization::effects;
use crate::exact::{Authorization, CLOCK_SKEW_SECONDS, Domain, SCHEME, offer_asset};
use crate::keys::Key;

/// `exact` on EVM networks, paid from one account. It signs nothing but the typed data of offers.
#[derive(Clone)]
pub struct ExactPayer {
    key: Key,
    networks: Vec<NetworkPattern>,
    assets: Vec<Asset>,
}

impl ExactPayer {
    /// Pays with `key` on every EVM network.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self { key, networks: Vec::new(), assets: Vec::new() }
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

    /// The account.
    #[must_use]
    pub fn address(&self) -> Address {
        self.key.address()
    }

    fn prepare(&self, offer: &Offer) -> Result<Domain, SignError> {
        let wrong = |message: String| SignError::Offer(message);
        if offer.scheme != SCHEME || self.payer(&offer.network).is_none() {
            return Err(wrong(format!("this wallet does not pay {} on {}", offer.scheme, offer.network)));
        }
        if offer.extra.get("assetTransferMethod").is_some_and(|method| method != "eip3009") {
            return Err(wrong("its assetTransferMethod is not eip3009".into()));
        }
        let asset = offer_asset(offer, &self.assets).map_err(wrong)?;
        if !asset.eip3009 {
            return Err(wrong(format!("{} has no transferWithAuthorization", asset.symbol)));
        }
        let address = |member: &str, text: &str| -> Result<Address, SignError> {
            door::hex_array::<20>(text).map(Into::into).map_err(|e| wrong(format!("{member}: {e}")))
        };
        address("payTo", &offer.pay_to)?;
        address("asset", &offer.asset)?;
        Domain::of(&asset).ok_or_else(|| wrong("the asset has no EIP-712 domain".into()))
    }
}

#[async_trait]
impl PayerScheme for ExactPayer {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn payer(&self, network: &Network) -> Option<door::Address> {
        let served = self.networks.is_empty() || self.networks.iter().any(|n| n.matches(network));
        (network.chain_id().is_some() && served)
            .then(|| door::Address::on(network, &self.key.address().to_string()).ok())
            .flatten()
    }

    fn check(&self, offer: &Offer) -> Result<(), SignError> {
        self.prepare(offer).map(drop)
    }

    async fn sign(&self, offer: &Offer, now: UnixTime, entropy: [u8; 32]) -> Result<Signed, SignError> {
        let domain = self.prepare(offer)?;
        let failed = |error: &dyn std::fmt::Display| SignError::Signer(error.to_string());
        let pay_to = door::hex_array::<20>(&offer.pay_to).map_err(|e| SignError::Offer(e.to_string()))?;
        let transfer = TransferWithAuthorization {
            from: self.key.address(),
            to: pay_to.into(),
            value: offer.amount.get(),
            validAfter: U256::from(now.minus(CLOCK_SKEW_SECONDS).0),
            validBefore: U256::from(now.plus(offer.max_timeout_seconds).0),
            nonce: B256::from(entropy),
        };
        let digest = Authorization::digest(&transfer, domain);
        let signature = self.key.signer().sign_hash_sync(&digest).map_err(|e| failed(&e))?;
        Ok(Signed {
            payload: Authorization::payload(&transfer, &signature.as_bytes()).map_err(|e| failed(&e))?,
            effects: effects(&transfer, &offer.network, &offer.asset)
                .map_err(|e| SignError::Offer(e.to_string()))?,
        })
    }
}
