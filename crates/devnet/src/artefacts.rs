//! The compiled contracts of `contracts/out`.

/// One compiled contract.
#[derive(Debug, Clone, Copy)]
pub struct Artefact {
    /// The contract's name.
    pub name: &'static str,
    /// What a transaction that creates it sends, before the constructor's arguments.
    pub creation: &'static [u8],
    /// What is found at its address afterwards. Where the constructor sets immutables they are zero.
    pub runtime: &'static [u8],
    /// The whole artefact, with the ABI, as JSON.
    pub json: &'static str,
}

macro_rules! artefact {
    ($file:literal) => {
        Artefact {
            name: $file,
            creation: include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".creation")),
            runtime: include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".runtime")),
            json: include_str!(concat!("../artefacts/", $file, ".json")),
        }
    };
}

/// A token like Circle's USDC (FiatToken v2.2). `initialize` gives it its name and its minter.
pub const USDC: Artefact = artefact!("Usdc");
/// A stand-in for Multicall3.
pub const MULTICALL3: Artefact = artefact!("Multicall3");
/// A stand-in for Uniswap's Permit2.
pub const PERMIT2: Artefact = artefact!("Permit2");
/// A stand-in for x402ExactPermit2Proxy. It pays through the Permit2 at the canonical address.
pub const EXACT_PERMIT2_PROXY: Artefact = artefact!("X402ExactPermit2Proxy");
/// A stand-in for x402UptoPermit2Proxy. It pays through the Permit2 at the canonical address.
pub const UPTO_PERMIT2_PROXY: Artefact = artefact!("X402UptoPermit2Proxy");

/// A contract wallet with one owner (ERC-1271); its constructor takes the owner.
#[cfg(feature = "test-contracts")]
pub const WALLET_1271: Artefact = artefact!("Wallet1271");
/// Creates wallets at addresses known beforehand, as ERC-6492 needs.
#[cfg(feature = "test-contracts")]
pub const WALLET_FACTORY: Artefact = artefact!("WalletFactory");
/// A USDC that returns in silence for a used authorization, and can leave out the Transfer log.
#[cfg(feature = "test-contracts")]
pub const SILENT_TOKEN: Artefact = artefact!("SilentToken");
/// A USDC that keeps a hundredth of every transfer.
#[cfg(feature = "test-contracts")]
pub const FEE_TOKEN: Artefact = artefact!("FeeToken");
/// A token with nothing but ERC-20, which anyone may mint. Its runtime works without `initialize`.
#[cfg(feature = "test-contracts")]
pub const PLAIN_TOKEN: Artefact = artefact!("PlainToken");
/// A USDC that pays another receiver when `divert` was called; its log tells so or not.
#[cfg(feature = "test-contracts")]
pub const DIVERT_TOKEN: Artefact = artefact!("DivertToken");
/// An ERC-7710 delegation manager; `deploy` makes the wallets that obey it. Its runtime works at any address.
#[cfg(feature = "test-contracts")]
pub const DELEGATION_MANAGER: Artefact = artefact!("DelegationManager");
/// A wallet that obeys a delegation manager; its constructor takes the owner and the manager.
#[cfg(feature = "test-contracts")]
pub const DELEGATOR_WALLET: Artefact = artefact!("DelegatorWallet");
/// A wallet, manager or factory that answers every call by its mood, which is in slot 0 and set by `behave`: 0 yes, 1 no,
/// 2 yes up to the block in slot 1, 3 yes in simulations, 4 burns all gas, 5 returns a megabyte, 6 reverts with one,
/// 7 calls back. Its runtime works at any address.
#[cfg(feature = "test-contracts")]
pub const HOSTILE: Artefact = artefact!("Hostile");
/// A factory that makes a call of its own before it deploys a wallet that says yes to everything, or nothing.
#[cfg(feature = "test-contracts")]
pub const EVIL_FACTORY: Artefact = artefact!("EvilFactory");
