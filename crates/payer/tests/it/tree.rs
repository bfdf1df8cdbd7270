//! What a client's build pulls in.

#[test]
fn a_payers_build_has_no_server_database_or_chain_crates() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args([
            "tree",
            "-p",
            "tollway-payer",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--all-features",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.lines().any(|line| line.starts_with("reqwest ")), "{tree}");
    for line in tree.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let banned = ["axum", "rusqlite", "revm", "tollway-ledger", "tollway-evm", "tollway-facilitator"];
        assert!(!banned.contains(&name) && !name.starts_with("alloy"), "{name} is in the payer's tree");
    }
}
