// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Permit2Proxy} from "./parts/Permit2Proxy.sol";
import {SignatureTransfer} from "./parts/SignatureTransfer.sol";

/// Stand-in for x402UptoPermit2Proxy, written from its public ABI: pays what the signed facilitator says, at most the
/// permitted amount, to the receiver that the payer has signed. Only that facilitator may submit it.
contract X402UptoPermit2Proxy is Permit2Proxy {
    struct Witness {
        address to;
        address facilitator;
        uint256 validAfter;
    }

    error AmountExceedsPermitted();
    error UnauthorizedFacilitator();

    string public constant WITNESS_TYPE_STRING =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)";
    bytes32 public constant WITNESS_TYPEHASH = keccak256("Witness(address to,address facilitator,uint256 validAfter)");

    function settle(
        SignatureTransfer.PermitTransferFrom calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external once {
        requireAllowed(amount, permit.permitted.amount, witness.facilitator);
        pay(permit, amount, owner, witness, signature);
        emit Settled();
    }

    function settleWithPermit(
        EIP2612Permit calldata permit2612,
        SignatureTransfer.PermitTransferFrom calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external once {
        requireAllowed(amount, permit.permitted.amount, witness.facilitator);
        allowPermit2(permit2612, permit.permitted, owner);
        pay(permit, amount, owner, witness, signature);
        emit SettledWithPermit();
    }

    function requireAllowed(uint256 amount, uint256 permitted, address facilitator) private view {
        if (amount > permitted) revert AmountExceedsPermitted();
        if (msg.sender != facilitator) revert UnauthorizedFacilitator();
    }

    function pay(
        SignatureTransfer.PermitTransferFrom calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) private {
        requirePayable(amount, owner, witness.to, witness.validAfter);
        PERMIT2.permitWitnessTransferFrom(
            permit,
            SignatureTransfer.SignatureTransferDetails(witness.to, amount),
            owner,
            keccak256(abi.encode(WITNESS_TYPEHASH, witness)),
            WITNESS_TYPE_STRING,
            signature
        );
    }
}
