//! What the contracts offer, and what is signed for them.

use alloy_primitives::{Address, B256, U256};
use alloy_signer::{Signature, SignerSync};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{Eip712Domain, SolStruct, eip712_domain, sol};

sol! {
    #[derive(Debug, PartialEq)]
    interface Token {
        event Transfer(address indexed from, address indexed to, uint256 value);
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        function balanceOf(address account) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
        function totalSupply() external view returns (uint256);
        function transfer(address to, uint256 value) external returns (bool);
        function transferFrom(address from, address to, uint256 value) external returns (bool);
        function approve(address spender, uint256 value) external returns (bool);
        function name() external view returns (string);
        function version() external view returns (string);
        function decimals() external view returns (uint8);
        function nonces(address owner) external view returns (uint256);
        function DOMAIN_SEPARATOR() external view returns (bytes32);
        function TRANSFER_WITH_AUTHORIZATION_TYPEHASH() external view returns (bytes32);
        function RECEIVE_WITH_AUTHORIZATION_TYPEHASH() external view returns (bytes32);
        function CANCEL_AUTHORIZATION_TYPEHASH() external view returns (bytes32);
        function PERMIT_TYPEHASH() external view returns (bytes32);
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        function pause() external;
        function blacklist(address account) external;
        function muteTransfers(bool muted) external;
    }
    interface Parts {
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external;
        function receiveWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external;
        function cancelAuthorization(address authorizer, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external;
        function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
    }
    interface Whole {
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature) external;
        function receiveWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature) external;
        function cancelAuthorization(address authorizer, bytes32 nonce, bytes signature) external;
        function permit(address owner, address spender, uint256 value, uint256 deadline, bytes signature) external;
    }
    interface Multicall {
        struct Call3 { address target; bool allowFailure; bytes callData; }
        struct Call3Value { address target; bool allowFailure; uint256 value; bytes callData; }
        struct Result { bool success; bytes returnData; }
        function aggregate3(Call3[] calls) external payable returns (Result[] returnData);
        function aggregate3Value(Call3Value[] calls) external payable returns (Result[] returnData);
        function getBlockNumber() external view returns (uint256);
        function getChainId() external view returns (uint256);
        function getCurrentBlockTimestamp() external view returns (uint256);
        function getEthBalance(address account) external view returns (uint256);
        function getLastBlockHash() external view returns (bytes32);
    }
    interface Wallet {
        function isValidSignature(bytes32 digest, bytes signature) external view returns (bytes4);
    }
    interface Factory {
        function deploy(address owner, bytes32 salt) external returns (address);
        function addressOf(address owner, bytes32 salt) external view returns (address);
    }

    struct TransferWithAuthorization { address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce; }
    struct ReceiveWithAuthorization { address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce; }
    struct CancelAuthorization { address authorizer; bytes32 nonce; }
    struct Permit { address owner; address spender; uint256 value; uint256 nonce; uint256 deadline; }
}

/// A payment that is valid for the next hour, and always was.
pub(crate) fn authorization(from: Address, to: Address, value: u64, now: u64) -> TransferWithAuthorization {
    TransferWithAuthorization {
        from,
        to,
        value: U256::from(value),
        validAfter: U256::ZERO,
        validBefore: U256::from(now + 3600),
        nonce: B256::repeat_byte(7),
    }
}

pub(crate) fn token_domain(token: Address) -> Eip712Domain {
    eip712_domain! { name: "USDC", version: "2", chain_id: 84532, verifying_contract: token, }
}

pub(crate) fn sign<T: SolStruct>(signer: &PrivateKeySigner, message: &T, domain: &Eip712Domain) -> Signature {
    signer.sign_hash_sync(&message.eip712_signing_hash(domain)).unwrap()
}

impl TransferWithAuthorization {
    pub(crate) fn in_parts(&self, signature: &Signature) -> Parts::transferWithAuthorizationCall {
        let (v, r, s) = parts(signature);
        Parts::transferWithAuthorizationCall {
            from: self.from,
            to: self.to,
            value: self.value,
            validAfter: self.validAfter,
            validBefore: self.validBefore,
            nonce: self.nonce,
            v,
            r,
            s,
        }
    }

    pub(crate) fn whole(&self, signature: &Signature) -> Whole::transferWithAuthorizationCall {
        Whole::transferWithAuthorizationCall {
            from: self.from,
            to: self.to,
            value: self.value,
            validAfter: self.validAfter,
            validBefore: self.validBefore,
            nonce: self.nonce,
            signature: signature.as_bytes().into(),
        }
    }
}

pub(crate) fn parts(signature: &Signature) -> (u8, B256, B256) {
    (27 + u8::from(signature.v()), signature.r().into(), signature.s().into())
}
