//! The contracts that x402 payments need, at the addresses where clients look for them.

use alloy_primitives::{Address, Bytes, U256, address, hex};
use alloy_sol_types::{SolCall as _, sol};

use super::{Chain, RpcError};
use crate::artefacts;

/// Where Multicall3 is on every chain.
pub const MULTICALL3: Address = address!("cA11bde05977b3631167028862bE2a173976CA11");
/// Where Permit2 is on every chain.
pub const PERMIT2: Address = address!("000000000022D473030F116dDEE9F6B43aC78BA3");
/// Where the x402 proxy for Permit2 that pays exact amounts is on every chain.
pub const EXACT_PERMIT2_PROXY: Address = address!("402085c248EeA27D92E8b30b2C58ed07f9E20001");
/// Where the x402 proxy for Permit2 that pays up to an amount is on every chain.
pub const UPTO_PERMIT2_PROXY: Address = address!("4020A4f3b7b90ccA423B9fabCc0CE57C6C240002");
/// Where the deterministic deployment proxy is on every chain.
pub const CREATE2_DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
/// The account with every role of a token that was deployed here. Nobody has its key.
pub const MINTER: Address = address!("746f6c6c7761790000000000000000006d696e74");

const CREATE2_RUNTIME: [u8; 69] = hex!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd"
    "5b8082525050506014600cf3"
);
/// 100 ether.
const FUNDS: u128 = 100_000_000_000_000_000_000;

sol! {
    function initialize(string name, string symbol, string currency, uint8 decimals, address minter) external;
    function mint(address to, uint256 amount) external returns (bool);
    function configureMinter(address minter, uint256 allowance) external returns (bool);
    function masterMinter() external view returns (address);
    function minterAllowance(address minter) external view returns (uint256);
}

/// A token like USDC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Where it is.
    pub address: Address,
    /// Also the name in its EIP-712 domain, whose version is "2".
    pub name: String,
    /// Its ticker.
    pub symbol: String,
    /// How many decimal digits of the amounts are fractions.
    pub decimals: u8,
}

/// What is on a chain before its first transaction: Multicall3, Permit2, the two x402 proxies for it, the CREATE2 deployer
/// and a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Of the chain that it is for.
    pub chain_id: u64,
    /// The token that payments are in.
    pub usdc: Token,
}

impl Genesis {
    /// As on Base Sepolia, the test network that x402 clients know.
    #[must_use]
    pub fn base_sepolia() -> Self {
        Self { chain_id: 84532, usdc: usdc(address!("036CbD53842c5426634e7929541eC2318f3dCF7e"), "USDC") }
    }

    /// As on Base.
    #[must_use]
    pub fn base() -> Self {
        Self { chain_id: 8453, usdc: usdc(address!("833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"), "USD Coin") }
    }

    /// Puts everything on a chain of ours, at once and outside of any block.
    ///
    /// # Errors
    /// The token has been there before.
    pub fn deploy(&self, chain: &Chain) -> Result<Deployment, RpcError> {
        for (address, code) in contracts() {
            chain.set_code(address, code);
        }
        self.usdc.deploy(chain)?;
        Ok(Deployment {
            chain: chain.clone(),
            usdc: self.usdc.address,
            multicall3: MULTICALL3,
            permit2: PERMIT2,
        })
    }
}

impl Token {
    /// Puts the token on a chain of ours, with [`MINTER`] as its minter.
    ///
    /// # Errors
    /// It has been there before.
    pub fn deploy(&self, chain: &Chain) -> Result<(), RpcError> {
        chain.set_code(self.address, artefacts::USDC.runtime);
        chain.call_for_good(MINTER, self.address, self.initialization()).map(|_| ())
    }

    pub(crate) fn initialization(&self) -> Bytes {
        let call = initializeCall {
            name: self.name.clone(),
            symbol: self.symbol.clone(),
            currency: "USD".to_owned(),
            decimals: self.decimals,
            minter: MINTER,
        };
        call.abi_encode().into()
    }
}

/// The contracts of a [`Genesis`] on a chain of ours.
#[derive(Debug, Clone)]
pub struct Deployment {
    chain: Chain,
    /// The token that payments are in.
    pub usdc: Address,
    /// See [`MULTICALL3`].
    pub multicall3: Address,
    /// See [`PERMIT2`].
    pub permit2: Address,
}

impl Deployment {
    /// The chain that they are on.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Makes units of the token, at once and outside of any block.
    ///
    /// # Errors
    /// The token refuses, for example because it is paused.
    pub fn mint(&self, to: Address, amount: U256) -> Result<(), RpcError> {
        self.chain.call_for_good(MINTER, self.usdc, mintCall { to, amount }.abi_encode()).map(|_| ())
    }

    /// Makes an account's balance 100 ether.
    pub fn fund(&self, account: Address) {
        self.chain.set_balance(account, funds());
    }
}

fn usdc(address: Address, name: &str) -> Token {
    Token { address, name: name.to_owned(), symbol: "USDC".to_owned(), decimals: 6 }
}

/// The contracts that need nothing but their code.
pub(crate) fn contracts() -> [(Address, Bytes); 5] {
    [
        (MULTICALL3, Bytes::from_static(artefacts::MULTICALL3.runtime)),
        (PERMIT2, Bytes::from_static(artefacts::PERMIT2.runtime)),
        (EXACT_PERMIT2_PROXY, Bytes::from_static(artefacts::EXACT_PERMIT2_PROXY.runtime)),
        (UPTO_PERMIT2_PROXY, Bytes::from_static(artefacts::UPTO_PERMIT2_PROXY.runtime)),
        (CREATE2_DEPLOYER, Bytes::from_static(&CREATE2_RUNTIME)),
    ]
}

pub(crate) fn funds() -> U256 {
    U256::from(FUNDS)
}
