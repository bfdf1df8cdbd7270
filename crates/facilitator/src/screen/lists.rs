//! Allow and deny lists.

use std::collections::BTreeSet;

use tollway_protocol::door::Address;
use tollway_protocol::reason::{Reason, Refusal};
use tollway_protocol::{Network, NetworkPattern};

use super::{Policy, Subject};

/// Which payments are meant: those that match every member that is not empty. A rule without members means all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Accounts that pay. Addresses as they are written on their network; hex in any case.
    pub payer: BTreeSet<String>,
    /// Accounts that are paid.
    pub pay_to: BTreeSet<String>,
    /// Asset contracts.
    pub asset: BTreeSet<String>,
    /// Networks, by id or pattern (`eip155:*`).
    pub network: Vec<NetworkPattern>,
    /// API keys, by name.
    pub key: BTreeSet<String>,
}

/// Allow and deny lists. A payment that a deny rule means is refused; where there are allow rules, so is one that
/// none of them means.
///
/// The refusal does not say which rule it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lists {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
}

/// Hex is written in any case; other alphabets tell the cases apart.
fn canonical(text: String) -> String {
    if text.starts_with("0x") || text.starts_with("0X") { text.to_ascii_lowercase() } else { text }
}

impl Rule {
    fn canonical(self) -> Self {
        let set = |set: BTreeSet<String>| set.into_iter().map(canonical).collect();
        Self { payer: set(self.payer), pay_to: set(self.pay_to), asset: set(self.asset), ..self }
    }

    /// Whether it means the payment. A payment may move more than one thing: a deny rule means it as soon as one
    /// matches, an allow rule only when all do.
    fn means(&self, subject: &Subject, every: bool) -> bool {
        let Subject { offer, effects, caller } = subject;
        let on = |network: &Network, text: &str| Address::on(network, text).ok();
        let payers = std::iter::once(&effects.payer).chain(effects.moves.iter().map(|one| &one.from));
        let (asset, pay_to) = (on(&offer.network, &offer.asset), on(&offer.network, &offer.pay_to));
        let payees = pay_to.iter().chain(effects.moves.iter().map(|one| &one.to));
        let assets = asset.iter().chain(effects.moves.iter().map(|one| &one.asset));
        let key = caller.key.as_deref();
        hits(&self.payer, payers, every)
            && hits(&self.pay_to, payees, every)
            && hits(&self.asset, assets, every)
            && (self.network.is_empty() || self.network.iter().any(|one| one.matches(&effects.network)))
            && (self.key.is_empty() || key.is_some_and(|key| self.key.contains(key)))
    }
}

fn hits<'a>(list: &BTreeSet<String>, mut found: impl Iterator<Item = &'a Address>, every: bool) -> bool {
    let listed = |address: &Address| list.contains(address.as_str());
    list.is_empty() || if every { found.all(listed) } else { found.any(listed) }
}

impl Lists {
    /// Lists by their rules.
    #[must_use]
    pub fn new(allow: impl IntoIterator<Item = Rule>, deny: impl IntoIterator<Item = Rule>) -> Self {
        let rules = |rules: &mut dyn Iterator<Item = Rule>| rules.map(Rule::canonical).collect();
        Self { allow: rules(&mut allow.into_iter()), deny: rules(&mut deny.into_iter()) }
    }

    /// Whether everything is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

impl Policy for Lists {
    fn allows(&self, subject: &Subject) -> Result<(), Refusal> {
        let denied = self.deny.iter().any(|rule| rule.means(subject, false));
        let allowed = self.allow.is_empty() || self.allow.iter().any(|rule| rule.means(subject, true));
        if allowed && !denied {
            return Ok(());
        }
        Err(Refusal::new(Reason::NotAllowed, "this facilitator's operator does not allow this payment"))
    }
}
