// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {InvalidNonce, Permit2Base} from "./Permit2Base.sol";

/// The half of Permit2 where a spender gets an allowance with an end.
abstract contract AllowanceTransfer is Permit2Base {
    struct PermitDetails {
        address token;
        uint160 amount;
        uint48 expiration;
        uint48 nonce;
    }

    struct PermitSingle {
        PermitDetails details;
        address spender;
        uint256 sigDeadline;
    }

    struct PermitBatch {
        PermitDetails[] details;
        address spender;
        uint256 sigDeadline;
    }

    struct AllowanceTransferDetails {
        address from;
        address to;
        uint160 amount;
        address token;
    }

    struct TokenSpenderPair {
        address token;
        address spender;
    }

    struct PackedAllowance {
        uint160 amount;
        uint48 expiration;
        uint48 nonce;
    }

    error AllowanceExpired(uint256 deadline);
    error InsufficientAllowance(uint256 amount);
    error ExcessiveInvalidation();

    event NonceInvalidation(
        address indexed owner, address indexed token, address indexed spender, uint48 newNonce, uint48 oldNonce
    );
    event Approval(
        address indexed owner, address indexed token, address indexed spender, uint160 amount, uint48 expiration
    );
    event Permit(
        address indexed owner,
        address indexed token,
        address indexed spender,
        uint160 amount,
        uint48 expiration,
        uint48 nonce
    );
    event Lockdown(address indexed owner, address token, address spender);

    string private constant DETAILS_TYPE =
        "PermitDetails(address token,uint160 amount,uint48 expiration,uint48 nonce)";
    string private constant SINGLE_TYPE = "PermitSingle(PermitDetails details,address spender,uint256 sigDeadline)";
    string private constant BATCH_TYPE = "PermitBatch(PermitDetails[] details,address spender,uint256 sigDeadline)";

    mapping(address => mapping(address => mapping(address => PackedAllowance))) public allowance;

    function approve(address token, address spender, uint160 amount, uint48 expiration) external {
        PackedAllowance storage allowed = allowance[msg.sender][token][spender];
        allowed.amount = amount;
        allowed.expiration = orNow(expiration);
        emit Approval(msg.sender, token, spender, amount, expiration);
    }

    function permit(address owner, PermitSingle memory permitSingle, bytes calldata signature) external {
        requireInTime(permitSingle.sigDeadline);
        bytes32 typeHash = keccak256(abi.encodePacked(SINGLE_TYPE, DETAILS_TYPE));
        bytes32 details = hashDetails(permitSingle.details);
        bytes32 structure =
            keccak256(abi.encode(typeHash, details, permitSingle.spender, permitSingle.sigDeadline));
        requireSigned(owner, structure, signature);
        applyPermit(owner, permitSingle.spender, permitSingle.details);
    }

    function permit(address owner, PermitBatch memory permitBatch, bytes calldata signature) external {
        requireInTime(permitBatch.sigDeadline);
        bytes32[] memory details = new bytes32[](permitBatch.details.length);
        for (uint256 i = 0; i < details.length; ++i) {
            details[i] = hashDetails(permitBatch.details[i]);
        }
        bytes32 typeHash = keccak256(abi.encodePacked(BATCH_TYPE, DETAILS_TYPE));
        bytes32 all = keccak256(abi.encodePacked(details));
        bytes32 structure = keccak256(abi.encode(typeHash, all, permitBatch.spender, permitBatch.sigDeadline));
        requireSigned(owner, structure, signature);
        for (uint256 i = 0; i < details.length; ++i) {
            applyPermit(owner, permitBatch.spender, permitBatch.details[i]);
        }
    }

    function transferFrom(address from, address to, uint160 amount, address token) external {
        spend(from, to, amount, token);
    }

    function transferFrom(AllowanceTransferDetails[] calldata transferDetails) external {
        for (uint256 i = 0; i < transferDetails.length; ++i) {
            AllowanceTransferDetails calldata t = transferDetails[i];
            spend(t.from, t.to, t.amount, t.token);
        }
    }

    function lockdown(TokenSpenderPair[] calldata approvals) external {
        for (uint256 i = 0; i < approvals.length; ++i) {
            allowance[msg.sender][approvals[i].token][approvals[i].spender].amount = 0;
            emit Lockdown(msg.sender, approvals[i].token, approvals[i].spender);
        }
    }

    function invalidateNonces(address token, address spender, uint48 newNonce) external {
        PackedAllowance storage allowed = allowance[msg.sender][token][spender];
        uint48 oldNonce = allowed.nonce;
        if (newNonce <= oldNonce) revert InvalidNonce();
        if (newNonce - oldNonce > type(uint16).max) revert ExcessiveInvalidation();
        allowed.nonce = newNonce;
        emit NonceInvalidation(msg.sender, token, spender, newNonce, oldNonce);
    }

    function spend(address from, address to, uint160 amount, address token) private {
        PackedAllowance storage allowed = allowance[from][token][msg.sender];
        if (block.timestamp > allowed.expiration) revert AllowanceExpired(allowed.expiration);
        uint160 most = allowed.amount;
        if (most != type(uint160).max) {
            if (amount > most) revert InsufficientAllowance(most);
            allowed.amount = most - amount;
        }
        moveToken(token, from, to, amount);
    }

    function applyPermit(address owner, address spender, PermitDetails memory details) private {
        PackedAllowance storage allowed = allowance[owner][details.token][spender];
        if (allowed.nonce != details.nonce) revert InvalidNonce();
        unchecked {
            allowed.nonce = details.nonce + 1;
        }
        allowed.amount = details.amount;
        allowed.expiration = orNow(details.expiration);
        emit Permit(owner, details.token, spender, details.amount, details.expiration, details.nonce);
    }

    /// Zero means: in this block only.
    function orNow(uint48 expiration) private view returns (uint48) {
        return expiration == 0 ? uint48(block.timestamp) : expiration;
    }

    function hashDetails(PermitDetails memory details) private pure returns (bytes32) {
        return keccak256(abi.encode(keccak256(bytes(DETAILS_TYPE)), details));
    }
}
