//! The accounts that pay: one on EVM networks, one on Solana.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollway_evm::keys::Key;
use tollway_evm::permit2::{RpcReader, Sponsoring};
use tollway_evm::{ExactPayer, UptoPayer};
use tollway_payer::Wallet;
use tollway_protocol::{Network, door};
use tollway_svm::keys as solana;

use super::PayArgs;
use super::solana::OnSolana;
use crate::exit::Failure;
use crate::{home, secrets};

/// The keys to pay with.
pub(super) struct Accounts {
    evm: Option<Key>,
    solana: Option<solana::Key>,
    /// They were made up for a dry run: they sign nothing and are forgotten.
    is_made_up: bool,
}

impl Accounts {
    /// Keys of the environment come before those in keystores. A dry run opens no keystore, and no key at all is needed
    /// for what is free.
    pub(super) fn open(args: &PayArgs) -> Result<Self, Failure> {
        if let Some(path) = &args.keystore
            && !args.dry_run
        {
            return Self::stored(args, path, true);
        }
        let (evm, solana) = (secrets::key_from_env()?, secrets::solana_key_from_env()?);
        if evm.is_some() || solana.is_some() {
            return Ok(Self { evm, solana, is_made_up: false });
        }
        let path = args.keystore.clone().map_or_else(home::keystore, Ok::<PathBuf, Failure>);
        if !args.dry_run {
            return path.map_or_else(|_| Ok(Self::none()), |path| Self::stored(args, &path, false));
        }
        Self::made_up(path.ok().as_deref())
    }

    fn none() -> Self {
        Self { evm: None, solana: None, is_made_up: false }
    }

    /// What is in the keystores, of which only those are opened that may pay here. One passphrase opens both.
    fn stored(args: &PayArgs, path: &Path, is_named: bool) -> Result<Self, Failure> {
        let beside = home::solana_beside(path);
        let (has_evm, has_solana) = (path.is_file(), beside.is_file());
        // A file that was named and is not there is an error.
        let wants_evm = (has_evm || (is_named && !has_solana)) && may_pay(args, "eip155");
        let wants_solana = has_solana && may_pay(args, "solana");
        if !wants_evm && !wants_solana {
            return Ok(Self::none());
        }
        let passphrase = secrets::passphrase(&format!("Passphrase of {}: ", path.display()))?;
        let evm = wants_evm.then(|| secrets::open(path, &passphrase)).transpose()?;
        let solana = wants_solana.then(|| secrets::open_solana(&beside, &passphrase)).transpose()?;
        Ok(Self { evm, solana, is_made_up: false })
    }

    /// A dry run shows what somebody would pay who has accounts of these kinds.
    fn made_up(path: Option<&Path>) -> Result<Self, Failure> {
        let has_evm = path.is_some_and(Path::is_file);
        let has_solana = path.map(home::solana_beside).is_some_and(|path| path.is_file());
        let has_none = !has_evm && !has_solana;
        let evm = (has_evm || has_none).then(secrets::fresh).transpose()?;
        let solana = (has_solana || has_none).then(secrets::fresh_solana).transpose()?;
        Ok(Self { evm, solana: solana.map(|(key, _)| key), is_made_up: true })
    }

    /// Whether somebody would pay on a network of this family.
    pub(super) fn has(&self, network: &Network) -> bool {
        !self.is_made_up
            && match network.namespace() {
                "solana" => self.solana.is_some(),
                _ => self.evm.is_some(),
            }
    }

    /// The only account there is.
    pub(super) fn only(&self) -> Option<String> {
        match (&self.evm, &self.solana) {
            _ if self.is_made_up => None,
            (Some(key), None) => Some(key.address().to_string()),
            (None, Some(key)) => Some(key.address().to_string()),
            _ => None,
        }
    }

    /// An account of ours, as it is written; none that was made up.
    pub(super) fn name(&self, payer: &door::Address) -> Option<String> {
        let evm = self.evm.as_ref().map(|key| key.address().to_string());
        let written = evm.filter(|written| written.eq_ignore_ascii_case(payer.as_str()));
        (!self.is_made_up).then(|| written.unwrap_or_else(|| payer.as_str().to_owned()))
    }

    /// All that these accounts sign.
    pub(super) fn wallet(&self, args: &PayArgs) -> Result<Wallet, Failure> {
        let mut wallet = Wallet::new();
        if let Some(key) = &self.evm {
            let (exact, upto) = (ExactPayer::new(key.clone()), UptoPayer::new(key.clone()));
            wallet = match sponsoring(args)? {
                None => wallet.with(exact).with(upto),
                Some(sponsoring) => {
                    wallet.with(exact.sponsored(sponsoring.clone())).with(upto.sponsored(sponsoring))
                }
            };
        }
        if let Some(key) = &self.solana {
            wallet = wallet.with(OnSolana::new(key, args)?);
        }
        Ok(wallet)
    }
}

/// Whether the networks that were asked for have some of this family.
fn may_pay(args: &PayArgs, family: &str) -> bool {
    let is_of = |pattern: &str| pattern.split_once(':').is_some_and(|(namespace, _)| namespace == family);
    args.network.is_empty() || args.network.iter().any(|pattern| is_of(&pattern.to_string()))
}

/// Which of Permit2's allowances may be signed: none without a node to ask.
fn sponsoring(args: &PayArgs) -> Result<Option<Sponsoring>, Failure> {
    let nodes: Vec<_> =
        args.rpc.iter().filter(|(network, _)| network.chain_id().is_some()).cloned().collect();
    if nodes.is_empty() {
        return Ok(None);
    }
    let sponsoring = Sponsoring::new(Arc::new(RpcReader::new(nodes)?));
    let Some(fee) = &args.allow_unlimited_approval else { return Ok(Some(sponsoring)) };
    let wei = u128::try_from(fee.atomic(18)?.get()).unwrap_or(u128::MAX);
    Ok(Some(sponsoring.allow_unlimited_approvals(wei)))
}
