// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Fiat712} from "./parts/Fiat712.sol";
import {FiatErc20} from "./parts/FiatErc20.sol";

/// Stand-in for Circle's USDC (FiatToken v2.2), written from its public ABI: ERC-20, EIP-3009 and EIP-2612 with the
/// same type hashes, checks, order of checks and error texts. Without proxy, rescuer and upgrades. All state comes
/// from `initialize`, so that the runtime can be placed at any address.
contract Usdc is FiatErc20 {
    bytes32 public constant TRANSFER_WITH_AUTHORIZATION_TYPEHASH = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 public constant RECEIVE_WITH_AUTHORIZATION_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 public constant CANCEL_AUTHORIZATION_TYPEHASH =
        keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");
    bytes32 public constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    mapping(address => mapping(bytes32 => bool)) internal usedNonces; // slot 16
    mapping(address => uint256) public nonces; // slot 17

    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
    event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

    struct Authorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    /// `minter` gets every role, and may mint without limit.
    function initialize(
        string memory tokenName,
        string memory tokenSymbol,
        string memory tokenCurrency,
        uint8 tokenDecimals,
        address minter
    ) public {
        require(!initialized, "FiatToken: contract is already initialized");
        require(minter != address(0), "FiatToken: new masterMinter is the zero address");
        name = tokenName;
        symbol = tokenSymbol;
        currency = tokenCurrency;
        decimals = tokenDecimals;
        owner = pauser = blacklister = masterMinter = minter;
        isMinter[minter] = true;
        minterAllowance[minter] = type(uint256).max;
        blacklisted[address(this)] = true;
        initialized = true;
    }

    function version() external pure returns (string memory) {
        return "2";
    }

    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return Fiat712.domain(name, "2");
    }

    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool) {
        return usedNonces[authorizer][nonce];
    }

    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        transferAuthorized(Authorization(from, to, value, validAfter, validBefore, nonce), abi.encodePacked(r, s, v));
    }

    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes memory signature
    ) external {
        transferAuthorized(Authorization(from, to, value, validAfter, validBefore, nonce), signature);
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        receiveAuthorized(Authorization(from, to, value, validAfter, validBefore, nonce), abi.encodePacked(r, s, v));
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes memory signature
    ) external {
        receiveAuthorized(Authorization(from, to, value, validAfter, validBefore, nonce), signature);
    }

    function cancelAuthorization(address authorizer, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external {
        cancelAuthorized(authorizer, nonce, abi.encodePacked(r, s, v));
    }

    function cancelAuthorization(address authorizer, bytes32 nonce, bytes memory signature) external {
        cancelAuthorized(authorizer, nonce, signature);
    }

    function permit(address from, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        permitSigned(from, spender, value, deadline, abi.encodePacked(r, s, v));
    }

    function permit(address from, address spender, uint256 value, uint256 deadline, bytes memory signature) external {
        permitSigned(from, spender, value, deadline, signature);
    }

    function transferAuthorized(Authorization memory a, bytes memory signature)
        internal
        virtual
        whenNotPaused
        notBlacklisted(a.from)
        notBlacklisted(a.to)
    {
        useAuthorization(TRANSFER_WITH_AUTHORIZATION_TYPEHASH, a, signature);
        move(a.from, a.to, a.value);
    }

    function receiveAuthorized(Authorization memory a, bytes memory signature)
        private
        whenNotPaused
        notBlacklisted(a.from)
        notBlacklisted(a.to)
    {
        require(a.to == msg.sender, "FiatTokenV2: caller must be the payee");
        useAuthorization(RECEIVE_WITH_AUTHORIZATION_TYPEHASH, a, signature);
        move(a.from, a.to, a.value);
    }

    function useAuthorization(bytes32 typeHash, Authorization memory a, bytes memory signature) private {
        require(block.timestamp > a.validAfter, "FiatTokenV2: authorization is not yet valid");
        require(block.timestamp < a.validBefore, "FiatTokenV2: authorization is expired");
        requireUnused(a.from, a.nonce);
        requireSigned(a.from, abi.encode(typeHash, a), signature, "FiatTokenV2: invalid signature");
        usedNonces[a.from][a.nonce] = true;
        emit AuthorizationUsed(a.from, a.nonce);
    }

    function cancelAuthorized(address authorizer, bytes32 nonce, bytes memory signature) private whenNotPaused {
        requireUnused(authorizer, nonce);
        bytes memory structure = abi.encode(CANCEL_AUTHORIZATION_TYPEHASH, authorizer, nonce);
        requireSigned(authorizer, structure, signature, "FiatTokenV2: invalid signature");
        usedNonces[authorizer][nonce] = true;
        emit AuthorizationCanceled(authorizer, nonce);
    }

    function permitSigned(address from, address spender, uint256 value, uint256 deadline, bytes memory signature)
        private
        whenNotPaused
    {
        // The largest deadline never expires, and no clock reaches it.
        require(block.timestamp <= deadline, "FiatTokenV2: permit is expired");
        bytes memory structure = abi.encode(PERMIT_TYPEHASH, from, spender, value, nonces[from]++, deadline);
        requireSigned(from, structure, signature, "EIP2612: invalid signature");
        setAllowance(from, spender, value);
    }

    function requireUnused(address authorizer, bytes32 nonce) private view {
        require(!usedNonces[authorizer][nonce], "FiatTokenV2: authorization is used or canceled");
    }

    function requireSigned(address account, bytes memory structure, bytes memory signature, string memory otherwise)
        private
        view
    {
        require(Fiat712.signed(account, Fiat712.digest(DOMAIN_SEPARATOR(), structure), signature), otherwise);
    }
}
