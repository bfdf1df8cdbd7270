// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Fiat712} from "../parts/Fiat712.sol";
import {DelegatorWallet} from "./DelegatorWallet.sol";

/// The least of an ERC-7710 manager. A permission context is `abi.encode(Delegation, signature)`, signed by the delegator
/// (EIP-712, domain "DelegationManager" "1"): it allows transfers of one token to one receiver up to a sum.
contract DelegationManager {
    struct Delegation {
        address delegator;
        /// Who may redeem; anyone if zero.
        address delegate;
        address token;
        address to;
        uint256 max;
        uint256 salt;
        uint256 deadline;
    }

    bytes32 public constant DELEGATION_TYPEHASH = keccak256(
        "Delegation(address delegator,address delegate,address token,address to,uint256 max,uint256 salt,uint256 deadline)"
    );
    bytes4 private constant TRANSFER = bytes4(keccak256("transfer(address,uint256)"));

    mapping(bytes32 => uint256) public spent;
    mapping(bytes32 => bool) public disabled;

    event RedeemedDelegation(address indexed delegator, address indexed redeemer, bytes32 digest);

    error InvalidDelegate();
    error InvalidSignature();
    error InvalidExecution();
    error DelegationExpired();
    error DelegationDisabled();
    error AllowanceExceeded();
    error LengthMismatch();

    function redeemDelegations(
        bytes[] calldata permissionContexts,
        bytes32[] calldata modes,
        bytes[] calldata executionCallDatas
    ) external {
        uint256 count = permissionContexts.length;
        if (count != modes.length || count != executionCallDatas.length) revert LengthMismatch();
        for (uint256 i = 0; i < count; ++i) {
            redeem(permissionContexts[i], modes[i], executionCallDatas[i]);
        }
    }

    /// Takes a delegation back; for its delegator.
    function disable(Delegation calldata delegation) external {
        if (msg.sender != delegation.delegator) revert InvalidDelegate();
        disabled[digestOf(delegation)] = true;
    }

    function digestOf(Delegation memory delegation) public view returns (bytes32) {
        return Fiat712.digest(
            Fiat712.domain("DelegationManager", "1"), abi.encode(DELEGATION_TYPEHASH, delegation)
        );
    }

    /// A wallet that obeys this manager, at an address known beforehand.
    function deploy(address owner, bytes32 salt) external returns (address wallet) {
        wallet = addressOf(owner, salt);
        if (wallet.code.length == 0) new DelegatorWallet{salt: salt}(owner, address(this));
    }

    function addressOf(address owner, bytes32 salt) public view returns (address) {
        bytes memory arguments = abi.encode(owner, address(this));
        bytes32 init = keccak256(abi.encodePacked(type(DelegatorWallet).creationCode, arguments));
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"ff", address(this), salt, init)))));
    }

    function redeem(bytes calldata context, bytes32 mode, bytes calldata execution) private {
        (Delegation memory d, bytes memory signature) = abi.decode(context, (Delegation, bytes));
        bytes32 digest = digestOf(d);
        if (d.delegate != address(0) && d.delegate != msg.sender) revert InvalidDelegate();
        if (block.timestamp > d.deadline) revert DelegationExpired();
        if (disabled[digest]) revert DelegationDisabled();
        if (!Fiat712.signed(d.delegator, digest, signature)) revert InvalidSignature();
        spent[digest] += transferred(d, execution);
        if (spent[digest] > d.max) revert AllowanceExceeded();
        DelegatorWallet(payable(d.delegator)).executeFromExecutor(mode, execution);
        emit RedeemedDelegation(d.delegator, msg.sender, digest);
    }

    /// The amount, if the execution is just a transfer of the token to the receiver.
    function transferred(Delegation memory d, bytes calldata execution) private pure returns (uint256) {
        if (execution.length != 52 + 68) revert InvalidExecution();
        bool target = address(bytes20(execution[:20])) == d.token && bytes32(execution[20:52]) == 0;
        if (!target || bytes4(execution[52:56]) != TRANSFER) revert InvalidExecution();
        (address to, uint256 amount) = abi.decode(execution[56:], (address, uint256));
        if (to != d.to) revert InvalidExecution();
        return amount;
    }
}
