//! The keystores' files.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use alloy_primitives::Address;
use serde_json::{Map, Value};
use tollway_evm::keys::Key;
use tollway_protocol::{Secret, door};
use tollway_svm::keys as solana;
use tollway_svm::programs;

use crate::exit::{Doing as _, Failure};
use crate::secrets;

/// A keystore is never overwritten: there may be money on it.
pub(super) fn refuse_existing(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Err(Failure::general(format!("{} exists and is not overwritten", path.display()))
            .todo("use it, move it away, or name another with --keystore"));
    }
    Ok(())
}

/// Writes a key as [`save`] does.
pub(super) fn save_evm(key: &Key, path: &Path, passphrase: &Secret<String>) -> Result<(), Failure> {
    let doing = || format!("the keystore {}", path.display());
    save(path, hex::encode(key.address()), |directory| key.save(directory, NAME, passphrase).doing(doing))
}

/// Writes a key of Solana's as [`save`] does.
pub(super) fn save_solana(
    key: &solana::Key,
    path: &Path,
    passphrase: &Secret<String>,
) -> Result<(), Failure> {
    let doing = || format!("the keystore {}", path.display());
    save(path, key.address().to_string(), |directory| key.save(directory, NAME, passphrase).doing(doing))
}

/// What a key is called in the temporary directory into which it is encrypted.
const NAME: &str = "key";

/// Writes the key, encrypted, readable by its owner alone, with its address beside it, so that the
/// address can be shown without the passphrase.
fn save(path: &Path, address: String, encrypt: impl Fn(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let doing = || format!("the keystore {}", path.display());
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).doing(doing)?;
    let temporary = tempfile::Builder::new().prefix(".keystore-").tempdir_in(directory).doing(doing)?;
    encrypt(temporary.path())?;
    let text = fs::read(temporary.path().join(NAME)).doing(doing)?;
    let mut document: Map<String, Value> = serde_json::from_slice(&text).doing(doing)?;
    document.insert("address".to_owned(), address.into());
    // Whole or not at all, for its owner alone, and never over another.
    let mut file = tempfile::NamedTempFile::new_in(directory).doing(doing)?;
    file.write_all(Value::Object(document).to_string().as_bytes()).doing(doing)?;
    file.as_file().sync_all().doing(doing)?;
    file.persist_noclobber(path).doing(doing)?;
    File::open(directory).doing(doing)?.sync_all().doing(doing)
}

/// What a keystore's file says of its address.
fn said(path: &Path, make: &str) -> Result<Option<String>, Failure> {
    let doing = || format!("the keystore {}", path.display());
    let text = fs::read(path)
        .doing(doing)
        .map_err(|failure| failure.todo(format!("make one with `{make}`, or name it with --keystore")))?;
    let document: Value = serde_json::from_slice(&text).doing(doing)?;
    Ok(document.get("address").and_then(Value::as_str).map(str::to_owned))
}

fn passphrase(path: &Path) -> Result<Secret<String>, Failure> {
    secrets::passphrase(&format!("Passphrase of {}: ", path.display()))
}

/// The address in a keystore; with the passphrase where the file does not say it.
pub(super) fn address(path: &Path) -> Result<Address, Failure> {
    let said = said(path, "tollway wallet new")?.and_then(|text| {
        door::hex_array::<20>(&format!("0x{}", text.strip_prefix("0x").unwrap_or(&text))).ok()
    });
    match said {
        Some(address) => Ok(address.into()),
        None => secrets::open(path, &passphrase(path)?).map(|key| key.address()),
    }
}

/// The same of a keystore that has Solana's key in it.
pub(super) fn solana_address(path: &Path) -> Result<String, Failure> {
    let said = said(path, "tollway wallet new --solana")?;
    match said.filter(|text| programs::address(text).is_ok()) {
        Some(address) => Ok(address),
        None => secrets::open_solana(path, &passphrase(path)?).map(|key| key.address().to_string()),
    }
}
