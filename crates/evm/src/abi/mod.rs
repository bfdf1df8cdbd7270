//! The contracts' interfaces, as far as payments use them.

#![allow(missing_docs, reason = "the macro's items are the contracts' own, documented by their standards")]

mod delegation;
mod permit2;

use alloy_sol_types::sol;

pub use delegation::{DelegationManager, SINGLE_CALL_MODE};
pub use permit2::{
    Eip2612, Eip2612Permit, ExactPermit2Proxy, ExactWitness, Permit2, PermitTransferFrom, ProxyErrors,
    TokenPermissions, UptoPermit2Proxy, UptoWitness,
};

sol! {
    /// EIP-3009's typed data; its type hash is the one that tokens use.
    #[derive(Debug, PartialEq, Eq)]
    struct TransferWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    /// A token with ERC-20 and EIP-3009, both overloads, as FiatToken v2.2 has them.
    interface Eip3009 {
        event Transfer(address indexed from, address indexed to, uint256 value);
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

        function balanceOf(address account) external view returns (uint256);
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        function DOMAIN_SEPARATOR() external view returns (bytes32);
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external;
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature) external;
    }

    /// Multicall3, at the same address on nearly every chain.
    interface Multicall3 {
        struct Call3 { address target; bool allowFailure; bytes callData; }
        struct Result { bool success; bytes returnData; }

        function aggregate3(Call3[] calls) external payable returns (Result[] returnData);
        function getCurrentBlockTimestamp() external view returns (uint256 timestamp);
    }

    /// What ERC-6492 wraps around the signature of a wallet that is not deployed yet.
    struct Erc6492 { address factory; bytes data; bytes signature; }
}

/// Where Multicall3 is.
pub const MULTICALL3: alloy_primitives::Address =
    alloy_primitives::address!("cA11bde05977b3631167028862bE2a173976CA11");
