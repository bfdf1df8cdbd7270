//! The header codec: lenient about base64's dialects, strict about everything else.

use proptest::prelude::*;
use serde_json::{Value, json};
use tollway_protocol::header::{self, HeaderError, MAX_HEADER};
use tollway_protocol::json::{JsonError, MAX_DEPTH};
use tollway_protocol::{Challenge, Payment, Settlement, v1};

use crate::samples::{payment_json, read, resource_json, v1_payment_json};

fn url_safe(value: &str) -> String {
    value.replace('+', "-").replace('/', "_")
}

/// A payment whose base64 has `+`, `/` and padding.
fn awkward() -> Payment {
    let mut value = payment_json();
    value["extensions"]["x"] = json!("~~~???>>>ÿÿÿ");
    for pad in ["", "a", "aa"] {
        value["extensions"]["pad"] = json!(pad);
        let payment: Payment = read(value.clone());
        let text = header::encode(&payment);
        if text.ends_with('=') && text.contains('+') && text.contains('/') {
            return payment;
        }
    }
    panic!("no sample has padding and both special characters");
}

#[test]
fn every_header_document_reads_what_it_writes() {
    fn check<T: header::HeaderDocument + PartialEq + std::fmt::Debug>(value: Value) {
        let document: T = read(value);
        assert_eq!(header::decode::<T>(header::encode(&document).as_bytes()).unwrap(), document);
    }
    check::<Challenge>(json!({ "x402Version": 2, "resource": resource_json(), "accepts": [] }));
    check::<Payment>(payment_json());
    check::<Settlement>(json!({ "success": true, "transaction": "0x1", "network": "eip155:1" }));
    check::<v1::Payment>(v1_payment_json());
    check::<v1::Settlement>(json!({ "success": true, "transaction": "0x1", "network": "base" }));
}

#[test]
fn rs20_both_alphabets_with_and_without_padding_are_read() {
    let payment = awkward();
    let text = header::encode(&payment);
    let bare = text.trim_end_matches('=').to_owned();
    for form in [text.clone(), bare.clone(), url_safe(&text), url_safe(&bare)] {
        assert_eq!(header::decode::<Payment>(form.as_bytes()).unwrap(), payment, "{form}");
    }
}

#[test]
fn rs20_the_two_alphabets_are_not_mixed() {
    let mixed = header::encode(&awkward()).replacen('+', "-", 1);
    assert!(mixed.contains('/'));
    assert!(matches!(header::decode::<Payment>(mixed.as_bytes()), Err(HeaderError::Base64(_))));
}

#[test]
fn rs20_bits_after_the_last_byte_are_refused() {
    assert_eq!(header::decode_base64(b"e30=").unwrap(), b"{}");
    for loose in ["e31=", "e31", "e3-", "e3_="] {
        assert!(matches!(header::decode_base64(loose.as_bytes()), Err(HeaderError::Base64(_))), "{loose}");
    }
}

#[test]
fn rs20_space_around_the_value_is_ignored_and_inside_it_refused() {
    let text = header::encode(&awkward());
    for around in [format!(" {text}"), format!("{text}\t"), format!("\r\n{text}\r\n")] {
        assert!(header::decode::<Payment>(around.as_bytes()).is_ok());
    }
    for inside in [" ", "\t", "\r\n ", "\n"] {
        let broken = format!("{}{inside}{}", &text[..40], &text[40..]);
        assert!(matches!(header::decode::<Payment>(broken.as_bytes()), Err(HeaderError::Base64(_))));
    }
}

#[test]
fn rs20_padding_in_the_middle_or_too_much_of_it_is_refused() {
    for bad in ["e3==0=", "e30==", "e30===", "=e30", "e=30", "====", "e30=e30="] {
        assert!(header::decode_base64(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn i15_the_longest_header_is_16_kib_and_one_more_byte_is_refused_undecoded() {
    let at_limit = vec![b'A'; MAX_HEADER];
    assert_eq!(header::decode_base64(&at_limit).unwrap().len(), MAX_HEADER / 4 * 3);
    // Not base64 at all: the length is what is refused, before anything is looked at.
    let over = vec![b'!'; MAX_HEADER + 1];
    assert!(matches!(header::decode_base64(&over), Err(HeaderError::TooLong(n)) if n == MAX_HEADER + 1));
}

#[test]
fn i15_depth_is_bounded_before_anything_is_built() {
    let nested = |levels: usize| {
        let mut value = payment_json();
        let mut deep = json!(1);
        for _ in 0..levels {
            deep = json!([deep]);
        }
        value["payload"]["deep"] = deep;
        value.to_string()
    };
    let read = |text: &str| tollway_protocol::json::decode::<Payment>(text.as_bytes(), 1 << 20);
    assert!(read(&nested(MAX_DEPTH - 2)).is_ok());
    assert!(matches!(read(&nested(MAX_DEPTH - 1)), Err(JsonError::TooDeep)));
    let abyss = "[".repeat(100_000);
    assert!(matches!(read(&abyss), Err(JsonError::TooDeep)));
}

#[test]
fn brackets_in_strings_are_not_depth() {
    let mut value = payment_json();
    value["payload"]["text"] = json!("[[[[{{{{\\\"[[[[".repeat(20));
    let text = value.to_string();
    assert!(tollway_protocol::json::decode::<Payment>(text.as_bytes(), text.len()).is_ok());
}

proptest! {
    #[test]
    fn i15_no_header_value_panics(value in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = header::decode::<Payment>(&value);
        let _ = header::decode::<v1::Payment>(&value);
    }

    #[test]
    fn any_text_in_a_payment_survives_the_header(key in "\\PC{1,20}", text in "\\PC{0,40}") {
        let mut value = payment_json();
        value["payload"][&key] = json!(text);
        let payment: Payment = read(value);
        let written = header::encode(&payment);
        prop_assert!(written.bytes().all(|b| b.is_ascii_graphic()));
        prop_assert_eq!(header::decode::<Payment>(written.as_bytes()).unwrap(), payment);
    }
}
