//! Header values: every document that travels in one. Decoding never panics, what was decoded is
//! written canonically, and what was written reads back as the same document.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollway_protocol::header::{self, HeaderDocument, MAX_HEADER};
use tollway_protocol::{Challenge, Payment, Settlement, v1};

fn round<T: HeaderDocument + PartialEq + std::fmt::Debug>(value: &[u8]) {
    let Ok(document) = header::decode::<T>(value) else { return };
    let written = header::encode(&document);
    assert!(written.bytes().all(|b| b.is_ascii_graphic()), "a header value is one line of ASCII");
    if written.len() <= MAX_HEADER {
        let again = header::decode::<T>(written.as_bytes()).expect("what was written is read");
        assert_eq!(again, document);
        assert_eq!(header::encode(&again), written, "writing is canonical");
    }
}

fn every(value: &[u8]) {
    round::<Challenge>(value);
    round::<Payment>(value);
    round::<Settlement>(value);
    round::<v1::Payment>(value);
    round::<v1::Settlement>(value);
}

fuzz_target!(|data: &[u8]| {
    if let Ok(bytes) = header::decode_base64(data) {
        assert!(data.len() <= MAX_HEADER + 64 || data.trim_ascii().len() <= MAX_HEADER);
        assert!(bytes.len() <= MAX_HEADER * 3 / 4);
    }
    every(data);
    // The same bytes as the JSON inside, so that the fuzzer need not learn base64.
    every(base64(data).as_bytes());
});

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * i)) as usize & 63]));
        }
    }
    assert_eq!(header::decode_base64(text.as_bytes()).ok().as_deref(), {
        (text.len() <= MAX_HEADER).then_some(bytes)
    });
    text
}
