// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Wallet1271} from "./Wallet1271.sol";

/// A contract wallet that lets a delegation manager act for it (ERC-7710, single calls of ERC-7579).
contract DelegatorWallet is Wallet1271 {
    address public immutable manager;

    constructor(address owner_, address manager_) Wallet1271(owner_) {
        manager = manager_;
    }

    function executeFromExecutor(bytes32 mode, bytes calldata execution) external returns (bytes memory) {
        require(msg.sender == manager, "DelegatorWallet: caller is not the manager");
        require(mode == 0, "DelegatorWallet: only single calls");
        address target = address(bytes20(execution[:20]));
        uint256 value = uint256(bytes32(execution[20:52]));
        return call(target, value, execution[52:]);
    }
}
