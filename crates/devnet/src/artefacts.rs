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
