//! The test contracts that mean harm, and the delegation manager.

use alloy_primitives::{Address, B256, Bytes, U256, address, bytes, hex};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall, SolError, SolEvent as _, SolValue as _, eip712_domain, sol};
use serde_json::{Value, json};
use tollway_devnet::artefacts;

use crate::{
    abi::{Factory, Token, Wallet, authorization, sign, token_domain},
    contracts::token,
    nodes::Node,
    on_both,
};

const SELLER: Address = Address::repeat_byte(0x5e);
const THIEF: Address = Address::repeat_byte(0x1f);
const PLACE: Address = address!("00000000000000000000000000000000000cafe1");
const GOOD: [u8; 4] = hex!("1626ba7e");

sol! {
    #[derive(Debug)]
    struct Delegation { address delegator; address delegate; address token; address to; uint256 max; uint256 salt; uint256 deadline; }
    interface Manager {
        function redeemDelegations(bytes[] permissionContexts, bytes32[] modes, bytes[] executionCallDatas) external;
        function disable(Delegation delegation) external;
        function spent(bytes32 digest) external view returns (uint256);
        event RedeemedDelegation(address indexed delegator, address indexed redeemer, bytes32 digest);
        error InvalidDelegate();
        error InvalidSignature();
        error InvalidExecution();
        error DelegationExpired();
        error DelegationDisabled();
        error AllowanceExceeded();
        error LengthMismatch();
    }
    interface Hostile {
        function behave(uint8 mood, uint256 until) external;
        function execute(address target, bytes data) external;
    }
    interface EvilFactory {
        function arm(address target, bytes data, bool deploysNothing) external;
        function calledWell() external view returns (bool);
    }
    interface Divert { function divert(address to, bool lie) external; }
    interface Plain { function mint(address to, uint256 value) external; }
    interface Account { function execute(address target, uint256 value, bytes data) external returns (bytes); }
}

/// A wallet with a thousand units that obeys the manager, and what its owner signs.
struct Delegator {
    owner: PrivateKeySigner,
    manager: Address,
    wallet: Address,
    delegation: Delegation,
}

impl Delegator {
    async fn new(node: &Node) -> Self {
        let (client, owner, salt) = (&node.client, node.account(0x44).await, B256::ZERO);
        let manager = client.deploy(&owner, artefacts::DELEGATION_MANAGER.creation.to_vec()).await;
        let wallet = client.read(manager, Factory::addressOfCall { owner: owner.address(), salt }).await;
        assert!(
            client.send(&owner, manager, Factory::deployCall { owner: owner.address(), salt }).await.status()
        );
        node.contracts.mint(wallet, U256::from(1000)).await.unwrap();
        let delegation = Delegation {
            delegator: wallet,
            delegate: node.account(0x66).await.address(),
            token: node.usdc(),
            to: SELLER,
            max: U256::from(100),
            salt: U256::from(7),
            deadline: U256::from(client.time().await + 600),
        };
        Self { owner, manager, wallet, delegation }
    }

    fn redeem(&self, to: Address, value: u64) -> Manager::redeemDelegationsCall {
        let domain = eip712_domain! {
            name: "DelegationManager", version: "1", chain_id: 84532, verifying_contract: self.manager,
        };
        let signature = Bytes::from(sign(&self.owner, &self.delegation, &domain).as_bytes());
        let transfer = Token::transferCall { to, value: U256::from(value) }.abi_encode();
        let execution = [self.delegation.token.as_slice(), &[0; 32], &transfer].concat();
        Manager::redeemDelegationsCall {
            permissionContexts: vec![(self.delegation.clone(), signature).abi_encode_params().into()],
            modes: vec![B256::ZERO],
            executionCallDatas: vec![execution.into()],
        }
    }

    async fn refusal(&self, node: &Node, call: Manager::redeemDelegationsCall) -> Value {
        simulated(node, self.delegation.delegate, self.manager, call).await.unwrap_err()
    }
}

/// What a call of this account returns, or reverts with.
async fn simulated(node: &Node, from: Address, to: Address, call: impl SolCall) -> Result<Bytes, Value> {
    let params = json!([{ "from": from, "to": to, "data": Bytes::from(call.abi_encode()) }, "latest"]);
    match tollway_devnet::evm::JsonRpc::request(&node.client, "eth_call", params).await {
        Ok(answer) => Ok(serde_json::from_value(answer).unwrap()),
        Err(error) => Err(error.data.unwrap_or_default()),
    }
}

fn coded<E: SolError>(error: &E) -> Value {
    json!(hex::encode_prefixed(error.abi_encode()))
}

fn question() -> Wallet::isValidSignatureCall {
    Wallet::isValidSignatureCall { digest: B256::ZERO, signature: bytes!("01") }
}

