//! One recovery phrase for both accounts: BIP-39, and from its seed BIP-32 for the EVM account and SLIP-10 for Solana's,
//! at the paths that wallets use.

use std::str::FromStr as _;

use bip32::{DerivationPath, XPrv};
use bip39::{Language, Mnemonic};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use tollway_evm::keys::Key;
use tollway_protocol::Secret;
use tollway_svm::keys as solana;
use zeroize::Zeroizing;

use crate::exit::{Doing as _, Failure};

/// The first account of Ethereum's wallets.
const EVM_PATH: &str = "m/44'/60'/0'/0/0";
/// The first account of Solana's wallets, m/44'/501'/0'/0': all hardened.
const SOLANA_PATH: [u32; 4] = [44, 501, 0, 0];
const HARDENED: u32 = 1 << 31;

/// A phrase of English words, without a password of its own.
pub(super) struct Phrase(Mnemonic);

/// How many words a new phrase has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Words {
    /// 128 random bits.
    #[value(name = "12")]
    Twelve,
    /// 256 random bits.
    #[value(name = "24")]
    TwentyFour,
}

impl Phrase {
    /// From the system's random numbers.
    pub(super) fn fresh(words: Words) -> Result<Self, Failure> {
        let mut entropy = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut *entropy)
            .map_err(|error| Failure::general(format!("no random numbers: {error}")))?;
        let length = if words == Words::Twelve { 16 } else { 32 };
        let bits = entropy.get(..length).unwrap_or_default();
        Mnemonic::from_entropy(bits).map(Self).doing(|| "the new phrase".to_owned())
    }

    /// Reads a phrase of 12, 15, 18, 21 or 24 words.
    pub(super) fn read(text: &Secret<String>) -> Result<Self, Failure> {
        let words: Vec<String> = text.expose().split_whitespace().map(str::to_ascii_lowercase).collect();
        let words = Secret::new(words.join(" "));
        // The error may name a word by its place only: the phrase is a secret.
        Mnemonic::parse_in_normalized(Language::English, words.expose()).map(Self).map_err(|_| {
            Failure::general("not a recovery phrase: 12 to 24 English words of BIP-39 are expected")
        })
    }

    /// The words.
    pub(super) fn words(&self) -> Secret<String> {
        Secret::new(self.0.to_string())
    }

    fn seed(&self) -> Secret<[u8; 64]> {
        Secret::new(self.0.to_seed_normalized(""))
    }

    /// The account on EVM networks.
    pub(super) fn evm(&self) -> Result<Key, Failure> {
        let underivable = |_| Failure::general("the phrase has no account on EVM networks");
        let path = DerivationPath::from_str(EVM_PATH).map_err(underivable)?;
        let key = XPrv::derive_from_path(self.seed().expose(), &path).map_err(underivable)?;
        Key::from_bytes(&Secret::new(key.to_bytes())).doing(|| EVM_PATH.to_owned())
    }

    /// The account on Solana.
    pub(super) fn solana(&self) -> Result<solana::Key, Failure> {
        let mut node = hashed(b"ed25519 seed", &[self.seed().expose()])?;
        for index in SOLANA_PATH {
            let (key, chain) = node.expose().split_at(32);
            node = hashed(chain, &[&[0], key, &(index | HARDENED).to_be_bytes()])?;
        }
        let key = node.expose().first_chunk::<32>().copied().unwrap_or_default();
        Ok(solana::Key::from_seed(&Secret::new(key)))
    }
}

/// HMAC-SHA512: a key and a chain code.
fn hashed(key: &[u8], parts: &[&[u8]]) -> Result<Secret<[u8; 64]>, Failure> {
    let mut hmac = Hmac::<Sha512>::new_from_slice(key).doing(|| "HMAC".to_owned())?;
    parts.iter().for_each(|part| hmac.update(part));
    Ok(Secret::new(hmac.finalize().into_bytes().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABANDON: &str =
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    fn read(text: &str) -> Result<Phrase, Failure> {
        Phrase::read(&Secret::new(text.to_owned()))
    }

    #[test]
    fn a_phrase_gives_the_accounts_that_wallets_show() {
        let phrase = read(&format!("  {}\n", ABANDON.to_uppercase().replace(' ', "  "))).unwrap();
        assert_eq!(phrase.evm().unwrap().address().to_string(), "0x9858EfFD232B4033E47d90003D41EC34EcaEda94");
        let solana = phrase.solana().unwrap().address().to_string();
        assert_eq!(solana, "HAgk14JpMQLgt6rVgv7cBQFJWFto5Dqxi472uT3DKpqk");
    }

    #[test]
    fn a_new_phrase_has_the_words_asked_for_and_reads_back() {
        for (words, count) in [(Words::Twelve, 12), (Words::TwentyFour, 24)] {
            let phrase = Phrase::fresh(words).unwrap();
            let text = phrase.words();
            assert_eq!(text.expose().split(' ').count(), count);
            let again = Phrase::read(&text).unwrap();
            assert_eq!(again.evm().unwrap().address(), phrase.evm().unwrap().address());
            assert_eq!(again.solana().unwrap().address(), phrase.solana().unwrap().address());
        }
    }

    #[test]
    fn i16_a_wrong_phrase_is_refused_without_being_repeated() {
        let (longer, shorter) = (format!("{ABANDON} abandon"), ABANDON.replace(" about", ""));
        for wrong in
            [ABANDON.replace("about", "abandon"), ABANDON.replace("about", "s3cret"), longer, shorter]
        {
            let what = read(&wrong).err().unwrap().what;
            assert!(!what.contains("abandon") && !what.contains("s3cret"), "{what}");
        }
    }
}
