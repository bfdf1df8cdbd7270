//! One network: its node, what is known of it, and whether a payment would settle on it now.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_sol_types::{Revert, SolCall as _, SolError as _, SolEvent as _, SolValue as _};
use tokio::sync::OnceCell;
use tollway_protocol::assets::{self, Asset};
use tollway_protocol::bind::{Effects, Presented};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Dialect, Network, Reason, Refusal, Secret};

use crate::abi::{Eip3009, MULTICALL3, Multicall3};
use crate::exact::{Authorization, Domain};
use crate::facilitator::rpc::{Call, Receipt, Rpc, RpcError};
use crate::signature::Signature;

/// How a network is reached and what is allowed on it.
pub struct ChainConfig {
    /// The network.
    pub network: Network,
    /// The node's URL; may hold credentials, and is never printed.
    pub rpc: Secret<String>,
    /// Assets to settle besides the known ones of this network.
    pub assets: Vec<Asset>,
    /// Blocks, the transaction's own counted, until a settlement counts as final. At least 1.
    pub confirmations: u64,
    /// How often the chain is looked at while a transaction is on its way; about half a block.
    pub poll: Duration,
    /// How long one RPC call may take.
    pub rpc_timeout: Duration,
    /// The most gas that one settlement may use.
    pub gas_cap: u64,
    /// The highest price per gas that is bid, in wei.
    pub max_fee_per_gas: u128,
    /// The most wei that may be bid for gas in 24 hours; `None` is no limit. Counted in this process.
    pub gas_budget_per_day: Option<U256>,
    /// Factories that may deploy a payer's wallet (ERC-6492); none by default.
    pub factories: Vec<Address>,
    /// How many blocks back a payment submitted by someone else is looked for.
    pub log_window: u64,
}

impl ChainConfig {
    /// The defaults for `network`.
    #[must_use]
    pub fn new(network: Network, rpc: Secret<String>) -> Self {
        Self {
            network,
            rpc,
            assets: Vec::new(),
            confirmations: 1,
            poll: Duration::from_millis(500),
            rpc_timeout: Duration::from_secs(8),
            gas_cap: 300_000,
            max_fee_per_gas: 500_000_000_000,
            gas_budget_per_day: None,
            factories: Vec::new(),
            log_window: 5_000,
        }
    }
}

/// The network's configuration can't work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{network}: {problem}")]
pub struct ChainError {
    /// The network.
    pub network: Network,
    /// What is wrong.
    pub problem: String,
}

/// One network.
pub struct Chain {
    pub(crate) config: ChainConfig,
    pub(crate) chain_id: u64,
    pub(crate) rpc: Rpc,
    tokens: HashMap<Address, (Asset, Domain)>,
    facts: OnceCell<Facts>,
    block_time: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Facts {
    multicall: bool,
}

/// A payment, decoded, with what could be told of it without asking the chain.
#[derive(Debug, Clone)]
pub(crate) struct Decoded {
    pub(crate) authorization: Authorization,
    pub(crate) token: Address,
    /// Whether the signature is the payer's own key's.
    pub(crate) by_key: bool,
}

const CALL_GAS: u64 = 5_000_000;

impl Chain {
    /// Prepares to use a network; no I/O yet.
    ///
    /// # Errors
    /// [`ChainError`]: not an EVM network, no usable asset, a bad URL or bound.
    pub fn new(config: ChainConfig) -> Result<Self, ChainError> {
        let wrong =
            |problem: &str| ChainError { network: config.network.clone(), problem: problem.to_owned() };
        let chain_id = config.network.chain_id().ok_or_else(|| wrong("not an eip155 network"))?;
        if config.confirmations == 0 {
            return Err(wrong("confirmations must be at least 1"));
        }
        let mut tokens = HashMap::new();
        for asset in assets::on(&config.network, &config.assets).filter(|asset| asset.eip3009) {
            let address = tollway_protocol::door::hex_array::<20>(&asset.address);
            let address = address.map_err(|e| wrong(&format!("asset {}: {e}", asset.address)))?;
            let domain = Domain::of(&asset)
                .ok_or_else(|| wrong(&format!("asset {}: no EIP-712 name and version", asset.address)))?;
            tokens.entry(Address::from(address)).or_insert((asset, domain));
        }
        if tokens.is_empty() {
            return Err(wrong("no asset with EIP-3009 is known here: configure one"));
        }
        let rpc = Rpc::connect(&config.rpc, config.rpc_timeout).map_err(wrong)?;
        let (facts, block_time) = (OnceCell::new(), AtomicU64::new(0));
        Ok(Self { chain_id, rpc, tokens, facts, block_time, config })
    }

