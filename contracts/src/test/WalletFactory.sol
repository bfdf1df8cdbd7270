// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Wallet1271} from "./Wallet1271.sol";

/// Creates wallets at addresses known beforehand, as ERC-6492 signatures need. Deploying twice is harmless.
contract WalletFactory {
    event Deployed(address indexed wallet, address indexed owner, bytes32 salt);

    function deploy(address owner, bytes32 salt) external returns (address wallet) {
        wallet = addressOf(owner, salt);
        if (wallet.code.length != 0) return wallet;
        new Wallet1271{salt: salt}(owner);
        emit Deployed(wallet, owner, salt);
    }

    function addressOf(address owner, bytes32 salt) public view returns (address) {
        bytes32 init = keccak256(abi.encodePacked(type(Wallet1271).creationCode, abi.encode(owner)));
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"ff", address(this), salt, init)))));
    }
}
