// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Usdc} from "../Usdc.sol";

/// A token whose success says little: a used authorization returns without a transfer and without an error (as
/// PYUSD's does), and `muteTransfers` takes away the Transfer log.
contract SilentToken is Usdc {
    bool public transfersMuted;

    function muteTransfers(bool muted) external onlyOwner {
        transfersMuted = muted;
    }

    function transferAuthorized(Authorization memory a, bytes memory signature) internal override {
        if (!usedNonces[a.from][a.nonce]) super.transferAuthorized(a, signature);
    }

    function logTransfer(address from, address to, uint256 value) internal override {
        if (!transfersMuted) super.logTransfer(from, to, value);
    }
}
