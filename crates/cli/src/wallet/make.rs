//! `tollway wallet new` and `import`.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use clap::Args;
use tollway_evm::keys::Key;
use tollway_protocol::Secret;
use tollway_svm::keys as solana;

use super::phrase::{Phrase, Words};
use super::{Addresses, Store, store};
use crate::exit::{Doing as _, Exit, Failure};
use crate::{home, screen, secrets};

/// Longer input is no key.
const LONGEST_KEY: u64 = 1024;

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    #[command(flatten)]
    store: Store,
    /// Derive both keys from a recovery phrase of so many words, which is shown once.
    #[arg(long, value_name = "WORDS", value_enum, num_args = 0..=1, default_missing_value = "12")]
    mnemonic: Option<Words>,
    /// Make Solana's key alone.
    #[arg(long, conflicts_with = "mnemonic")]
    solana: bool,
}

/// Keys to be written.
struct Keys {
    evm: Option<Key>,
    solana: Option<solana::Key>,
}

impl Keys {
    fn of(phrase: &Phrase) -> Result<Self, Failure> {
        Ok(Self { evm: Some(phrase.evm()?), solana: Some(phrase.solana()?) })
    }
}

pub(super) fn new(args: &NewArgs) -> Result<Exit, Failure> {
    let path = args.store.path()?;
    if !args.solana {
        store::refuse_existing(&path)?;
    }
    store::refuse_existing(&home::solana_beside(&path))?;
    let phrase = args.mnemonic.map(Phrase::fresh).transpose()?;
    let keys = match &phrase {
        Some(phrase) => Keys::of(phrase)?,
        None => Keys {
            evm: (!args.solana).then(secrets::fresh).transpose()?,
            solana: Some(secrets::fresh_solana()?.0),
        },
    };
    let done = save(&args.store, &keys)?;
    if let Some(phrase) = phrase {
        let words = phrase.words();
        screen::note(&format!(
            "tollway: the recovery phrase, shown this once: write it down\n\n  {}\n",
            words.expose()
        ));
    }
    Ok(done)
}

pub(super) fn import(store: &Store) -> Result<Exit, Failure> {
    let path = store.path()?;
    if path.exists() && home::solana_beside(&path).exists() {
        store::refuse_existing(&path)?;
    }
    save(store, &imported()?)
}

/// Encrypts what is given, with one passphrase for both.
fn save(store: &Store, keys: &Keys) -> Result<Exit, Failure> {
    let path = store.path()?;
    let beside = home::solana_beside(&path);
    let (evm, solana) = (&keys.evm, &keys.solana);
    let written = [(evm.is_some(), path.as_path()), (solana.is_some(), beside.as_path())];
    let written = || written.iter().filter(|(is_given, _)| *is_given).map(|(_, path)| *path);
    written().try_for_each(store::refuse_existing)?;
    let passphrase = passphrase(&path, &beside)?;
    // In this order: the second one can be made later, with `--solana`.
    if let Some(key) = evm {
        store::save_evm(key, &path, &passphrase)?;
    }
    if let Some(key) = solana {
        store::save_solana(key, &beside, &passphrase)?;
    }
    if !store.json {
        let files: Vec<String> = written().map(|path| path.display().to_string()).collect();
        screen::note(&format!("tollway: written to {}; back it up, and its passphrase", files.join(" and ")));
    }
    let addresses = Addresses {
        evm: evm.as_ref().map(|key| key.address().to_string()),
        solana: solana.as_ref().map(|key| key.address().to_string()),
    };
    store.show(&addresses, &path)
}

/// A new passphrase, or that of the keystore which is there already: one opens both.
fn passphrase(path: &Path, beside: &Path) -> Result<Secret<String>, Failure> {
    let known = [path, beside].into_iter().find(|path| path.exists());
    let Some(known) = known else { return secrets::new_passphrase() };
    let passphrase = secrets::passphrase(&format!("Passphrase of {}: ", known.display()))?;
    let opened = if known == path {
        secrets::open(known, &passphrase).map(drop)
    } else {
        secrets::open_solana(known, &passphrase).map(drop)
    };
    opened.map(|()| passphrase)
}

/// From the environment, a pipe, or a prompt.
fn imported() -> Result<Keys, Failure> {
    let (evm, solana) = (secrets::key_from_env()?, secrets::solana_key_from_env()?);
    if evm.is_some() || solana.is_some() {
        return Ok(Keys { evm, solana });
    }
    let text = if std::io::stdin().is_terminal() {
        secrets::ask("Private key or recovery phrase: ")?
    } else {
        let mut text = String::new();
        std::io::stdin().lock().take(LONGEST_KEY).read_to_string(&mut text).doing(|| "stdin".to_owned())?;
        Secret::new(text)
    };
    read(&text)
}

/// Tells by its form what it is.
fn read(text: &Secret<String>) -> Result<Keys, Failure> {
    let trimmed = text.expose().trim();
    let failed = |error: &dyn std::error::Error| {
        Failure::general(error.to_string()).todo(format!(
            "give it in {}, {} or on stdin: 64 hex digits for EVM networks; base58 or the JSON array of a key file for Solana; or a recovery phrase",
            secrets::PRIVATE_KEY,
            secrets::SOLANA_KEY
        ))
    };
    let is_solana = trimmed.starts_with('[') || is_base58_key(trimmed);
    if !is_solana && trimmed.split_whitespace().nth(1).is_some() {
        return Keys::of(&Phrase::read(text)?);
    }
    if is_solana {
        let key = secrets::solana_key(text).map_err(|error| failed(&error))?;
        return Ok(Keys { evm: None, solana: Some(key) });
    }
    let key = Key::from_hex(text).map_err(|error| failed(&error))?;
    Ok(Keys { evm: Some(key), solana: None })
}

/// As long as 32 or 64 bytes are in base58, which 64 hex digits are not.
fn is_base58_key(text: &str) -> bool {
    matches!(text.len(), 32..=44 | 80..=90) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
