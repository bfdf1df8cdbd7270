//! Which offer is paid, and which are not.

use proptest::prelude::*;
use serde_json::{Value, json};
use tollway_payer::{
    Asked, Journal, NotAsked, PayError, Policy, PolicyError, Purchase, ResourceRule, Speaks, Unfit,
};
use tollway_protocol::{Network, NetworkPattern, assets::Asset};

use crate::common::*;

const URL: &str = "https://shop.example/data?q=1";

fn asked_at(url: &str, offers: &[Value]) -> Asked {
    let challenge = json!({"x402Version": 2, "resource": {"url": url}, "accepts": offers});
    let mut headers = http::HeaderMap::new();
    headers.insert("payment-required", encode(&challenge).parse_header());
    Asked::read(&headers, b"").unwrap()
}

trait ParseHeader {
    fn parse_header(&self) -> http::HeaderValue;
}

impl ParseHeader for String {
    fn parse_header(&self) -> http::HeaderValue {
        http::HeaderValue::from_str(self).unwrap()
    }
}

fn plan(policy: Policy, offers: &[Value]) -> Result<usize, PayError> {
    plan_at(policy, &asked_at(URL, offers), &purchase(URL))
}

fn plan_at(policy: Policy, asked: &Asked, purchase: &Purchase) -> Result<usize, PayError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(payer(policy).0.plan(asked, purchase)).map(|plan| plan.index)
}

fn why(policy: Policy, offer: Value) -> Unfit {
    match plan(policy, &[offer]) {
        Err(PayError::Declined(mut declined)) => declined.rejected.remove(0).why,
        other => panic!("{other:?}"),
    }
}

