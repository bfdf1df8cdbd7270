// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AllowanceTransfer} from "./parts/AllowanceTransfer.sol";
import {SignatureTransfer} from "./parts/SignatureTransfer.sol";

/// Stand-in for Uniswap's Permit2, written from its public ABI.
contract Permit2 is SignatureTransfer, AllowanceTransfer {}
