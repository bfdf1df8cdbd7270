//! Permit2, the two x402 proxies in front of it, and EIP-2612.

#![allow(missing_docs, reason = "the macro's items are the contracts' own, documented by their standards")]

use alloy_sol_types::sol;

sol! {
    #[derive(Debug, PartialEq, Eq)]
    struct TokenPermissions { address token; uint256 amount; }

    /// What Permit2 is given of a signed permit; the spender is the caller.
    #[derive(Debug, PartialEq, Eq)]
    struct PermitTransferFrom { TokenPermissions permitted; uint256 nonce; uint256 deadline; }

    /// What the payer of `exact` signs besides: who is paid, and from when.
    #[derive(Debug, PartialEq, Eq)]
    struct ExactWitness { address to; uint256 validAfter; }

    /// What the payer of `upto` signs besides: who is paid, who may call, and from when.
    #[derive(Debug, PartialEq, Eq)]
    struct UptoWitness { address to; address facilitator; uint256 validAfter; }

    /// An EIP-2612 permit as the proxies take it.
    #[derive(Debug, PartialEq, Eq)]
    struct Eip2612Permit { uint256 value; uint256 deadline; bytes32 r; bytes32 s; uint8 v; }

    /// x402's spender for `exact`: pays the witness's `to` all that is permitted.
    #[derive(Debug, PartialEq, Eq)]
    interface ExactPermit2Proxy {
        event Settled();
        event SettledWithPermit();
        event EIP2612PermitFailedWithReason(address indexed token, address indexed owner, string reason);
        event EIP2612PermitFailedWithPanic(address indexed token, address indexed owner, uint256 errorCode);
        event EIP2612PermitFailedWithData(address indexed token, address indexed owner, bytes data);

        function PERMIT2() external view returns (address);
        function settle(PermitTransferFrom permit, address owner, ExactWitness witness, bytes signature) external;
        function settleWithPermit(Eip2612Permit permit2612, PermitTransferFrom permit, address owner, ExactWitness witness, bytes signature) external;
    }

    /// x402's spender for `upto`: pays the witness's `to` at most what is permitted.
    #[derive(Debug, PartialEq, Eq)]
    interface UptoPermit2Proxy {
        function PERMIT2() external view returns (address);
        function settle(PermitTransferFrom permit, uint256 amount, address owner, UptoWitness witness, bytes signature) external;
        function settleWithPermit(Eip2612Permit permit2612, PermitTransferFrom permit, uint256 amount, address owner, UptoWitness witness, bytes signature) external;
    }

    /// What either proxy reverts with.
    #[derive(Debug, PartialEq, Eq)]
    interface ProxyErrors {
        error InvalidPermit2Address();
        error InvalidDestination();
        error InvalidOwner();
        error InvalidAmount();
        error PaymentTooEarly();
        error Permit2612AmountMismatch();
        error AmountExceedsPermitted();
        error UnauthorizedFacilitator();
        error ReentrancyGuardReentrantCall();
    }

    /// Uniswap's Permit2, the half where a signature is good for one transfer.
    #[derive(Debug, PartialEq, Eq)]
    interface Permit2 {
        event UnorderedNonceInvalidation(address indexed owner, uint256 word, uint256 mask);

        error InvalidNonce();
        error SignatureExpired(uint256 signatureDeadline);
        error InvalidAmount(uint256 maxAmount);
        error InvalidSigner();
        error InvalidSignature();
        error InvalidSignatureLength();
        error InvalidContractSignature();

        function DOMAIN_SEPARATOR() external view returns (bytes32);
        function nonceBitmap(address owner, uint256 word) external view returns (uint256);
        function invalidateUnorderedNonces(uint256 wordPos, uint256 mask) external;
    }

    /// ERC-20's allowances, and EIP-2612's of the token by signature.
    #[derive(Debug, PartialEq, Eq)]
    interface Eip2612 {
        function allowance(address owner, address spender) external view returns (uint256);
        function approve(address spender, uint256 amount) external returns (bool);
        function nonces(address owner) external view returns (uint256);
        function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
    }
}