    /// RPC round trips made so far.
    #[must_use]
    pub fn rpc_trips(&self) -> u64 {
        self.rpc.trips()
    }

    /// The latest time known of `host` and the chain: a block from the future means that our clock is behind.
    pub(crate) fn now(&self, host: UnixTime) -> UnixTime {
        host.max(UnixTime(self.block_time.load(Ordering::Relaxed)))
    }

    pub(crate) fn saw_block_at(&self, timestamp: u64) {
        self.block_time.fetch_max(timestamp, Ordering::Relaxed);
    }

    /// Checks once that the node serves this chain, and what it has.
    async fn facts(&self) -> Result<Facts, RpcError> {
        self.facts
            .get_or_try_init(|| async {
                if self.rpc.chain_id().await? != self.chain_id {
                    return Err(RpcError::Unreachable("it serves another chain than configured"));
                }
                let multicall = !self.rpc.code(MULTICALL3).await?.is_empty();
                self.check_domains().await?;
                Ok(Facts { multicall })
            })
            .await
            .copied()
    }

    /// Says in the log which tokens have another domain than our table: no signature for them can settle.
    async fn check_domains(&self) -> Result<(), RpcError> {
        for (address, (asset, domain)) in &self.tokens {
            let input = Eip3009::DOMAIN_SEPARATORCall {}.abi_encode().into();
            let call = Call { from: None, to: *address, input, gas: Some(U64::from(CALL_GAS)) };
            match self.rpc.call(&call).await {
                Ok(bytes) if bytes.len() == 32 && bytes[..] != domain.0[..] => tracing::warn!(
                    network = %self.config.network, asset = asset.address,
                    "the token's EIP-712 domain is not the configured name and version: payments in it will fail"
                ),
                Err(error @ RpcError::Unreachable(_)) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Decodes a payment, and refuses what needs no chain to refuse.
    pub(crate) fn decode(&self, presented: &Presented) -> Result<(Decoded, Effects), Refusal> {
        let (authorization, effects) = Authorization::effects(presented)?;
        let token = Address::from(
            tollway_protocol::door::hex_array::<20>(&presented.offer().asset)
                .map_err(|e| effects.refuse(Reason::InvalidOffer, format!("asset: {e}")))?,
        );
        let Some((asset, domain)) = self.tokens.get(&token) else {
            return Err(effects.refuse(
                Reason::AssetNotAllowed,
                format!("asset {token} is not settled on {}", self.config.network),
            ));
        };
        same_domain(presented, asset).map_err(|(reason, message)| effects.refuse(reason, message))?;
        if let Signature::Undeployed { factory, .. } = &authorization.signature
            && !self.config.factories.contains(factory)
        {
            return Err(effects
                .refuse(Reason::FactoryNotAllowed, format!("wallet factory {factory} is not allowed here")));
        }
        let digest = Authorization::digest(&authorization.transfer, *domain);
        let by_key = authorization.signature.recover(&digest) == Some(authorization.transfer.from);
        Ok((Decoded { authorization, token, by_key }, effects))
    }

    /// Asks the chain, in one round trip, whether the payment would settle now.
    pub(crate) async fn verify(&self, payment: &Decoded, effects: &Effects) -> Result<(), Refusal> {
        let unreachable = |error: RpcError| effects.refuse(Reason::ChainUnreachable, error.to_string());
        if self.facts().await.map_err(unreachable)?.multicall {
            self.verify_by_multicall(payment, effects).await
        } else if matches!(payment.authorization.signature, Signature::Undeployed { .. }) {
            Err(effects.refuse(Reason::FactoryNotAllowed, "undeployed wallets need Multicall3 on this chain"))
        } else {
            let (to, input) = payment.transfer_call();
            match self.rpc.call(&Call { from: None, to, input, gas: Some(U64::from(CALL_GAS)) }).await {
                Ok(_) => Ok(()),
                Err(RpcError::Refused { message, .. }) => {
                    Err(effects.refuse(Reason::SimulationFailed, message))
                }
                Err(error) => Err(unreachable(error)),
            }
        }
    }

    async fn verify_by_multicall(&self, payment: &Decoded, effects: &Effects) -> Result<(), Refusal> {
        let transfer = &payment.authorization.transfer;
        let call =
            |target, data: Vec<u8>| Multicall3::Call3 { target, allowFailure: true, callData: data.into() };
        let state = Eip3009::authorizationStateCall { authorizer: transfer.from, nonce: transfer.nonce };
        let mut calls = vec![
            call(MULTICALL3, Multicall3::getCurrentBlockTimestampCall {}.abi_encode()),
            call(payment.token, Eip3009::balanceOfCall { account: transfer.from }.abi_encode()),
            call(payment.token, state.abi_encode()),
        ];
        calls.extend(payment.deployment());
        let (target, input) = payment.transfer_call();
        calls.push(call(target, input.to_vec()));
        let input = Multicall3::aggregate3Call { calls }.abi_encode().into();
        let outcome = Call { from: None, to: MULTICALL3, input, gas: Some(U64::from(CALL_GAS)) };
        let unreachable = |error: RpcError| effects.refuse(Reason::ChainUnreachable, error.to_string());
        let bytes = self.rpc.call(&outcome).await.map_err(unreachable)?;
        let results = Multicall3::aggregate3Call::abi_decode_returns(&bytes)
            .map_err(|_| unreachable(RpcError::Unreachable("its answer can't be read")))?;
        let (Some([time, balance, used]), Some(last)) = (results.first_chunk::<3>(), results.last()) else {
            return Err(unreachable(RpcError::Unreachable("its answer can't be read")));
        };
        let word = |result: &Multicall3::Result| {
            result.success.then(|| U256::abi_decode(&result.returnData).ok()).flatten()
        };
        if let Some(time) = word(time) {
            self.saw_block_at(time.saturating_to());
        }
        diagnose(payment, effects, word(balance), word(used), last)
    }

    /// Looks for the transaction by which someone else has submitted the payment: the same transfer, not a
    /// mere use or cancellation of its nonce.
    pub(crate) async fn find_use(&self, payment: &Decoded) -> Result<Option<Receipt>, RpcError> {
        let head: u64 = self.rpc.block().await?.number.to();
        let transfer = &payment.authorization.transfer;
        let topics =
            vec![Eip3009::AuthorizationUsed::SIGNATURE_HASH, transfer.from.into_word(), transfer.nonce];
        let from = head.saturating_sub(self.config.log_window);
        for log in self.rpc.logs(payment.token, topics, from).await? {
            let Some(hash) = log.transaction_hash else { continue };
            if let Some(receipt) = self.rpc.receipt(hash).await?
                && receipt.transaction_hash == hash
                && payment.is_paid_by(&receipt)
            {
                return Ok(Some(receipt));
            }
        }
        Ok(None)
    }

    /// Whether the payment's nonce has been used or cancelled.
    pub(crate) async fn is_used(&self, payment: &Decoded) -> Result<bool, RpcError> {
        let transfer = &payment.authorization.transfer;
        let state = Eip3009::authorizationStateCall { authorizer: transfer.from, nonce: transfer.nonce };
        let input = state.abi_encode().into();
        let bytes = self.rpc.call(&Call { from: None, to: payment.token, input, gas: None }).await?;
        bool::abi_decode(&bytes).map_err(|_| RpcError::Unreachable("its answer can't be read"))
    }

    /// # Errors
    /// What keeps payments from settling.
    pub(crate) async fn ready(&self) -> Result<(), RpcError> {
        self.facts().await?;
        let block = self.rpc.block().await?;
        self.saw_block_at(block.timestamp.to());
        Ok(())
    }
}

fn same_domain(presented: &Presented, asset: &Asset) -> Result<(), (Reason, String)> {
    let extra = &presented.offer().extra;
    let (Some(name), Some(version)) = (extra.str("name"), extra.str("version")) else {
        return Err((Reason::MissingDomain, "extra.name and extra.version are missing".into()));
    };
    match &asset.domain {
        Some((known, _)) if known != name => {
            Err((Reason::DomainName, format!("extra.name is not {known:?}, the token's EIP-712 name")))
        }
        Some((_, known)) if known != version => Err((
            Reason::DomainVersion,
            format!("extra.version is not {known:?}, the token's EIP-712 version"),
        )),
        _ => Ok(()),
    }
}

/// Why a simulated transfer would not settle, the surest reasons first.
fn diagnose(
    payment: &Decoded,
    effects: &Effects,
    balance: Option<U256>,
    used: Option<U256>,
    transfer: &Multicall3::Result,
) -> Result<(), Refusal> {
    let refuse = |reason, message: String| Err(effects.refuse(reason, message));
    let (token, value) = (payment.token, payment.authorization.transfer.value);
    let Some(balance) = balance else {
        return refuse(Reason::AssetNotDeployed, format!("{token} does not answer as a token"));
    };
    match used {
        None => return refuse(Reason::TransferNotSupported, format!("{token} has no authorizationState")),
        Some(used) if !used.is_zero() => {
            return refuse(Reason::AlreadyUsed, "the authorization has been used or cancelled".into());
        }
        Some(_) => {}
    }
    if balance < value {
        return refuse(Reason::InsufficientBalance, format!("the payer has {balance}, {value} is due"));
    }
    if transfer.success {
        return Ok(());
    }
    let told = Revert::abi_decode(&transfer.returnData).map(|revert| revert.reason).unwrap_or_default();
    let told: String = told.chars().filter(|c| !c.is_control()).take(200).collect();
    if payment.by_key {
        let message = if told.is_empty() { "the transfer reverts".to_owned() } else { told };
        refuse(Reason::SimulationFailed, message)
    } else {
        refuse(Reason::BadSignature, format!("the signature is not {}'s: {told}", effects.payer))
    }
}

impl Decoded {
    /// The call that moves the money.
    pub(crate) fn transfer_call(&self) -> (Address, Bytes) {
        let t = &self.authorization.transfer;
        let by_bytes = |signature: Bytes| Eip3009::transferWithAuthorization_1Call {
            from: t.from,
            to: t.to,
            value: t.value,
            validAfter: t.validAfter,
            validBefore: t.validBefore,
            nonce: t.nonce,
            signature,
        };
        let input = match &self.authorization.signature {
            Signature::Ecdsa { r, s, v } => Eip3009::transferWithAuthorization_0Call {
                from: t.from,
                to: t.to,
                value: t.value,
                validAfter: t.validAfter,
                validBefore: t.validBefore,
                nonce: t.nonce,
                v: *v,
                r: *r,
                s: *s,
            }
            .abi_encode(),
            Signature::Contract(bytes) => by_bytes(bytes.clone()).abi_encode(),
            Signature::Undeployed { inner, .. } => by_bytes(inner.clone()).abi_encode(),
        };
        (self.token, input.into())
    }

    /// The call that deploys the payer's wallet; it fails harmlessly when the wallet is there.
    fn deployment(&self) -> Option<Multicall3::Call3> {
        match &self.authorization.signature {
            Signature::Undeployed { factory, data, .. } => {
                Some(Multicall3::Call3 { target: *factory, allowFailure: true, callData: data.clone() })
            }
            _ => None,
        }
    }

    /// The transaction's target and calldata: the transfer alone, or after the wallet's deployment.
    pub(crate) fn submission(&self) -> (Address, Bytes) {
        let (target, data) = self.transfer_call();
        match self.deployment() {
            None => (target, data),
            Some(deploy) => {
                let transfer = Multicall3::Call3 { target, allowFailure: false, callData: data };
                let calls = vec![deploy, transfer];
                (MULTICALL3, Multicall3::aggregate3Call { calls }.abi_encode().into())
            }
        }
    }

    /// Whether a mined transaction contains exactly this payment: the token's `Transfer` of it, and the
    /// `AuthorizationUsed` of its nonce.
    pub(crate) fn is_paid_by(&self, receipt: &Receipt) -> bool {
        let t = &self.authorization.transfer;
        let word = |n: U256| B256::from(n);
        let has = |topics: &[B256], data: &[u8]| {
            receipt.logs.iter().any(|log| {
                log.address == self.token && log.data.topics() == topics && log.data.data[..] == *data
            })
        };
        let moved = [Eip3009::Transfer::SIGNATURE_HASH, t.from.into_word(), t.to.into_word()];
        let used = [Eip3009::AuthorizationUsed::SIGNATURE_HASH, t.from.into_word(), t.nonce];
        receipt.status == U64::from(1) && has(&moved, word(t.value).as_slice()) && has(&used, &[])
    }
}

impl From<RpcError> for Refusal {
    fn from(error: RpcError) -> Self {
        Self::new(Reason::ChainUnreachable, error.to_string()).dialect(Dialect::ExactEvm)
    }
}
