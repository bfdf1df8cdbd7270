//! Network ids, their v1 names, and patterns.

use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;
use serde_json::json;
use tollway_protocol::network::V1_NAMES;
use tollway_protocol::{Network, NetworkPattern};

static CAIP_2: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\A([-a-z0-9]{3,8}):([-_a-zA-Z0-9]{1,32})\z").unwrap());

#[test]
fn malformed_ids_are_refused() {
    let long = format!("solana:{}", "a".repeat(33));
    for bad in [
        "",
        ":",
        "eip155",
        "eip155:",
        ":8453",
        "eip155:8453\n",
        " eip155:8453",
        "eip155: 8453",
        "EIP155:1",
        "eip155:08453",
        "eip155:+1",
        "eip155:0",
        "eip155:0x1",
        "eip155:1:2",
        "eip155:abc",
        "ab:1",
        "abcdefghi:1",
        "eip155:18446744073709551616",
        "base",
        "eip155:１",
        "solana:é",
        "eip155:*",
        "eip155:1\0",
        &long,
    ] {
        assert!(Network::new(bad).is_err(), "{bad:?}");
        assert!(serde_json::from_value::<Network>(json!(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn every_v1_name_stands_for_one_network_and_back() {
    for (name, id) in V1_NAMES {
        let network = Network::named(name).unwrap();
        assert_eq!(network.as_str(), *id);
        assert_eq!(network.v1_name(), Some(*name));
        assert_eq!(Network::any(name).unwrap(), Network::any(id).unwrap());
    }
    assert_eq!(V1_NAMES.len(), 26);
    assert_eq!(Network::named("Base"), None);
    assert_eq!(Network::eip155(31337).v1_name(), None);
}

#[test]
fn v1_names_do_not_pass_for_ids_on_the_v2_wire() {
    for (name, _) in V1_NAMES {
        assert!(serde_json::from_value::<Network>(json!(name)).is_err());
    }
}

#[test]
fn chain_ids_are_for_evm_networks_only() {
    assert_eq!(Network::new("eip155:8453").unwrap().chain_id(), Some(8453));
    assert_eq!(Network::new("cosmos:8453").unwrap().chain_id(), None);
    assert_eq!(Network::eip155(u64::MAX).chain_id(), Some(u64::MAX));
}

#[test]
fn a_pattern_is_one_network_or_one_family() {
    let base = Network::eip155(8453);
    for (pattern, matches) in [
        ("eip155:*", true),
        ("eip155:8453", true),
        ("base", true),
        ("eip155:1", false),
        ("solana:*", false),
        ("eip15:*", false),
        ("eip155-:*", false),
    ] {
        assert_eq!(NetworkPattern::new(pattern).unwrap().matches(&base), matches, "{pattern}");
    }
    for bad in ["*", ":*", "*:*", "eip155:8*", "eip155:**", "eip155.*", "EIP155:*", "", "eip155:"] {
        assert!(NetworkPattern::new(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn ids_are_what_the_grammar_says(text in prop_oneof![
        "[-a-zA-Z0-9]{0,10}:[-_a-zA-Z0-9]{0,34}", "(eip155|solana|sui):[0-9]{1,22}", any::<String>()
    ]) {
        let grammar = CAIP_2.captures(&text).is_some_and(|parts| {
            &parts[1] != "eip155" || !parts[2].starts_with('0') && parts[2].bytes().all(|b| b.is_ascii_digit())
                && fits_u64(&parts[2])
        });
        prop_assert_eq!(Network::new(&text).is_ok(), grammar);
        if let Ok(network) = Network::new(&text) {
            prop_assert_eq!(format!("{}:{}", network.namespace(), network.reference()), text);
        }
    }
}

fn fits_u64(digits: &str) -> bool {
    digits.len() < 20 || digits.len() == 20 && digits <= "18446744073709551615"
}
