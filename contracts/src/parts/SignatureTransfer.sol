// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {InvalidNonce, Permit2Base} from "./Permit2Base.sol";

/// The half of Permit2 where a signature is good for one transfer.
abstract contract SignatureTransfer is Permit2Base {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct PermitBatchTransferFrom {
        TokenPermissions[] permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    error InvalidAmount(uint256 maxAmount);
    error LengthMismatch();

    event UnorderedNonceInvalidation(address indexed owner, uint256 word, uint256 mask);

    string private constant TOKEN_TYPE = "TokenPermissions(address token,uint256 amount)";
    string private constant ONE_TYPE = "TransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline";
    string private constant MANY_TYPE =
        "TransferFrom(TokenPermissions[] permitted,address spender,uint256 nonce,uint256 deadline";

    mapping(address => mapping(uint256 => uint256)) public nonceBitmap;

    function permitTransferFrom(
        PermitTransferFrom memory permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes calldata signature
    ) external {
        bytes32 typeHash = keccak256(abi.encodePacked("Permit", ONE_TYPE, ")", TOKEN_TYPE));
        transferOne(permit, transferDetails, owner, hashOne(typeHash, permit, ""), signature);
    }

    function permitWitnessTransferFrom(
        PermitTransferFrom memory permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external {
        bytes32 typeHash = keccak256(abi.encodePacked("PermitWitness", ONE_TYPE, ",", witnessTypeString));
        bytes32 structure = hashOne(typeHash, permit, abi.encodePacked(witness));
        transferOne(permit, transferDetails, owner, structure, signature);
    }

    function permitTransferFrom(
        PermitBatchTransferFrom memory permit,
        SignatureTransferDetails[] calldata transferDetails,
        address owner,
        bytes calldata signature
    ) external {
        bytes32 typeHash = keccak256(abi.encodePacked("PermitBatch", MANY_TYPE, ")", TOKEN_TYPE));
        transferMany(permit, transferDetails, owner, hashMany(typeHash, permit, ""), signature);
    }

    function permitWitnessTransferFrom(
        PermitBatchTransferFrom memory permit,
        SignatureTransferDetails[] calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external {
        bytes32 typeHash = keccak256(abi.encodePacked("PermitBatchWitness", MANY_TYPE, ",", witnessTypeString));
        bytes32 structure = hashMany(typeHash, permit, abi.encodePacked(witness));
        transferMany(permit, transferDetails, owner, structure, signature);
    }

    function invalidateUnorderedNonces(uint256 wordPos, uint256 mask) external {
        nonceBitmap[msg.sender][wordPos] |= mask;
        emit UnorderedNonceInvalidation(msg.sender, wordPos, mask);
    }

    function transferOne(
        PermitTransferFrom memory permit,
        SignatureTransferDetails calldata details,
        address owner,
        bytes32 structure,
        bytes calldata signature
    ) private {
        requireInTime(permit.deadline);
        requireWithin(details, permit.permitted);
        useNonce(owner, permit.nonce);
        requireSigned(owner, structure, signature);
        moveToken(permit.permitted.token, owner, details.to, details.requestedAmount);
    }

    function transferMany(
        PermitBatchTransferFrom memory permit,
        SignatureTransferDetails[] calldata details,
        address owner,
        bytes32 structure,
        bytes calldata signature
    ) private {
        requireInTime(permit.deadline);
        if (permit.permitted.length != details.length) revert LengthMismatch();
        useNonce(owner, permit.nonce);
        requireSigned(owner, structure, signature);
        for (uint256 i = 0; i < details.length; ++i) {
            requireWithin(details[i], permit.permitted[i]);
            if (details[i].requestedAmount != 0) {
                moveToken(permit.permitted[i].token, owner, details[i].to, details[i].requestedAmount);
            }
        }
    }

    function requireWithin(SignatureTransferDetails calldata details, TokenPermissions memory permitted) private pure {
        if (details.requestedAmount > permitted.amount) revert InvalidAmount(permitted.amount);
    }

    function useNonce(address owner, uint256 nonce) private {
        uint256 bit = 1 << uint8(nonce);
        uint256 word = nonceBitmap[owner][nonce >> 8];
        if (word & bit != 0) revert InvalidNonce();
        nonceBitmap[owner][nonce >> 8] = word | bit;
    }

    function hashOne(bytes32 typeHash, PermitTransferFrom memory permit, bytes memory witness)
        private
        view
        returns (bytes32)
    {
        return hashPermit(typeHash, hashToken(permit.permitted), permit.nonce, permit.deadline, witness);
    }

    function hashMany(bytes32 typeHash, PermitBatchTransferFrom memory permit, bytes memory witness)
        private
        view
        returns (bytes32)
    {
        bytes32[] memory tokens = new bytes32[](permit.permitted.length);
        for (uint256 i = 0; i < tokens.length; ++i) {
            tokens[i] = hashToken(permit.permitted[i]);
        }
        bytes32 permitted = keccak256(abi.encodePacked(tokens));
        return hashPermit(typeHash, permitted, permit.nonce, permit.deadline, witness);
    }

    /// The caller is the spender that was signed for; `witness` is empty or one word.
    function hashPermit(bytes32 typeHash, bytes32 permitted, uint256 nonce, uint256 deadline, bytes memory witness)
        private
        view
        returns (bytes32)
    {
        bytes memory fields = abi.encode(typeHash, permitted, msg.sender, nonce, deadline);
        return keccak256(bytes.concat(fields, witness));
    }

    function hashToken(TokenPermissions memory permitted) private pure returns (bytes32) {
        return keccak256(abi.encode(keccak256(bytes(TOKEN_TYPE)), permitted));
    }
}
