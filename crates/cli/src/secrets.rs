//! Keys and passphrases: from the environment or a prompt, never from the command line.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use tollway_evm::keys::Key;
use tollway_protocol::Secret;
use tollway_svm::keys as solana;

use crate::exit::{Doing as _, Exit, Failure};

/// The variable that holds a private key.
pub(crate) const PRIVATE_KEY: &str = "TOLLWAY_PRIVATE_KEY";
/// The variable that holds a private key of Solana's.
pub(crate) const SOLANA_KEY: &str = "TOLLWAY_SOLANA_KEY";
/// The variable that holds the keystore's passphrase.
pub(crate) const PASSPHRASE: &str = "TOLLWAY_PASSPHRASE";

/// What a variable's name ends with when it names a file that holds the value, as containers get their secrets.
pub(crate) const FILE: &str = "_FILE";
/// The longest secret, in bytes.
const LONGEST: u64 = 16 * 1024;

/// The value of `variable` in a file: its text without the line's end.
pub(crate) fn in_file(variable: &str, path: &Path) -> Result<String, Failure> {
    let doing = || format!("{variable}{FILE}: {}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).doing(doing)?;
    io::Read::read_to_string(&mut io::Read::take(file, LONGEST), &mut text).doing(doing)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A variable that is set and not empty, or the file that `NAME_FILE` names.
pub(crate) fn variable_or_file(name: &str) -> Result<Option<Secret<String>>, Failure> {
    if let Some(secret) = variable(name) {
        return Ok(Some(secret));
    }
    let path = std::env::var_os(format!("{name}{FILE}"));
    path.map(|path| in_file(name, Path::new(&path)).map(Secret::new)).transpose()
}

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<Secret<String>> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(Secret::new)
}

/// The key in `TOLLWAY_PRIVATE_KEY`, if there is one.
pub(crate) fn key_from_env() -> Result<Option<Key>, Failure> {
    let Some(text) = variable(PRIVATE_KEY) else { return Ok(None) };
    Key::from_hex(&text).map(Some).doing(|| PRIVATE_KEY.to_owned())
}

/// A key of Solana's: base58, as wallets export it, or the text of a key file of Solana's command line.
pub(crate) fn solana_key(text: &Secret<String>) -> Result<solana::Key, solana::KeyError> {
    let is_file = text.expose().trim_start().starts_with('[');
    if is_file { solana::Key::from_json(text) } else { solana::Key::from_base58(text) }
}

/// The key in `TOLLWAY_SOLANA_KEY`, or in the file that `TOLLWAY_SOLANA_KEY_FILE` names, if there is one.
pub(crate) fn solana_key_from_env() -> Result<Option<solana::Key>, Failure> {
    let Some(text) = variable_or_file(SOLANA_KEY)? else { return Ok(None) };
    solana_key(&text).map(Some).doing(|| SOLANA_KEY.to_owned())
}

/// A new key for Solana, and its secret in base58, as wallets take it.
pub(crate) fn fresh_solana() -> Result<(solana::Key, Secret<String>), Failure> {
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::general(format!("no random numbers: {error}")))?;
    let seed = Secret::new(seed);
    let key = solana::Key::from_seed(&seed);
    let both = Secret::new([seed.expose().as_slice(), key.address().as_ref()].concat());
    let text = bs58::encode(both.expose()).into_string();
    Ok((key, Secret::new(text)))
}

/// Opens a keystore.
pub(crate) fn open(path: &Path, passphrase: &Secret<String>) -> Result<Key, Failure> {
    Key::open(path, passphrase).map_err(|error| unopened(&error))
}

/// Opens a keystore that has Solana's key in it.
pub(crate) fn open_solana(path: &Path, passphrase: &Secret<String>) -> Result<solana::Key, Failure> {
    solana::Key::open(path, passphrase).map_err(|error| unopened(&error))
}

fn unopened(error: &dyn std::error::Error) -> Failure {
    Failure::general(error.to_string()).todo(format!("check the passphrase ({PASSPHRASE}, or the prompt)"))
}

/// The passphrase of an existing keystore.
pub(crate) fn passphrase(prompt: &str) -> Result<Secret<String>, Failure> {
    match variable(PASSPHRASE) {
        Some(passphrase) => Ok(passphrase),
        None => ask(prompt),
    }
}

/// The passphrase of a keystore to be made; asked for twice.
pub(crate) fn new_passphrase() -> Result<Secret<String>, Failure> {
    if let Some(passphrase) = variable(PASSPHRASE) {
        return Ok(passphrase);
    }
    let first = ask("Passphrase for the new keystore: ")?;
    if first.expose().is_empty() {
        return Err(
            Failure::general("the passphrase is empty").todo("whoever gets the file would have the money")
        );
    }
    if ask("Once more: ")?.expose() != first.expose() {
        return Err(Failure::general("the two passphrases differ; nothing was written"));
    }
    Ok(first)
}

/// Asks on the terminal without showing what is typed.
pub(crate) fn ask(prompt: &str) -> Result<Secret<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::General, "a passphrase is needed and there is no terminal to ask on")
            .todo(format!("set {PASSPHRASE}")));
    }
    rpassword::prompt_password(prompt).map(Secret::new).doing(|| "the passphrase can't be read".to_owned())
}

/// A key from the system's random numbers.
pub(crate) fn fresh() -> Result<Key, Failure> {
    Ok(fresh_with_secret()?.0)
}

/// A key for a development chain, and its hex to be shown.
pub(crate) fn fresh_with_secret() -> Result<(Key, Secret<String>), Failure> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| Failure::general(format!("no random numbers: {error}")))?;
    let secret = Secret::new(bytes);
    let key = Key::from_bytes(&secret).doing(|| "the new key".to_owned())?;
    Ok((key, Secret::new(format!("0x{}", hex::encode(secret.expose())))))
}
