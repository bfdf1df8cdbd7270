// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Usdc} from "../Usdc.sol";

/// A token that keeps a hundredth of every transfer for its owner, so that less arrives than was sent.
contract FeeToken is Usdc {
    function move(address from, address to, uint256 value) internal override {
        uint256 fee = value / 100;
        super.move(from, to, value - fee);
        if (fee != 0) super.move(from, owner, fee);
    }
}
