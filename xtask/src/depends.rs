//! What crates must not depend on, however deep: the arrows of ARCHITECTURE.md.

use anyhow::{Result, bail};

use crate::shell;

/// A package, how it is built, and what must not be in it: a crate, or a crate's feature.
const RULES: &[(&str, &[&str], &[&str])] = &[
    (
        "tollway-protocol",
        &["--all-features"],
        &["tokio", "hyper", "reqwest", "axum", "rusqlite", "getrandom", "rand"],
    ),
    (
        "tollway-payer",
        &["--all-features"],
        &[
            "axum",
            "hyper feature \"server\"",
            "rusqlite",
            "revm",
            "alloy-provider",
            "tollway-evm",
            "tollway-ledger",
            "tollway-rpc",
            "tollway-svm",
        ],
    ),
    (
        "tollway-seller",
        &["--all-features"],
        &["axum", "alloy-provider", "alloy-primitives", "revm", "tollway-evm", "tollway-rpc", "tollway-svm"],
    ),
    (
        "tollway-facilitator",
        &["--all-features"],
        &[
            "revm",
            "tollway-devnet",
            "tollway-seller",
            "tollway-payer",
            "tollway-evm",
            "tollway-ledger",
            "tollway-rpc",
            "tollway-svm",
        ],
    ),
    (
        "tollway-ledger",
        &[],
        &["axum", "reqwest", "alloy-primitives", "proptest", "tollway-evm", "tollway-svm"],
    ),
    (
        "tollway-rpc",
        &["--all-features"],
        &[
            "axum",
            "alloy-primitives",
            "revm",
            "solana-address",
            "tollway-devnet",
            "tollway-evm",
            "tollway-ledger",
            "tollway-svm",
        ],
    ),
    ("tollway-evm", &["--all-features"], &["revm", "axum", "tollway-devnet", "tollway-svm"]),
    (
        "tollway-evm",
        &["--no-default-features", "--features", "payer"],
        &["rusqlite", "reqwest", "hyper", "secp256k1", "tollway-rpc"],
    ),
    (
        "tollway-evm",
        &["--no-default-features", "--features", "seller"],
        &["rusqlite", "reqwest", "hyper", "alloy-signer", "tollway-rpc"],
    ),
    (
        "tollway-svm",
        &["--all-features"],
        &["alloy-primitives", "axum", "litesvm", "revm", "solana-sdk", "tollway-devnet", "tollway-evm"],
    ),
    (
        "tollway-svm",
        &["--no-default-features", "--features", "payer"],
        &["axum", "hyper", "reqwest", "rusqlite", "tokio", "tokio-postgres", "tollway-ledger", "tollway-rpc"],
    ),
    (
        "tollway-svm",
        &["--no-default-features", "--features", "payer-rpc"],
        &["axum", "hyper feature \"server\"", "rusqlite", "tokio-postgres", "tollway-ledger"],
    ),
    (
        "tollway-svm",
        &["--no-default-features", "--features", "seller"],
        &["reqwest", "rusqlite", "solana-keypair", "tollway-ledger", "tollway-rpc"],
    ),
];

/// Looks at the dependency tree of each.
pub(crate) fn check() -> Result<()> {
    let mut broken = Vec::new();
    for (package, how, forbidden) in RULES {
        let mut cargo = shell::command("cargo");
        cargo.args([
            "tree",
            "--package",
            package,
            "--edges",
            "normal,features",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]);
        let tree = shell::output(cargo.args(*how))?;
        let found: Vec<_> = forbidden.iter().filter(|name| tree.lines().any(|line| is(line, name))).collect();
        if found.is_empty() {
            println!("{package} {}: free of {}", how.join(" "), forbidden.join(", "));
        }
        broken.extend(found.iter().map(|found| format!("{package} ({}) depends on {found}", how.join(" "))));
    }
    if !broken.is_empty() {
        bail!("{}; `cargo tree -p <package> -i <crate>` says through what", broken.join("; "));
    }
    Ok(())
}

/// A line is `name v1.2.3 …` or `name feature "x"`.
fn is(line: &str, wanted: &str) -> bool {
    line.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(" v") || rest.starts_with(" ("))
}

#[cfg(test)]
mod tests {
    use super::is;

    #[test]
    fn a_crate_is_found_by_its_whole_name_and_a_feature_by_its_crate() {
        assert!(is("axum v0.8.1", "axum"));
        assert!(!is("axum-core v0.5.0", "axum"));
        assert!(is("hyper feature \"server\"", "hyper feature \"server\""));
        assert!(!is("hyper feature \"client\"", "hyper feature \"server\""));
        assert!(is("hyper feature \"server\" (*)", "hyper feature \"server\""));
    }
}
