//! Keys, by the first vector of RFC 8032, section 7.1.

use std::path::Path;

use serde_json::json;
use tollway_protocol::Secret;
use tollway_svm::keys::{Key, KeyError};

const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const SIGNATURE: &str = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";

const ADDRESS: &str = "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z";
const SEED_58: &str = "BbMQkQYZspmkytduTWvXEtc4mMURjsekJDvty2WtKeSb";
const BOTH_58: &str =
    "49W385L4rePHy6PAaQUovbD2aacgN4HsKXSMeUzRg4fmwXszN91JuMFrQRj3vMDpZuRF3ZknQBuRBoWQJEfXstMw";

fn seed() -> [u8; 32] {
    hex::decode(SEED).unwrap().try_into().unwrap()
}

fn both() -> [u8; 64] {
    hex::decode(format!("{SEED}{PUBLIC}")).unwrap().try_into().unwrap()
}

fn key() -> Key {
    Key::from_seed(&Secret::new(seed()))
}

fn from_base58(text: &str) -> Result<Key, KeyError> {
    Key::from_base58(&Secret::new(text.to_owned()))
}

fn from_json(text: &str) -> Result<Key, KeyError> {
    Key::from_json(&Secret::new(text.to_owned()))
}

fn is_ours(key: &Key) {
    assert_eq!(key.address().to_string(), ADDRESS);
    assert_eq!(hex::encode(key.sign(b"")), SIGNATURE);
}

#[test]
fn every_form_of_a_key_signs_for_the_same_account() {
    is_ours(&key());
    is_ours(&key().clone());
    is_ours(&Key::from_bytes(&Secret::new(both())).unwrap());
    is_ours(&from_base58(BOTH_58).unwrap());
    is_ours(&from_base58(&format!(" {SEED_58}\n")).unwrap());
    is_ours(&from_json(&serde_json::to_string_pretty(&both().to_vec()).unwrap()).unwrap());
}

#[test]
fn leading_zeros_of_a_base58_secret_are_kept() {
    let mut seed = [0; 32];
    assert_eq!(from_base58(&"1".repeat(32)).unwrap().address(), Key::from_seed(&Secret::new(seed)).address());
    // One digit less is 31 bytes, one more 33.
    for count in [31, 33, 0] {
        assert!(matches!(from_base58(&"1".repeat(count)), Err(KeyError::Form(_))), "{count}");
    }
    seed[31] = 1;
    let text = "1".repeat(31) + "2";
    assert_eq!(from_base58(&text).unwrap().address(), Key::from_seed(&Secret::new(seed)).address());
}

#[test]
fn i16_a_public_half_of_another_key_is_refused() {
    for at in [0, 31, 32, 63] {
        let mut bytes = both();
        bytes[at] ^= 1;
        let told = Key::from_bytes(&Secret::new(bytes)).unwrap_err();
        assert!(matches!(told, KeyError::Mismatch), "{at}: {told}");
        let told = from_json(&json!(bytes.to_vec()).to_string()).unwrap_err();
        assert!(matches!(told, KeyError::Mismatch), "{at}: {told}");
    }
    // One other digit in the middle.
    let told = from_base58(&BOTH_58.replace("HsKX", "HsKY")).unwrap_err();
    assert!(matches!(told, KeyError::Mismatch), "{told}");
}

#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    let mut short = both().to_vec();
    short.pop();
    let long: Vec<_> = both().into_iter().chain([1]).collect();
    for text in [
        json!(short).to_string(),
        json!(long).to_string(),
        json!(both().map(|byte| u16::from(byte) + 256).to_vec()).to_string(),
        json!(both().map(|byte| f64::from(byte) + 0.5).to_vec()).to_string(),
        json!({"key": both().to_vec()}).to_string(),
        json!(hex::encode(both())).to_string(),
        format!("{} 1", json!(both().to_vec())),
        String::new(),
    ] {
        assert!(matches!(from_json(&text), Err(KeyError::Form(_))), "{text}");
    }
    for text in [
        &BOTH_58.replace('4', "0"),
        &format!("{BOTH_58}1"),
        &BOTH_58[3..],
        &format!("0x{SEED}"),
        &format!("{SEED_58}1"),
        "hunter2",
        &"é".repeat(40),
    ] {
        let told = from_base58(text).unwrap_err();
        assert!(matches!(told, KeyError::Form(_)), "{text}: {told}");
        assert!(!told.to_string().contains(text));
    }
}

#[test]
fn a_key_file_of_solana_s_command_line_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("id.json");
    std::fs::write(&file, json!(both().to_vec()).to_string()).unwrap();
    is_ours(&Key::from_file(&file).unwrap());
    std::fs::write(&file, vec![b' '; 1 << 20]).unwrap();
    assert!(matches!(Key::from_file(&file), Err(KeyError::Form(_))), "too long");
    std::fs::write(&file, [0xff; 8]).unwrap();
    assert!(matches!(Key::from_file(&file), Err(KeyError::File(_))), "no text");
    let told = Key::from_file(Path::new("/nowhere/id.json")).unwrap_err();
    assert!(matches!(&told, KeyError::File(why) if why.starts_with("/nowhere/id.json: ")), "{told}");
}

#[test]
fn i16_a_keystore_opens_with_its_passphrase_only() {
    let dir = tempfile::tempdir().unwrap();
    let pass = |text: &str| Secret::new(text.to_owned());
    key().save(dir.path(), "wallet", &pass("correct")).unwrap();
    let file = dir.path().join("wallet");
    is_ours(&Key::open(&file, &pass("correct")).unwrap());
    assert!(matches!(Key::open(&file, &pass("wrong")), Err(KeyError::Keystore(_))));
    assert!(matches!(Key::open(&dir.path().join("none"), &pass("correct")), Err(KeyError::Keystore(_))));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(SEED) && !text.contains(SEED_58) && !text.contains(PUBLIC), "{text}");
}

#[test]
fn i16_a_printed_key_is_its_address() {
    assert_eq!(format!("{:?}", key()), format!("Key({ADDRESS})"));
}