on_both! {
    async fn a_delegation_pays_its_receiver_up_to_its_sum(node: Node) {
        let delegator = Delegator::new(&node).await;
        let facilitator = node.account(0x66).await;
        let receipt = node.client.send(&facilitator, delegator.manager, delegator.redeem(SELLER, 60)).await;
        assert!(receipt.status());
        let transfers: Vec<_> = receipt.logs().iter().filter_map(|log| Token::Transfer::decode_log(&log.inner).ok()).collect();
        assert_eq!(transfers.len(), 1);
        assert_eq!((transfers[0].from, transfers[0].to, transfers[0].value), (delegator.wallet, SELLER, U256::from(60)));
        let redeemed = receipt.logs().iter().find_map(|log| Manager::RedeemedDelegation::decode_log(&log.inner).ok());
        assert_eq!(redeemed.unwrap().redeemer, facilitator.address());
        assert_eq!(delegator.refusal(&node, delegator.redeem(SELLER, 41)).await, coded(&Manager::AllowanceExceeded {}));
        assert!(node.client.send(&facilitator, delegator.manager, delegator.redeem(SELLER, 40)).await.status());
        assert_eq!(node.client.read(node.usdc(), Token::balanceOfCall { account: SELLER }).await, U256::from(100));
    }

    async fn a_delegation_allows_nothing_else(node: Node) {
        let mut delegator = Delegator::new(&node).await;
        let good = delegator.redeem(SELLER, 1);
        assert_eq!(delegator.refusal(&node, delegator.redeem(THIEF, 1)).await, coded(&Manager::InvalidExecution {}));
        let stranger = simulated(&node, THIEF, delegator.manager, good.clone()).await;
        assert_eq!(stranger.unwrap_err(), coded(&Manager::InvalidDelegate {}));
        let mut uneven = good.clone();
        uneven.modes.clear();
        assert_eq!(delegator.refusal(&node, uneven).await, coded(&Manager::LengthMismatch {}));
        let owner = std::mem::replace(&mut delegator.owner, node.account(0x45).await);
        assert_eq!(delegator.refusal(&node, delegator.redeem(SELLER, 1)).await, coded(&Manager::InvalidSignature {}));
        delegator.owner = owner;
        let disable = Manager::disableCall { delegation: delegator.delegation.clone() }.abi_encode().into();
        let call = Account::executeCall { target: delegator.manager, value: U256::ZERO, data: disable };
        assert!(node.client.send(&delegator.owner, delegator.wallet, call).await.status());
        assert_eq!(delegator.refusal(&node, good).await, coded(&Manager::DelegationDisabled {}));
        delegator.delegation.deadline = U256::ONE;
        assert_eq!(delegator.refusal(&node, delegator.redeem(SELLER, 1)).await, coded(&Manager::DelegationExpired {}));
    }

    async fn a_hostile_wallet_answers_by_its_mood(node: Node) {
        let (client, sender) = (&node.client, node.account(0x44).await);
        client.ask::<Value>("anvil_setCode", json!([PLACE, Bytes::from_static(artefacts::HOSTILE.runtime)])).await;
        let behave = async |mood: u8, until: u64| {
            let call = Hostile::behaveCall { mood, until: U256::from(until) };
            assert!(client.send(&sender, PLACE, call).await.status());
        };
        let now = client.number("eth_blockNumber", json!([])).await;
        let first4 = |answer: Result<Bytes, Value>| answer.map(|bytes| bytes[..4].to_vec());
        assert_eq!(first4(simulated(&node, THIEF, PLACE, question()).await), Ok(GOOD.to_vec()));
        behave(1, 0).await;
        assert_eq!(first4(simulated(&node, THIEF, PLACE, question()).await), Ok(vec![0; 4]));
        behave(2, now + 4).await;
        assert_eq!(first4(simulated(&node, THIEF, PLACE, question()).await), Ok(GOOD.to_vec()));
        client.ask::<Value>("anvil_mine", json!(["0x3"])).await;
        simulated(&node, THIEF, PLACE, question()).await.unwrap_err();
        behave(3, 0).await;
        assert_eq!(first4(simulated(&node, THIEF, PLACE, question()).await), Ok(GOOD.to_vec()));
        assert!(!client.send(&sender, PLACE, question()).await.status(), "in a transaction it reverts");
        behave(4, 0).await;
        let burnt = client.send(&sender, PLACE, question()).await;
        assert_eq!((burnt.status(), burnt.gas_used), (false, 3_000_000));
        behave(5, 0).await;
        assert_eq!(simulated(&node, THIEF, PLACE, question()).await.unwrap().len(), 1 << 20);
        behave(6, 0).await;
        let data: Bytes = serde_json::from_value(simulated(&node, THIEF, PLACE, question()).await.unwrap_err()).unwrap();
        assert_eq!(data.len(), 1 << 20);
    }

    async fn a_wallet_that_burns_gas_pays_nothing(node: Node) {
        let (client, sender) = (&node.client, node.account(0x44).await);
        client.ask::<Value>("anvil_setCode", json!([PLACE, Bytes::from_static(artefacts::HOSTILE.runtime)])).await;
        node.contracts.mint(PLACE, U256::from(10)).await.unwrap();
        let payment = authorization(PLACE, SELLER, 10, client.time().await);
        let call = payment.whole(&sign(&sender, &payment, &token_domain(node.usdc())));
        assert!(client.send(&sender, PLACE, Hostile::behaveCall { mood: 4, until: U256::ZERO }).await.status());
        let receipt = client.send(&sender, node.usdc(), call.clone()).await;
        assert!(!receipt.status() && receipt.gas_used > 2_900_000);
        assert!(client.send(&sender, PLACE, Hostile::behaveCall { mood: 0, until: U256::ZERO }).await.status());
        assert!(client.send(&sender, node.usdc(), call).await.status());
    }

    async fn an_evil_factory_acts_on_its_own_and_may_deploy_nothing(node: Node) {
        let (client, sender) = (&node.client, node.account(0x44).await);
        let factory = client.deploy(&sender, artefacts::EVIL_FACTORY.creation.to_vec()).await;
        node.contracts.mint(factory, U256::from(10)).await.unwrap();
        let deploy = Factory::deployCall { owner: sender.address(), salt: B256::ZERO };
        let data = Bytes::from(Token::transferCall { to: THIEF, value: U256::from(10) }.abi_encode());
        let arm = EvilFactory::armCall { target: node.usdc(), data, deploysNothing: true };
        assert!(client.send(&sender, factory, arm).await.status());
        assert!(client.send(&sender, factory, deploy.clone()).await.status());
        assert_eq!(client.read(node.usdc(), Token::balanceOfCall { account: THIEF }).await, U256::from(10));
        assert!(client.read(factory, EvilFactory::calledWellCall {}).await);
        let wallet = client.read(factory, Factory::addressOfCall { owner: sender.address(), salt: B256::ZERO }).await;
        assert_eq!(client.ask::<Bytes>("eth_getCode", json!([wallet, "latest"])).await, Bytes::new());
        let disarm = EvilFactory::armCall { target: Address::ZERO, data: Bytes::new(), deploysNothing: false };
        assert!(client.send(&sender, factory, disarm).await.status());
        assert!(client.send(&sender, factory, deploy).await.status());
        assert_eq!(client.read(wallet, question()).await.0, GOOD);
    }

    async fn a_diverting_token_pays_the_thief_whatever_it_logs(node: Node) {
        let (client, payer) = (&node.client, node.account(0x44).await);
        let token = token(&node, artefacts::DIVERT_TOKEN, &payer).await;
        for (lie, named, stolen) in [(false, THIEF, 9), (true, SELLER, 18)] {
            assert!(client.send(&payer, token, Divert::divertCall { to: THIEF, lie }).await.status());
            let receipt = client.send(&payer, token, Token::transferCall { to: SELLER, value: U256::from(9) }).await;
            assert_eq!(Token::Transfer::decode_log(&receipt.logs()[0].inner).unwrap().to, named);
            assert_eq!(client.read(token, Token::balanceOfCall { account: SELLER }).await, U256::ZERO);
            assert_eq!(client.read(token, Token::balanceOfCall { account: THIEF }).await, U256::from(stolen));
        }
    }

    async fn a_plain_token_is_erc20_and_nothing_else(node: Node) {
        let (client, payer) = (&node.client, node.account(0x44).await);
        client.ask::<Value>("anvil_setCode", json!([PLACE, Bytes::from_static(artefacts::PLAIN_TOKEN.runtime)])).await;
        assert!(client.send(&payer, PLACE, Plain::mintCall { to: payer.address(), value: U256::from(50) }).await.status());
        assert_eq!(client.read(PLACE, Token::decimalsCall {}).await, 18);
        client.call_refusal(PLACE, Token::noncesCall { owner: payer.address() }).await;
        let payment = authorization(payer.address(), SELLER, 1, client.time().await);
        client.call_refusal(PLACE, payment.in_parts(&sign(&payer, &payment, &token_domain(PLACE)))).await;
        let spender = node.account(0x66).await;
        let take = |value: u64| Token::transferFromCall { from: payer.address(), to: SELLER, value: U256::from(value) };
        assert!(!client.send(&spender, PLACE, take(1)).await.status());
        let approve = Token::approveCall { spender: spender.address(), value: U256::from(20) };
        assert!(client.send(&payer, PLACE, approve).await.status());
        assert!(client.send(&spender, PLACE, take(20)).await.status());
        assert!(!client.send(&spender, PLACE, take(1)).await.status());
        assert!(client.send(&payer, PLACE, Token::transferCall { to: SELLER, value: U256::from(30) }).await.status());
        assert!(!client.send(&payer, PLACE, Token::transferCall { to: SELLER, value: U256::ONE }).await.status());
        assert_eq!(client.read(PLACE, Token::balanceOfCall { account: SELLER }).await, U256::from(50));
    }
}
