//! The payer's side: an offer becomes a transaction that its fee payer has only to sign.

use std::sync::Arc;

use async_trait::async_trait;
use solana_address::Address;
use tollway_protocol::bind::Window;
use tollway_protocol::door::{self, UnixTime};
use tollway_protocol::scheme::{PayerScheme, SignError, Signed};
use tollway_protocol::wire::Offer;
use tollway_protocol::{Network, NetworkPattern};

use crate::build::{Plan, partially_signed};
use crate::keys::Key;
use crate::layout::{Limits, Transfer};
use crate::payload::{self, effects};
use crate::programs::{self, TOKEN, TOKEN_2022};
use crate::transaction::Transaction;
use crate::{SCHEME, is_solana};

/// A token, as its chain describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mint {
    /// Its program: SPL Token or Token-2022.
    pub program: Address,
    /// Atomic units in a whole one, as a power of ten.
    pub decimals: u8,
}

/// What a payer asks a node, for what the offer does not say.
#[async_trait]
pub trait Reader: Send + Sync {
    /// The token at `mint`.
    ///
    /// # Errors
    /// What went wrong, without the node's URL.
    async fn mint(&self, network: &Network, mint: &Address) -> Result<Mint, String>;

    /// The hash of a recent block.
    ///
    /// # Errors
    /// What went wrong, without the node's URL.
    async fn blockhash(&self, network: &Network) -> Result<[u8; 32], String>;
}

/// For how long a signed payment counts as one that may still be settled, in seconds. It dies with its blockhash, after
/// 150 slots: about one minute, and several when the cluster is slow.
const ALIVE_SECONDS: u64 = 300;

/// `exact` on Solana, paid from one account. It signs nothing but a transfer of the offered amount with a memo, in the
/// account's own associated token account.
#[derive(Clone)]
pub struct ExactPayer {
    key: Key,
    networks: Vec<NetworkPattern>,
    reader: Option<Arc<dyn Reader>>,
}

/// An offer that can be signed.
struct Asked {
    fee_payer: Address,
    pay_to: Address,
    mint: Address,
    amount: u64,
}

impl ExactPayer {
    /// Pays with `key` on every Solana cluster, for offers that say all that is needed: a known token, and a
    /// `recentBlockhash`. [`ExactPayer::reading`] pays the others too.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self { key, networks: Vec::new(), reader: None }
    }

    /// Pays on these networks only.
    #[must_use]
    pub fn on(mut self, networks: Vec<NetworkPattern>) -> Self {
        self.networks = networks;
        self
    }

    /// Asks `reader` for what an offer does not say.
    #[must_use]
    pub fn reading(mut self, reader: Arc<dyn Reader>) -> Self {
        self.reader = Some(reader);
        self
    }

    /// The account.
    #[must_use]
    pub fn address(&self) -> Address {
        self.key.address()
    }

    fn prepare(&self, offer: &Offer) -> Result<Asked, SignError> {
        let wrong = |message: String| SignError::Offer(message);
        if offer.scheme != SCHEME || self.payer(&offer.network).is_none() {
            return Err(wrong(format!("this wallet does not pay {} on {}", offer.scheme, offer.network)));
        }
        let told = |(_, message)| wrong(message);
        let fee_payer = payload::fee_payer(offer).map_err(told)?;
        if fee_payer == self.key.address() {
            return Err(wrong("its fee payer is this wallet's own account".to_owned()));
        }
        payload::memo(offer).map_err(told)?;
        let amount = u64::try_from(offer.amount.get());
        Ok(Asked {
            fee_payer,
            pay_to: payload::member("payTo", &offer.pay_to).map_err(told)?,
            mint: payload::member("asset", &offer.asset).map_err(told)?,
            amount: amount.map_err(|_| wrong("its amount does not fit in 64 bits".to_owned()))?,
        })
    }

    async fn mint(&self, network: &Network, mint: &Address) -> Result<Mint, SignError> {
        if let Some(known) = known(network, mint) {
            return Ok(known);
        }
        let lacking = || SignError::Offer(format!("{mint} is no known token, and there is no node to ask"));
        let reader = self.reader.as_ref().ok_or_else(lacking)?;
        reader.mint(network, mint).await.map_err(SignError::Signer)
    }

    /// Our own node's, where there is one: the blockhash is all that ties a transaction to its cluster, and a seller may
    /// name one of a cluster where the tokens are worth more.
    async fn blockhash(&self, offer: &Offer) -> Result<[u8; 32], SignError> {
        if let Some(reader) = &self.reader {
            return reader.blockhash(&offer.network).await.map_err(SignError::Signer);
        }
        let given = offer.extra.str("recentBlockhash").and_then(|text| programs::address(text).ok());
        let lacking =
            || SignError::Offer("it has no recentBlockhash, and there is no node to ask".to_owned());
        given.map(|hash| hash.to_bytes()).ok_or_else(lacking)
    }
}

/// The tokens whose program and decimals need not be asked for.
fn known(network: &Network, mint: &Address) -> Option<Mint> {
    let asset = tollway_protocol::assets::at(network, &mint.to_string(), &[])?;
    let program = match asset.symbol.as_str() {
        "USDC" | "USDT" => TOKEN,
        "USDG" | "PYUSD" | "CASH" => TOKEN_2022,
        _ => return None,
    };
    Some(Mint { program, decimals: asset.decimals })
}

#[async_trait]
impl PayerScheme for ExactPayer {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn methods(&self) -> &[&str] {
        &[]
    }

    fn payer(&self, network: &Network) -> Option<door::Address> {
        let served = self.networks.is_empty() || self.networks.iter().any(|pattern| pattern.matches(network));
        let address = || door::Address::on(network, &self.key.address().to_string()).ok();
        (is_solana(network) && served).then(address).flatten()
    }

    fn check(&self, offer: &Offer) -> Result<(), SignError> {
        self.prepare(offer).map(drop)
    }

    fn lives(&self, offer: &Offer) -> u64 {
        offer.max_timeout_seconds.max(ALIVE_SECONDS)
    }

    async fn sign(&self, offer: &Offer, now: UnixTime, entropy: [u8; 32]) -> Result<Signed, SignError> {
        let wrong = |message: String| SignError::Offer(message);
        let Asked { fee_payer, pay_to, mint, amount } = self.prepare(offer)?;
        let Mint { program, decimals } = self.mint(&offer.network, &mint).await?;
        let blockhash = self.blockhash(offer).await?;
        // Without the seller's text 16 random bytes tell this payment from the payer's next one.
        let unique = hex::encode(entropy.get(..16).unwrap_or_default());
        let memo = payload::memo(offer).map_err(|(_, message)| wrong(message))?.unwrap_or(&unique);
        let payer = self.key.address();
        let plan = Plan { fee_payer, payer, pay_to, mint, program, decimals, amount, memo, blockhash };
        let message = plan.message();
        let bytes = partially_signed(&message, self.key.sign(&message));
        // What is said of it is read from the very bytes that leave.
        let transaction = Transaction::read(bytes).map_err(|malformed| wrong(malformed.to_string()))?;
        let any = Limits::NONE;
        let transfer = Transfer::read(&transaction, &any).map_err(|(_, message)| wrong(message))?;
        let window = Window { opens: UnixTime(0), closes: now.plus(self.lives(offer)) };
        let effects = effects(&transfer, transaction.message_hash(), offer, window)
            .map_err(|(_, message)| wrong(message))?;
        Ok(Signed { payload: payload::payload(transaction.bytes()), effects })
    }
}
