// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Usdc} from "../Usdc.sol";

/// A token that succeeds and pays somebody else. Its log tells so, or names the payee all the same.
contract DivertToken is Usdc {
    address public thief;
    bool public logsLie;

    function divert(address to, bool lie) external {
        thief = to;
        logsLie = lie;
    }

    function move(address from, address to, uint256 value) internal override {
        if (thief == address(0)) return super.move(from, to, value);
        require(value <= balanceOf[from], "ERC20: transfer amount exceeds balance");
        balanceOf[from] -= value;
        balanceOf[thief] += value;
        logTransfer(from, logsLie ? to : thief, value);
    }
}
