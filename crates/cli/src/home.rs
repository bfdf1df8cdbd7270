//! Where Tollway keeps what it must not lose.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

/// `$TOLLWAY_HOME`, or else `$XDG_STATE_HOME/tollway`, or else `~/.local/state/tollway`.
pub(crate) fn directory() -> Result<PathBuf, Failure> {
    directory_from(variable).ok_or_else(|| {
        Failure::new(Exit::General, "there is no home directory to keep the journal and the keystore in")
            .todo("set TOLLWAY_HOME to a directory that is backed up")
    })
}

/// That directory, and the one that it would be without `$TOLLWAY_HOME`: where a program that was started elsewhere may
/// have written.
pub(crate) fn directories() -> Vec<PathBuf> {
    let usual = directory_from(|name| (name != "TOLLWAY_HOME").then(|| variable(name)).flatten());
    let mut all: Vec<PathBuf> = directory_from(variable).into_iter().chain(usual).collect();
    all.dedup();
    all
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn directory_from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The specification of XDG has relative paths ignored.
    let state = || path("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let home = || path("HOME").map(|home| home.join(".local/state"));
    path("TOLLWAY_HOME").or_else(|| state().or_else(home).map(|state| state.join("tollway")))
}

/// The payer's journal.
pub(crate) fn journal() -> Result<PathBuf, Failure> {
    Ok(directory()?.join("journal"))
}

/// The keystore.
pub(crate) fn keystore() -> Result<PathBuf, Failure> {
    Ok(directory()?.join("keystore"))
}

/// The keystore of Solana's account, beside that of the account on EVM networks: its name with `-solana` after it.
pub(crate) fn solana_beside(keystore: &Path) -> PathBuf {
    let mut name = keystore.as_os_str().to_owned();
    name.push("-solana");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(set: &[(&str, &str)]) -> Option<PathBuf> {
        directory_from(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn tollways_own_variable_comes_before_xdg_and_home() {
        let all = [("TOLLWAY_HOME", "/t"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(with(&all), Some("/t".into()));
        assert_eq!(with(&all[1..]), Some("/x/tollway".into()));
        assert_eq!(with(&all[2..]), Some("/h/.local/state/tollway".into()));
        assert_eq!(
            with(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]),
            Some("/h/.local/state/tollway".into())
        );
        assert_eq!(with(&[]), None);
    }
}
