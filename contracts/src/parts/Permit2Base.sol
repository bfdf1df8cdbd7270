// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "./Fiat712.sol";

error SignatureExpired(uint256 signatureDeadline);
error InvalidNonce();

/// What both halves of Permit2 need: its EIP-712 domain, its signature check, and moving a token.
abstract contract Permit2Base {
    error InvalidSignatureLength();
    error InvalidSignature();
    error InvalidSigner();
    error InvalidContractSignature();

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)");
    bytes32 private constant COMPACT_S = bytes32(type(uint256).max >> 1);

    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("Permit2"), block.chainid, address(this)));
    }

    function requireInTime(uint256 deadline) internal view {
        if (block.timestamp > deadline) revert SignatureExpired(deadline);
    }

    /// Checks a signature of 65 bytes, a compact one of 64 (EIP-2098), or a contract's own (ERC-1271).
    function requireSigned(address owner, bytes32 structure, bytes calldata signature) internal view {
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", DOMAIN_SEPARATOR(), structure));
        if (owner.code.length != 0) {
            bytes4 answer = IERC1271(owner).isValidSignature(digest, signature);
            if (answer != IERC1271.isValidSignature.selector) revert InvalidContractSignature();
            return;
        }
        address signer = recover(digest, signature);
        if (signer == address(0)) revert InvalidSignature();
        if (signer != owner) revert InvalidSigner();
    }

    function recover(bytes32 digest, bytes calldata signature) private pure returns (address) {
        if (signature.length == 65) {
            (bytes32 r, bytes32 s) = abi.decode(signature[:64], (bytes32, bytes32));
            return ecrecover(digest, uint8(signature[64]), r, s);
        }
        if (signature.length == 64) {
            (bytes32 r, bytes32 vs) = abi.decode(signature, (bytes32, bytes32));
            return ecrecover(digest, uint8(uint256(vs) >> 255) + 27, r, vs & COMPACT_S);
        }
        revert InvalidSignatureLength();
    }

    function moveToken(address token, address from, address to, uint256 amount) internal {
        (bool ok, bytes memory answer) =
            token.call(abi.encodeWithSignature("transferFrom(address,address,uint256)", from, to, amount));
        bool agreed = answer.length == 0 ? token.code.length != 0 : answer.length >= 32 && uint256(bytes32(answer)) == 1;
        require(ok && agreed, "TRANSFER_FROM_FAILED");
    }
}
