//! The payer's side: an offer is signed.

use alloy_primitives::{Address, B256, U256};
use alloy_signer::SignerSync as _;
use async_trait::async_trait;
use tollway_protocol::assets::Asset;
use tollway_protocol::door::{self, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{PayerScheme, SignError, Signed};
use tollway_protocol::wire::Offer;
use tollway_protocol::{Network, NetworkPattern};

use crate::abi::TransferWithAuthorization;
use crate::exact::authorization::{METHOD, effects};
use crate::exact::{Authorization, CLOCK_SKEW_SECONDS, Domain, SCHEME, offer_asset};
use crate::keys::Key;
use crate::permit2::{self, Sponsoring};

/// `exact` on EVM networks, by EIP-3009 and Permit2, paid from one account. It signs nothing but the typed data of
/// offers, unless it is told to pay [`ExactPayer::sponsored`].
#[derive(Clone)]
pub struct ExactPayer {
    key: Key,
    networks: Vec<NetworkPattern>,
    assets: Vec<Asset>,
    sponsoring: Option<Sponsoring>,
}

/// How an offer is signed.
enum Way {
    Eip3009(Domain),
    Permit2(Box<Asset>),
}

impl ExactPayer {
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

    fn prepare(&self, offer: &Offer) -> Result<Way, SignError> {
        let wrong = |message: String| SignError::Offer(message);
        if offer.scheme != SCHEME || self.payer(&offer.network).is_none() {
            return Err(wrong(format!("this wallet does not pay {} on {}", offer.scheme, offer.network)));
        }
        let by_permit2 = permit2::is_asked(offer);
        if !by_permit2 && offer.extra.get("assetTransferMethod").is_some_and(|method| method != METHOD) {
            return Err(wrong("its assetTransferMethod is neither eip3009 nor permit2".into()));
        }
        let asset = offer_asset(offer, &self.assets).map_err(wrong)?;
        let address = |member: &str, text: &str| -> Result<Address, SignError> {
            door::hex_array::<20>(text).map(Into::into).map_err(|e| wrong(format!("{member}: {e}")))
        };
        address("payTo", &offer.pay_to)?;
        address("asset", &offer.asset)?;
        if by_permit2 {
            return Ok(Way::Permit2(Box::new(asset)));
        }
        if !asset.eip3009 {
            return Err(wrong(format!("{} has no transferWithAuthorization", asset.symbol)));
        }
        let domain = Domain::of(&asset).ok_or_else(|| wrong("the asset has no EIP-712 domain".into()))?;
        Ok(Way::Eip3009(domain))
    }

    fn authorize(
        &self,
        offer: &Offer,
        domain: Domain,
        now: UnixTime,
        entropy: [u8; 32],
    ) -> Result<Signed, SignError> {
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

/// The account of `key`, where it pays on `network`.
pub(crate) fn payer_on(network: &Network, only: &[NetworkPattern], key: &Key) -> Option<door::Address> {
    let served = only.is_empty() || only.iter().any(|pattern| pattern.matches(network));
    (network.chain_id().is_some() && served)
        .then(|| door::Address::on(network, &key.address().to_string()).ok())
        .flatten()
}

#[async_trait]
impl PayerScheme for ExactPayer {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn methods(&self) -> &[&str] {
        &[METHOD, permit2::METHOD]
    }

    fn payer(&self, network: &Network) -> Option<door::Address> {
        payer_on(network, &self.networks, &self.key)
    }

    fn check(&self, offer: &Offer) -> Result<(), SignError> {
        self.prepare(offer).map(drop)
    }

    async fn sign(&self, offer: &Offer, now: UnixTime, entropy: [u8; 32]) -> Result<Signed, SignError> {
        match self.prepare(offer)? {
            Way::Eip3009(domain) => self.authorize(offer, domain, now, entropy),
            Way::Permit2(_) => permit2::sign(&self.key, offer, None, now, entropy),
        }
    }

    async fn extend(&self, offer: &Offer, signed: &Signed, advertised: &Object) -> Result<Object, SignError> {
        match (self.prepare(offer)?, &self.sponsoring) {
            (Way::Permit2(asset), Some(sponsoring)) => {
                permit2::extend(&self.key, sponsoring, &asset, offer, signed, advertised).await
            }
            _ => Ok(Object::new()),
        }
    }
}
