//! The numeric door against an oracle that shares no code with it: a regex and big integers.

use std::str::FromStr;
use std::sync::LazyLock;

use num_bigint::BigUint;
use proptest::prelude::*;
use regex::Regex;
use serde_json::{Value, json};
use tollway_protocol::door::{self, Address, Amount, DoorError, UnixTime};
use tollway_protocol::{Network, Offer, v1};

use crate::samples::{USDC, base, offer_json, v1_offer_json};

static PLAIN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\A(?:0|[1-9][0-9]*)\z").unwrap());

/// The number, if the oracle takes it and it has at most so many bits.
fn oracle(text: &str, bits: u64) -> Option<BigUint> {
    let number = PLAIN.is_match(text).then(|| BigUint::from_str(text).unwrap())?;
    (number.bits() <= bits).then_some(number)
}

/// Threat RS21's list and the malformed corpus' amounts.
const RS21: &[&str] = &[
    " 10000",
    "10000 ",
    " 10000 ",
    "+10000",
    "-10000",
    "-0",
    "+0",
    "10_000",
    "1_0",
    "_1",
    "1_",
    "010000",
    "00",
    "01",
    "１００００",
    "١٠٠٠٠",
    "10000\n",
    "\n10000",
    "10000\r\n",
    "10000\0",
    "\u{feff}10000",
    "10000.0",
    "10000.",
    ".5",
    "1e4",
    "1E4",
    "1e+4",
    "0x2710",
    "0X10",
    "0b1",
    "0o7",
    "2710h",
    "10,000",
    "10.000",
    "10 000",
    "10'000",
    "",
    " ",
    "NaN",
    "nan",
    "inf",
    "Infinity",
    "null",
    "true",
    "٣",
    "Ⅻ",
    "10000n",
    "10000u64",
    "\u{a0}1",
    "1\u{200b}",
    "\u{202e}1",
    "115792089237316195423570985008687907853269984665640564039457584007913129639936",
    "200000000000000000000000000000000000000000000000000000000000000000000000000000",
    "1000000000000000000000000000000000000000000000000000000000000000000000000000000",
];

const U256_MAX: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

#[test]
fn rs21_non_canonical_amounts_are_refused_in_every_amount_field() {
    for text in RS21 {
        assert!(Amount::atomic(text).is_err(), "{text:?}");
        assert!(door::decimal_u64(text).is_err(), "{text:?}");
        assert!(UnixTime::decimal(text).is_err(), "{text:?}");
        let (mut v2, mut v1) = (offer_json(), v1_offer_json());
        v2["amount"] = json!(text);
        v1["maxAmountRequired"] = json!(text);
        assert!(serde_json::from_value::<Offer>(v2).is_err(), "{text:?}");
        assert!(serde_json::from_value::<v1::Offer>(v1).is_err(), "{text:?}");
    }
}

#[test]
fn rs21_an_amount_on_the_wire_is_a_string() {
    for value in [json!(10000), json!(10000.0), json!(-1), json!(1e4), json!(["1"]), json!({}), json!(true)] {
        let mut offer = offer_json();
        offer["amount"] = value.clone();
        assert!(serde_json::from_value::<Offer>(offer).is_err(), "{value}");
    }
}

#[test]
fn rs21_the_edges_of_the_range_are_exact() {
    assert_eq!(Amount::atomic(U256_MAX).unwrap().to_string(), U256_MAX);
    assert_eq!(Amount::atomic(RS21[RS21.len() - 3]), Err(DoorError::OutOfRange));
    assert_eq!(door::decimal_u64("18446744073709551615"), Ok(u64::MAX));
    assert_eq!(door::decimal_u64("18446744073709551616"), Err(DoorError::OutOfRange));
    assert_eq!(Amount::atomic(&"9".repeat(1_000_000)), Err(DoorError::OutOfRange));
    assert_eq!(Amount::atomic(&"9_".repeat(500_000)), Err(DoorError::NotDecimal));
}

#[test]
fn x402rs_11_timeouts_are_plain_json_numbers_and_times_never_overflow() {
    for value in [json!("60"), json!(60.5), json!(-1), json!(null), json!(1e30)] {
        let mut offer = offer_json();
        offer["maxTimeoutSeconds"] = value.clone();
        assert!(serde_json::from_value::<Offer>(offer).is_err(), "{value}");
    }
    let mut offer = offer_json();
    offer["maxTimeoutSeconds"] = json!(u64::MAX);
    let offer: Offer = serde_json::from_value(offer).unwrap();
    assert_eq!(UnixTime(5).plus(offer.max_timeout_seconds), UnixTime(u64::MAX));
    assert_eq!(UnixTime(5).minus(u64::MAX), UnixTime(0));
}

