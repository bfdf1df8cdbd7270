// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Hostile} from "./Hostile.sol";

/// A factory (ERC-6492) with another purpose: it makes a call of its own first, and may then deploy nothing. The wallets
/// that it deploys say yes to every signature.
contract EvilFactory {
    address public target;
    bytes public data;
    bool public deploysNothing;
    /// Whether its own call succeeded the last time.
    bool public calledWell;

    function arm(address target_, bytes calldata data_, bool deploysNothing_) external {
        target = target_;
        data = data_;
        deploysNothing = deploysNothing_;
    }

    function deploy(address, bytes32 salt) external returns (address wallet) {
        if (target != address(0)) {
            (calledWell,) = target.call(data);
        }
        wallet = addressOf(address(0), salt);
        if (deploysNothing || wallet.code.length != 0) return wallet;
        new Hostile{salt: salt}();
    }

    function addressOf(address, bytes32 salt) public view returns (address) {
        bytes32 init = keccak256(type(Hostile).creationCode);
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"ff", address(this), salt, init)))));
    }
}