fn policy_says(policy: Policy, offer: Value) -> PolicyError {
    match why(policy, offer) {
        Unfit::Policy(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn cl02_hostile_offers_first_do_not_hide_the_one_that_fits_and_the_cheapest_wins() {
    let offers = [
        offer("999999999999"),
        with(offer("1"), "network", "eip155:666"),
        with(offer("1"), "asset", MALLORY),
        with(offer("1"), "network", "not a network"),
        json!({"scheme": "exact"}),
        offer("20000"),
        offer("10000"),
        with(offer("10000"), "payTo", MALLORY),
    ];
    assert_eq!(plan(Policy::default(), &offers).unwrap(), 6);
}

#[test]
fn cl02_when_nothing_fits_every_offers_reason_is_told() {
    let offers = [
        offer("1000001"),
        with(offer("1"), "asset", MALLORY),
        with(offer("1"), "scheme", "upto"),
        with(offer("1"), "maxTimeoutSeconds", 601),
        with(offer("1"), "extra", json!({})),
        with(offer("1"), "amount", "1e3"),
    ];
    let error = plan(Policy::default(), &offers).unwrap_err().to_string();
    for part in [
        "offer 1: 1.000001 USDC asked, at most $1 a payment",
        "Policy::cap",
        "offer 2: asset 0x6666",
        "Policy::allow_asset",
        "offer 3: the wallet has no account for upto on eip155:84532",
        "offer 4: maxTimeoutSeconds is 601, at most 600",
        "offer 5: the offer can't be paid: extra.name is missing",
        "offer 6: it can't be read",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn a_refusals_text_and_what_a_program_can_do_about_it_are_apart() {
    let refused = policy_says(Policy::default(), offer("1000001"));
    assert_eq!(refused.to_string(), "1.000001 USDC asked, at most $1 a payment");
    assert_eq!(refused.hint(), "raise it with Policy::cap");
    assert_eq!(Unfit::Policy(refused).hint().unwrap(), "raise it with Policy::cap");
}

#[test]
fn cl08_the_cap_is_in_our_own_units_whatever_the_offer_says_of_decimals() {
    let lying = with(offer("2000000"), "extra", json!({"name": "USDC", "version": "2", "decimals": 18}));
    assert!(matches!(policy_says(Policy::default(), lying), PolicyError::Cap { asked, .. } if asked == "2"));
    let huge = offer(&"9".repeat(77));
    assert!(matches!(policy_says(Policy::default(), huge), PolicyError::Cap { .. }));
}

fn token(decimals: u8) -> Asset {
    Asset {
        network: Network::new(SEPOLIA).unwrap(),
        address: MALLORY.into(),
        symbol: "TOK".into(),
        decimals,
        domain: None,
        eip3009: true,
    }
}

#[test]
fn x402rs_35_prices_are_compared_across_decimals_and_by_what_the_policy_says_an_asset_is_worth() {
    let dear = with(offer("50000000000000000"), "asset", MALLORY);
    let policy = Policy::default().allow_asset(token(18));
    assert_eq!(plan(policy, &[dear.clone(), offer("10000")]).unwrap(), 1, "0.05 of 18 decimals > 0.01 of 6");
    let cheap = Policy::default().allow_asset_at(token(18), &money("$0.1")).unwrap();
    assert_eq!(plan(cheap, &[offer("10000"), dear]).unwrap(), 1, "0.05 at $0.1 is $0.005");
}

#[test]
fn cl02_networks_schemes_and_assets_can_be_narrowed() {
    let only = |text| Policy::default().networks([NetworkPattern::new(text).unwrap()]);
    assert_eq!(plan(only("base-sepolia"), &[offer("1")]).unwrap(), 0);
    assert!(matches!(policy_says(only("base"), offer("1")), PolicyError::Network { .. }));
    let schemes = Policy::default().schemes(["upto"]);
    assert!(matches!(policy_says(schemes, offer("1")), PolicyError::Scheme { .. }));
    let added = Policy::default().only_added_assets();
    assert!(matches!(policy_says(added, offer("1")), PolicyError::Asset { .. }));
}

#[test]
fn cl12_windows_of_days_and_of_a_second_are_refused_unless_allowed() {
    let window = |seconds: u64| with(offer("1"), "maxTimeoutSeconds", seconds);
    let long = policy_says(Policy::default(), window(31_536_000));
    assert!(matches!(long, PolicyError::WindowTooLong { asked: 31_536_000, max: 600 }));
    let short = policy_says(Policy::default(), window(1));
    assert!(matches!(short, PolicyError::WindowTooShort { asked: 1, min: 8 }));
    assert_eq!(plan(Policy::default().window(8, 3600), &[window(3600)]).unwrap(), 0);
}

#[test]
fn x402rs_10_an_unknown_transfer_method_is_not_payable() {
    for method in [json!("erc7710"), json!("permit2"), json!(""), json!(7), json!({"a": 1})] {
        let odd = with(offer("1"), "extra", json!({"name": "USDC", "assetTransferMethod": method}));
        assert!(matches!(why(Policy::default(), odd), Unfit::TransferMethod(_)));
    }
    let plain = with(offer("1"), "extra", json!({"name": "USDC", "assetTransferMethod": "eip3009"}));
    assert_eq!(plan(Policy::default(), &[plain]).unwrap(), 0);
}

#[test]
fn flows_other_than_authorization_are_dropped_with_a_reason() {
    for flow in ["upfront", "escrow", "novel"] {
        let odd = with(offer("1"), "extra", json!({"name": "USDC", "paymentFlow": flow}));
        assert_eq!(why(Policy::default(), odd.clone()), Unfit::Flow(flow.into()));
        assert_eq!(plan(Policy::default(), &[odd, offer("5")]).unwrap(), 1);
    }
    let plain = with(offer("1"), "extra", json!({"name": "USDC", "paymentFlow": "authorization"}));
    assert_eq!(plan(Policy::default(), &[plain]).unwrap(), 0);
}

#[test]
fn cl09_plain_http_is_refused_but_for_loopback_and_allowed_hosts() {
    let insecure = "http://shop.example/";
    let (asked, bought) = (asked_at(insecure, &[offer("1")]), purchase(insecure));
    let error = plan_at(Policy::default(), &asked, &bought).unwrap_err().to_string();
    assert!(error.contains("is not https"), "{error}");
    assert!(plan_at(Policy::default().allow_insecure("shop.example"), &asked, &bought).is_ok());
    let local = "http://127.0.0.1:8080/";
    assert!(plan_at(Policy::default(), &asked_at(local, &[offer("1")]), &purchase(local)).is_ok());
}

#[test]
fn cl10_an_offer_for_another_resource_is_refused() {
    let elsewhere = asked_at("https://other.example/data?q=1", &[offer("1")]);
    let bought = purchase(URL);
    let error = plan_at(Policy::default(), &elsewhere, &bought).unwrap_err().to_string();
    assert!(error.contains("not for the URL requested at https://shop.example"), "{error}");
    assert!(plan_at(Policy::default().resource(ResourceRule::Any), &elsewhere, &bought).is_ok());
    let bare = asked_at("https://shop.example/data", &[offer("1")]);
    assert!(plan_at(Policy::default(), &bare, &bought).is_ok());
}

#[test]
fn cl10_each_v1_offers_own_resource_is_compared() {
    let v1 = |resource: &str, amount: &str| {
        json!({"scheme": "exact", "network": "base-sepolia", "maxAmountRequired": amount, "resource": resource,
               "description": "", "mimeType": "", "payTo": SELLER, "maxTimeoutSeconds": 60, "asset": USDC,
               "extra": {"name": "USDC", "version": "2"}})
    };
    let body = json!({"x402Version": 1, "accepts": [v1(URL, "5"), v1("https://evil.example/", "1")]});
    let asked = Asked::read(&http::HeaderMap::new(), body.to_string().as_bytes()).unwrap();
    assert_eq!(asked.dialect, Speaks::V1);
    assert_eq!(plan_at(Policy::default(), &asked, &purchase(URL)).unwrap(), 0);
}

#[test]
fn cl03_an_invalid_v2_header_is_not_rescued_by_a_v1_body() {
    let body = json!({"x402Version": 1, "accepts": [{"scheme": "exact"}]}).to_string();
    for bad in ["%%%", "e30=", &encode(&json!({"x402Version": 1, "accepts": []})), &"A".repeat(17_000)] {
        let mut headers = http::HeaderMap::new();
        headers.insert("payment-required", http::HeaderValue::from_str(bad).unwrap());
        assert!(matches!(Asked::read(&headers, body.as_bytes()), Err(NotAsked::Invalid(_))), "{bad:.20}");
    }
    let mut twice = http::HeaderMap::new();
    let good = encode(&json!({"x402Version": 2, "resource": {"url": URL}, "accepts": []})).parse_header();
    twice.append("payment-required", good.clone());
    twice.append("payment-required", good);
    assert!(matches!(Asked::read(&twice, b""), Err(NotAsked::Invalid(_))));
}

#[test]
fn cl18_a_challenge_too_long_or_too_deep_is_no_challenge() {
    let deep = format!("{{\"x402Version\":1,\"accepts\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(Asked::read(&http::HeaderMap::new(), deep.as_bytes()), Err(NotAsked::Foreign));
    let long = format!("{{\"x402Version\":1,\"accepts\":[],\"error\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(Asked::read(&http::HeaderMap::new(), long.as_bytes()), Err(NotAsked::Foreign));
}

#[test]
fn cl13_prose_reaches_errors_only_cut_and_cleaned() {
    let challenge = json!({"x402Version": 2, "error": format!("\u{1b}[2J\u{202e}pay {MALLORY} {}", "x".repeat(900)),
        "resource": {"url": URL, "description": format!("send the money to {MALLORY}")}, "accepts": [offer("9000000")]});
    let mut headers = http::HeaderMap::new();
    headers.insert("payment-required", encode(&challenge).parse_header());
    let asked = Asked::read(&headers, b"").unwrap();
    let error = plan_at(Policy::default(), &asked, &purchase(URL)).unwrap_err().to_string();
    assert!(error.len() < 700 && !error.contains('\u{1b}') && !error.contains('\u{202e}'), "{error}");
}

#[tokio::test]
async fn i12_what_the_wallet_signs_wrongly_never_leaves() {
    for lie in [Lie::Recipient, Lie::Amount, Lie::Window, Lie::Twice, Lie::Fails] {
        let account = Account { lie, ..Account::new() };
        let journal = Journal::temporary().unwrap();
        let payer = builder(&account, &journal, &Clock::new()).build().unwrap();
        let shop = Shop::selling(vec![offer("10000")]).await;
        let error = payer.pay(shop.get("/")).await.unwrap_err();
        match lie {
            Lie::Fails => assert!(matches!(error, PayError::Sign(_))),
            _ => assert!(matches!(error, PayError::SignedWrong(_)), "{error}"),
        }
        assert!(shop.payments().is_empty());
        assert!(journal.live().unwrap().is_empty(), "the reservation is given back");
    }
}

fn any_offer() -> impl Strategy<Value = Value> {
    let amounts =
        prop_oneof![Just("1"), Just("10000"), Just("1000000"), Just("1000001"), Just("x"), Just("0")];
    let networks = prop_oneof![Just(SEPOLIA), Just("eip155:8453"), Just("eip155:1"), Just("bogus")];
    let assets = prop_oneof![Just(USDC), Just("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"), Just(MALLORY)];
    let schemes = prop_oneof![3 => Just("exact"), 1 => Just("upto")];
    let flows = prop_oneof![3 => Just(None), 1 => Just(Some("authorization")), 1 => Just(Some("upfront"))];
    let methods = prop_oneof![3 => Just(None), 1 => Just(Some("eip3009")), 1 => Just(Some("permit2"))];
    let seconds = prop_oneof![Just(1u64), Just(8), Just(60), Just(600), Just(601)];
    let payees = prop_oneof![Just(SELLER), Just("nobody")];
    (amounts, networks, assets, schemes, flows, methods, seconds, payees).prop_map(
        |(amount, network, asset, scheme, flow, method, seconds, payee)| {
            let mut extra = json!({"name": "USDC", "version": "2"});
            if let Some(flow) = flow {
                extra["paymentFlow"] = flow.into();
            }
            if let Some(method) = method {
                extra["assetTransferMethod"] = method.into();
            }
            json!({"scheme": scheme, "network": network, "amount": amount, "asset": asset, "payTo": payee,
                   "maxTimeoutSeconds": seconds, "extra": extra})
        },
    )
}

/// An oracle of its own: what the default policy on two networks allows, in atomic units of USDC.
fn allowed(offer: &Value) -> Option<u64> {
    let pair = (offer["network"].as_str()?, offer["asset"].as_str()?);
    let known =
        [(SEPOLIA, USDC), ("eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")].contains(&pair);
    let plain = |name: &str, value: &str| offer["extra"].get(name).is_none_or(|one| one == value);
    let amount = ["0", "1", "10000", "1000000"].iter().find(|text| offer["amount"] == **text)?;
    let good = known
        && offer["scheme"] == "exact"
        && offer["payTo"] == SELLER
        && plain("paymentFlow", "authorization")
        && plain("assetTransferMethod", "eip3009")
        && (8..=600).contains(&offer["maxTimeoutSeconds"].as_u64()?);
    good.then(|| tollway_protocol::door::decimal_u64(amount).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn i12_a_chosen_offer_is_never_outside_the_policy_and_none_inside_is_cheaper(
        offers in proptest::collection::vec(any_offer(), 0..8)
    ) {
        let networks = ["base", "base-sepolia"].map(|name| NetworkPattern::new(name).unwrap());
        let chosen = plan(Policy::default().networks(networks), &offers);
        let best = offers.iter().enumerate().filter_map(|(i, o)| allowed(o).map(|a| (a, i))).min();
        match (chosen, best) {
            (Ok(index), Some((_, expected))) => prop_assert_eq!(index, expected),
            (Err(PayError::Declined(declined)), None) => prop_assert_eq!(declined.rejected.len(), offers.len()),
            (chosen, best) => prop_assert!(false, "{chosen:?} {best:?}"),
        }
    }
}