#[test]
fn hex_needs_its_prefix_and_its_length() {
    assert_eq!(door::hex_array::<2>("0xAbcd"), Ok([0xab, 0xcd]));
    for bad in
        ["abcd", "0Xabcd", "0xabc", "0xabcg", "0xab cd", " 0xabcd", "0xabcd\n", "0x", "", "0x0xab", "0x+bcd"]
    {
        assert!(door::hex_array::<2>(bad).is_err(), "{bad:?}");
    }
    assert_eq!(door::hex_bytes("0x", 4), Ok(vec![]));
    assert_eq!(door::hex_bytes("0xaabb", 1), Err(DoorError::Length { expected: 1, found: 2 }));
    assert_eq!(door::hex_bytes("0xabc", 4), Err(DoorError::NotHex));
}

#[test]
fn an_evm_address_is_twenty_bytes_of_hex_in_any_case() {
    let canonical = Address::on(&base(), USDC).unwrap();
    for same in [USDC.to_lowercase(), format!("0x{}", USDC[2..].to_uppercase())] {
        assert_eq!(Address::on(&base(), &same).unwrap(), canonical);
    }
    let short = &USDC[..40];
    let long = format!("{USDC}00");
    let icap = "XE7338O073KYGTWWZN0F2WZ0R8PX5ZPPZS";
    for bad in [short, &long, icap, &USDC[2..], "0x", "", " ", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"]
    {
        assert!(Address::on(&base(), bad).is_err(), "{bad}");
    }
    let spaced = format!(" {USDC}");
    assert!(Address::on(&base(), &spaced).is_err());
}

#[test]
fn a_solana_address_keeps_its_case() {
    let solana = Network::named("solana").unwrap();
    let mint = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
    assert_eq!(Address::on(&solana, mint).unwrap().as_str(), mint);
    let other = Address::on(&solana, &mint.replace("EPj", "epj"));
    assert!(other.is_ok_and(|other| other != Address::on(&solana, mint).unwrap()));
    for bad in [USDC, "0OIl0OIl0OIl0OIl0OIl0OIl0OIl0OIl", "short", ""] {
        assert!(Address::on(&solana, bad).is_err(), "{bad}");
    }
}

#[test]
fn an_amount_prints_in_whole_units() {
    let amount = |text| Amount::atomic(text).unwrap();
    assert_eq!(amount("0").in_units(6), "0");
    assert_eq!(amount("1").in_units(6), "0.000001");
    assert_eq!(amount("1500000").in_units(6), "1.5");
    assert_eq!(amount("7").in_units(0), "7");
    assert_eq!(amount(U256_MAX).in_units(77).split('.').next(), Some("1"));
    assert_eq!(amount("1").in_units(255).len(), 257);
}

/// Texts near the grammar: digits with the wrong things in them.
fn nearly_numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{0,90}",
        "[1-9][0-9]{70,80}",
        "1157920892373161954235709850086879078532699846656405640394575840079131296399[0-9]{0,4}",
        "[-+ _.,eExX0-9\n\u{0}\u{660}-\u{669}\u{ff10}-\u{ff19}]{0,30}",
        any::<String>(),
        any::<[u64; 4]>()
            .prop_map(|w| w.iter().fold(BigUint::default(), |n, w| (n << 64u32) + w).to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn rs21_the_door_takes_what_the_oracle_takes(text in nearly_numbers()) {
        let read = Amount::atomic(&text).ok().map(|amount| amount.to_string());
        prop_assert_eq!(read, oracle(&text, 256).map(|n| n.to_string()));
        let read = door::decimal_u64(&text).ok().map(|n| n.to_string());
        prop_assert_eq!(read, oracle(&text, 64).map(|n| n.to_string()));
    }

    #[test]
    fn rs21_an_amount_is_written_as_it_was_read(words in any::<[u64; 4]>()) {
        let text = words.iter().fold(BigUint::default(), |n, w| (n << 64u32) + w).to_string();
        let amount = Amount::atomic(&text).unwrap();
        prop_assert_eq!(serde_json::to_value(amount).unwrap(), Value::String(text.clone()));
        prop_assert_eq!(serde_json::from_value::<Amount>(Value::String(text)).unwrap(), amount);
    }

    #[test]
    fn sums_overflow_to_none(a in any::<[u64; 4]>(), b in any::<[u64; 4]>()) {
        let big = |w: [u64; 4]| w.iter().fold(BigUint::default(), |n, w| (n << 64u32) + w);
        let (a, b) = (big(a), big(b));
        let read = |n: &BigUint| Amount::atomic(&n.to_string()).unwrap();
        let sum = read(&a).checked_add(read(&b)).map(|n| n.to_string());
        prop_assert_eq!(sum, oracle(&(a + b).to_string(), 256).map(|n| n.to_string()));
    }
}
