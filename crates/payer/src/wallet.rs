//! The accounts that pay.

use std::sync::Arc;

use tollway_protocol::Offer;
use tollway_protocol::door::Address;
use tollway_protocol::scheme::PayerScheme;

/// A set of mechanisms, each with its account.
#[derive(Clone, Default)]
pub struct Wallet {
    schemes: Vec<Arc<dyn PayerScheme>>,
}

impl Wallet {
    /// A wallet that can't pay yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a mechanism; where two could pay an offer, the first one does.
    #[must_use]
    pub fn with(mut self, scheme: impl PayerScheme + 'static) -> Self {
        self.schemes.push(Arc::new(scheme));
        self
    }

    /// Adds a mechanism that is shared.
    #[must_use]
    pub fn with_shared(mut self, scheme: Arc<dyn PayerScheme>) -> Self {
        self.schemes.push(scheme);
        self
    }

    /// The mechanism and account that would pay `offer`.
    pub(crate) fn payer(&self, offer: &Offer) -> Option<(&Arc<dyn PayerScheme>, Address)> {
        self.schemes
            .iter()
            .filter(|scheme| scheme.scheme() == offer.scheme)
            .find_map(|scheme| scheme.payer(&offer.network).map(|account| (scheme, account)))
    }
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.schemes.iter().map(|scheme| scheme.scheme())).finish()
    }
}
