//! The payer's side: a delegation that was made elsewhere is shown for an offer.

use std::sync::Arc;

use alloy_primitives::Address;
use async_trait::async_trait;
use tollway_protocol::Network;
use tollway_protocol::bind::Window;
use tollway_protocol::door::{self, UnixTime};
use tollway_protocol::scheme::{PayerScheme, SignError, Signed};
use tollway_protocol::wire::Offer;

use super::{Delegation, METHOD};
use crate::exact::SCHEME;

/// A delegation for one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// What is shown to the seller.
    pub delegation: Delegation,
    /// The first second at which the delegation is not good any more, by its own caveats: a policy holds it to the
    /// offer's time like any other payment.
    pub ends: UnixTime,
}

type Source = Arc<dyn Fn(&Offer) -> Option<Granted> + Send + Sync>;

/// `exact` by ERC-7710, paid from one account's delegations.
///
/// Making a delegation is a wallet's work, and what it permits can't be read from it: `grant` answers for it that it is
/// good for the offer's transfer, once, and for nothing more.
#[derive(Clone)]
pub struct DelegatedPayer {
    network: Network,
    delegator: Address,
    grant: Source,
}

impl DelegatedPayer {
    /// Pays on `network` from `delegator` with what `grant` gives for an offer; it is asked once for each payment.
    #[must_use]
    pub fn new(
        network: Network,
        delegator: Address,
        grant: impl Fn(&Offer) -> Option<Granted> + Send + Sync + 'static,
    ) -> Self {
        Self { network, delegator, grant: Arc::new(grant) }
    }
}

#[async_trait]
impl PayerScheme for DelegatedPayer {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn methods(&self) -> &[&str] {
        &[METHOD]
    }

    fn payer(&self, network: &Network) -> Option<door::Address> {
        let served = *network == self.network && network.chain_id().is_some();
        served.then(|| door::Address::on(network, &self.delegator.to_string()).ok()).flatten()
    }

    fn check(&self, offer: &Offer) -> Result<(), SignError> {
        let wrong = |message: &str| Err(SignError::Offer(message.to_owned()));
        if offer.scheme != SCHEME || self.payer(&offer.network).is_none() {
            return wrong("this wallet does not pay that scheme on that network");
        }
        if offer.extra.str("assetTransferMethod") != Some(METHOD) {
            return wrong("its assetTransferMethod is not erc7710");
        }
        for text in [&offer.asset, &offer.pay_to] {
            door::hex_array::<20>(text).map_err(|error| SignError::Offer(error.to_string()))?;
        }
        Ok(())
    }

    async fn sign(&self, offer: &Offer, _: UnixTime, _: [u8; 32]) -> Result<Signed, SignError> {
        self.check(offer)?;
        let none = || SignError::Signer("there is no delegation for this offer".to_owned());
        let Granted { delegation, ends } = (self.grant)(offer).ok_or_else(none)?;
        if delegation.delegator != self.delegator {
            return Err(SignError::Signer("the delegation is another account's".to_owned()));
        }
        let mut effects = delegation.effects_for(offer).map_err(|e| SignError::Offer(e.to_string()))?;
        effects.window = Window { opens: UnixTime(0), closes: ends };
        let payload = delegation.payload().map_err(|e| SignError::Signer(e.to_string()))?;
        Ok(Signed { payload, effects })
    }
}
