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

    /// The mechanism and account that would pay `offer` by `method`, when it names one.
    pub(crate) fn payer(
        &self,
        offer: &Offer,
        method: Option<&str>,
    ) -> Option<(&Arc<dyn PayerScheme>, Address)> {
        self.schemes
            .iter()
            .filter(|scheme| signs(scheme, offer, method))
            .find_map(|scheme| scheme.payer(&offer.network).map(|account| (scheme, account)))
    }

    /// Whether there is a mechanism for the offer's scheme, but none that signs `method`.
    pub(crate) fn lacks(&self, offer: &Offer, method: &str) -> bool {
        !self.schemes.iter().any(|scheme| signs(scheme, offer, Some(method)))
    }
}

fn signs(scheme: &Arc<dyn PayerScheme>, offer: &Offer, method: Option<&str>) -> bool {
    scheme.scheme() == offer.scheme && method.is_none_or(|method| scheme.methods().contains(&method))
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.schemes.iter().map(|scheme| scheme.scheme())).finish()
    }
}
