//! Which offer is paid: the cheapest that the wallet can pay and the policy allows.

use std::sync::Arc;

use tollway_protocol::door::Address;
use tollway_protocol::scheme::{PayerScheme, SignError};
use tollway_protocol::{Network, Offer};

use crate::asked::Asked;
use crate::origin::Purchase;
use crate::policy::{Policy, PolicyError, Worth};
use crate::text;
use crate::wallet::Wallet;

/// Why an offer is not paid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Unreadable(String),
    /// The wallet has no account for it.
    #[error("the wallet has no account for {scheme} on {network}")]
    NoAccount {
        /// The offer's.
        scheme: String,
        /// The offer's.
        network: Network,
    },
    /// Its flow takes the money before the answer is there, or is unknown.
    #[error("payment flow {0} is not supported: only authorization is")]
    Flow(String),
    /// Its transfer method is not one that can be signed.
    #[error("transfer method {0} is not one that the wallet signs")]
    TransferMethod(String),
    /// The policy refuses it.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The mechanism can't sign it.
    #[error(transparent)]
    Scheme(#[from] SignError),
}

impl Unfit {
    /// How a program changes that, if it can.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Policy(refused) => Some(refused.hint()),
            _ => None,
        }
    }
}

/// An offer that is not paid, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in `accepts`, from 0.
    pub index: usize,
    /// Why.
    pub why: Unfit,
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "offer {}: {}", self.index.saturating_add(1), self.why)
    }
}

/// What would be paid, and why not the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The offer, as it was given.
    pub offer: Offer,
    /// Its place in `accepts`, from 0.
    pub index: usize,
    /// What it costs, by our own table.
    pub worth: Worth,
    /// Who would pay.
    pub payer: Address,
    /// The offers that can't be paid.
    pub rejected: Vec<Rejected>,
    pub(crate) v1_network: Option<String>,
    /// The resource that the offer is for, in the seller's words.
    pub(crate) named: String,
}

/// The addresses paid before, by network.
pub(crate) type Pins<'a> = &'a dyn Fn(&Network) -> Vec<String>;

/// Chooses an offer.
///
/// # Errors
/// Every offer with its reason.
pub(crate) fn choose(
    asked: &Asked,
    purchase: &Purchase,
    wallet: &Wallet,
    policy: &Policy,
    pins: Pins<'_>,
) -> Result<(Plan, Arc<dyn PayerScheme>), Vec<Rejected>> {
    let mut rejected = Vec::new();
    let mut best: Option<(Plan, Arc<dyn PayerScheme>)> = None;
    for (index, listed) in asked.listed.iter().enumerate() {
        let fit = listed.offer.as_ref().map_err(|why| Unfit::Unreadable(why.clone())).and_then(|offer| {
            let (scheme, payer, worth) = fit(offer, &listed.resource, purchase, wallet, policy, pins)?;
            Ok((offer, scheme, payer, worth))
        });
        match fit {
            Err(why) => rejected.push(Rejected { index, why }),
            // Strictly cheaper: among equals the seller's order decides.
            Ok((offer, scheme, payer, worth))
                if best.as_ref().is_none_or(|(plan, _)| worth.value < plan.worth.value) =>
            {
                let plan = Plan {
                    offer: offer.clone(),
                    index,
                    worth,
                    payer,
                    rejected: Vec::new(),
                    v1_network: listed.v1_network.clone(),
                    named: listed.resource.clone(),
                };
                best = Some((plan, scheme));
            }
            Ok(_) => {}
        }
    }
    match best {
        Some((plan, scheme)) => Ok((Plan { rejected, ..plan }, scheme)),
        None => Err(rejected),
    }
}

fn fit(
    offer: &Offer,
    named: &str,
    purchase: &Purchase,
    wallet: &Wallet,
    policy: &Policy,
    pins: Pins<'_>,
) -> Result<(Arc<dyn PayerScheme>, Address, Worth), Unfit> {
    let member = |name: &str| offer.extra.get(name).or_else(|| offer.unknown.get(name));
    let shown = |value: &serde_json::Value| text::name(value.as_str().unwrap_or(&value.to_string()));
    if let Some(flow) = member("paymentFlow").filter(|flow| flow.as_str() != Some("authorization")) {
        return Err(Unfit::Flow(shown(flow)));
    }
    let method = member("assetTransferMethod");
    if let Some(method) = method
        && method.as_str().is_none_or(|method| method != "eip3009" && wallet.lacks(offer, method))
    {
        return Err(Unfit::TransferMethod(shown(method)));
    }
    let method = method.and_then(serde_json::Value::as_str);
    for (member, text) in [("asset", &offer.asset), ("payTo", &offer.pay_to)] {
        Address::on(&offer.network, text).map_err(|error| Unfit::Unreadable(format!("{member}: {error}")))?;
    }
    let worth = policy.judge(purchase, named, offer)?;
    policy.recipient(purchase.origin().as_str(), &offer.network, &offer.pay_to, &pins(&offer.network))?;
    let no_account =
        || Unfit::NoAccount { scheme: text::name(&offer.scheme), network: offer.network.clone() };
    let (scheme, payer) = wallet.payer(offer, method).ok_or_else(no_account)?;
    policy.lives(&offer.network, scheme.lives(offer))?;
    scheme.check(offer)?;
    Ok((Arc::clone(scheme), payer, worth))
}
