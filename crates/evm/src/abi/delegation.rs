//! ERC-7710's Delegation Manager.

#![allow(missing_docs, reason = "the macro's items are the contract's own, documented by its standard")]

use alloy_primitives::B256;
use alloy_sol_types::sol;

sol! {
    /// Executes calls on behalf of accounts that delegated them (ERC-7710).
    #[derive(Debug, PartialEq, Eq)]
    interface DelegationManager {
        function redeemDelegations(bytes[] permissionContexts, bytes32[] modes, bytes[] executionCallDatas) external;
    }
}

/// ERC-7579's mode of one call that reverts when it fails.
pub const SINGLE_CALL_MODE: B256 = B256::ZERO;
