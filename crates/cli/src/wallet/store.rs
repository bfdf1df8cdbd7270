//! The keystore's file.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use alloy_primitives::Address;
use serde_json::{Map, Value};
use tollway_evm::keys::Key;
use tollway_protocol::{Secret, door};

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

/// Writes the key, encrypted, readable by its owner alone, with its address beside it, so that the
/// address can be shown without the passphrase.
pub(super) fn save(key: &Key, path: &Path, passphrase: &Secret<String>) -> Result<(), Failure> {
    let doing = || format!("the keystore {}", path.display());
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).doing(doing)?;
    let temporary = tempfile::Builder::new().prefix(".keystore-").tempdir_in(directory).doing(doing)?;
    key.save(temporary.path(), "key", passphrase).doing(doing)?;
    let text = fs::read(temporary.path().join("key")).doing(doing)?;
    let mut document: Map<String, Value> = serde_json::from_slice(&text).doing(doing)?;
    document.insert("address".to_owned(), hex::encode(key.address()).into());
    // Whole or not at all, for its owner alone, and never over another.
    let mut file = tempfile::NamedTempFile::new_in(directory).doing(doing)?;
    file.write_all(Value::Object(document).to_string().as_bytes()).doing(doing)?;
    file.as_file().sync_all().doing(doing)?;
    file.persist_noclobber(path).doing(doing)?;
    File::open(directory).doing(doing)?.sync_all().doing(doing)
}

/// The address in a keystore; with the passphrase where the file does not say it.
pub(super) fn address(path: &Path) -> Result<Address, Failure> {
    let doing = || format!("the keystore {}", path.display());
    let text = fs::read(path)
        .doing(doing)
        .map_err(|failure| failure.todo("make one with `tollway wallet new`, or name it with --keystore"))?;
    let document: Value = serde_json::from_slice(&text).doing(doing)?;
    let said = document.get("address").and_then(Value::as_str);
    let said = said.and_then(|text| {
        door::hex_array::<20>(&format!("0x{}", text.strip_prefix("0x").unwrap_or(text))).ok()
    });
    match said {
        Some(address) => Ok(address.into()),
        None => secrets::open(path).map(|key| key.address()),
    }
}
