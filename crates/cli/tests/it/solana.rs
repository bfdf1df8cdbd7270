//! Solana in `tollway dev`, `pay` and `facilitator`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tollway_protocol::door::{UnixTime, decimal_u64};
use tollway_protocol::scheme::PayerScheme as _;
use tollway_protocol::{Network, Secret};
use tollway_svm::ExactPayer;
use tollway_svm::keys::Key;
use tollway_svm::node::Nodes;
use tollway_svm::programs::{self, TOKEN, associated_token_account};

use crate::common::{Dev, Running, ask, json_lines, run, tollway};

const DEVNET: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
/// The key of 32 times 0x11: as wallets export it, and its address.
const SECRET: &str = "29d2S7vB453rNYFdR5Ycwt7y9haRT5fwVwL9zTmBhfV2";
const ADDRESS: &str = "F25s3DdjXdCxYBhh2z8FBusVEMT4b9bGNFVKJi3wFoF4";

/// What an account has in USDC's atomic units, in its associated token account.
pub(crate) async fn usdc(dev: &Dev, owner: &str) -> u64 {
    let mint = programs::address(&dev.running.text(&format!("/asset/{DEVNET}"))).unwrap();
    let account = associated_token_account(&programs::address(owner).unwrap(), &mint, &TOKEN);
    let params = json!([account.to_string(), {"commitment": "confirmed"}]);
    let answer = ask(&rpc(dev), "getTokenAccountBalance", params).await;
    decimal_u64(answer["value"]["amount"].as_str().unwrap()).unwrap()
}

fn rpc(dev: &Dev) -> String {
    dev.running.text(&format!("/rpc/{DEVNET}"))
}

pub(crate) fn payer(dev: &Dev) -> String {
    dev.running.text(&format!("/payer/{DEVNET}/address"))
}

/// `tollway` with the funded key of Solana's, and the cluster's node.
pub(crate) fn paying(dev: &Dev, args: &[&str]) -> Command {
    let mut command = tollway(dev.home.path(), args);
    command.env("TOLLWAY_SOLANA_KEY", dev.running.text(&format!("/payer/{DEVNET}/secret")));
    command
}

pub(crate) fn node(dev: &Dev) -> String {
    format!("solana-devnet={}", rpc(dev))
}

#[tokio::test]
async fn i02_two_calls_of_pay_on_solana_are_two_payments_and_the_merchant_has_both() {
    let dev = Dev::start().await;
    let weather = dev.weather();
    let plan = run(paying(&dev, &["pay", "--dry-run", "--json", &weather])).await.ended_with(0);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(
        (plan["network"].as_str(), plan["payer"].as_str()),
        (Some(DEVNET), Some(payer(&dev).as_str()))
    );
    let merchant = plan["payTo"].as_str().unwrap().to_owned();
    assert_eq!((usdc(&dev, &payer(&dev)).await, usdc(&dev, &merchant).await), (100_000_000, 0));

    let mut transactions = BTreeSet::new();
    for _ in 0..2 {
        let done = run(paying(&dev, &["pay", "--json", &weather])).await.ended_with(0);
        assert_eq!(serde_json::from_str::<Value>(&done.stdout).unwrap()["city"], "Lisbon");
        let told = done.told();
        let [receipt] = told.as_slice() else { panic!("one line: {told:?}") };
        assert_eq!((&receipt["success"], &receipt["network"]), (&json!(true), &json!(DEVNET)));
        assert_eq!((&receipt["amount"], &receipt["payTo"]), (&json!("10000"), &json!(merchant)));
        transactions.insert(receipt["transaction"].as_str().unwrap().to_owned());
    }
    assert_eq!(transactions.len(), 2);
    assert_eq!((usdc(&dev, &payer(&dev)).await, usdc(&dev, &merchant).await), (99_980_000, 20_000));
    assert_eq!(dev.usdc(&dev.payer()).await, 100_000_000, "nothing was paid on the other chain");
    let statuses = ask(&rpc(&dev), "getSignatureStatuses", json!([transactions])).await;
    for status in statuses["value"].as_array().unwrap() {
        assert_eq!(status["err"], Value::Null, "{status}");
    }
}

#[tokio::test]
async fn cl15_dev_s_node_is_found_by_its_note_and_only_for_what_its_own_facilitator_settles() {
    let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut start = tollway(state.path(), &["dev", "--json"]);
    start.env_remove("TOLLWAY_HOME").env("XDG_STATE_HOME", state.path());
    let dev = Dev { home: elsewhere, running: Running::start(start).await };
    let notes = state.path().join("tollway/dev-clusters");
    let note = std::fs::read_dir(&notes).unwrap().next().unwrap().unwrap().path();
    let pay = |args: &[&str]| {
        let mut command = paying(&dev, &[&["pay", "--json"], args, &[&dev.weather()]].concat());
        command.env("XDG_STATE_HOME", state.path());
        run(command)
    };
    // The payer has another home, where its journal is.
    pay(&[]).await.ended_with(0);
    // A node that was named is asked, and no other.
    let done = pay(&["--rpc", "solana-devnet=http://127.0.0.1:9"]).await.ended_with(1);
    assert!(done.stderr.contains("the signer failed"), "{}", done.stderr);
    pay(&["--rpc", &node(&dev)]).await.ended_with(0);
    // Another facilitator's fee payer is none of dev's: the cluster may be another, whatever its name.
    std::fs::rename(&note, notes.join(ADDRESS)).unwrap();
    assert_ne!(pay(&[]).await.code, Some(0));
    std::fs::rename(notes.join(ADDRESS), &note).unwrap();
    assert!(dev.running.terminate().await.0.success());
    assert!(!note.exists());
}

#[tokio::test]
async fn with_two_keys_the_network_says_which_one_pays() {
    let dev = Dev::start().await;
    for (network, payer) in [("solana:*", payer(&dev)), ("base-sepolia", dev.payer())] {
        let mut pay = paying(&dev, &["pay", "--json", "--network", network, &dev.weather()]);
        pay.env("TOLLWAY_PRIVATE_KEY", dev.secret());
        let told = run(pay).await.ended_with(0).told();
        assert!(told[0]["payer"].as_str().unwrap().eq_ignore_ascii_case(&payer), "{told:?}");
    }
    assert_eq!((usdc(&dev, &payer(&dev)).await, dev.usdc(&dev.payer()).await), (99_990_000, 99_990_000));
}

#[tokio::test]
async fn keystores_pay_with_one_passphrase_and_the_balance_is_what_the_cluster_says() {
    let dev = Dev::start().await;
    let with_passphrase = |args: &[&str]| {
        let mut command = tollway(dev.home.path(), args);
        command.env("TOLLWAY_PASSPHRASE", "correct horse");
        command
    };
    let mut import = with_passphrase(&["wallet", "import"]);
    import.env("TOLLWAY_SOLANA_KEY", dev.running.text(&format!("/payer/{DEVNET}/secret")));
    import.env("TOLLWAY_PRIVATE_KEY", dev.secret());
    let both = run(import).await.ended_with(0);
    assert!(both.stdout.trim().eq_ignore_ascii_case(&dev.payer()), "{}", both.stdout);
    assert!(both.stderr.contains(&payer(&dev)), "{}", both.stderr);
    for more in [vec![], vec!["--network", "solana-devnet"]] {
        let pay = ["pay", &dev.weather()];
        run(with_passphrase(&[&pay, more.as_slice()].concat())).await.ended_with(0);
    }
    assert_eq!(dev.usdc(&dev.payer()).await, 99_990_000, "of two equal offers the first");

    let url = rpc(&dev);
    let args = ["wallet", "balance", "--network", "solana-devnet", "--rpc", &url, "--json"];
    let done = run(tollway(dev.home.path(), &args)).await.ended_with(0);
    let line: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&line["address"], &line["balances"]["USDC"]), (&json!(payer(&dev)), &json!("99.99")));
    assert_eq!((&line["balances"]["coin"], &line["balances"]["PYUSD"]), (&json!("10"), &json!("0")));
    let done =
        run(tollway(dev.home.path(), &["wallet", "balance", "--network", "solana", "--rpc", &url])).await;
    let done = done.ended_with(1);
    assert!(done.stderr.contains("EtWTRABZ") && done.stderr.contains("5eykt4Us"), "{}", done.stderr);
}

#[tokio::test]
async fn a_key_that_is_missing_is_named_by_its_network() {
    let dev = Dev::start().await;
    let args = ["pay", "--network", "solana-devnet", &dev.weather()];
    let done = run(dev.paying(&args)).await.ended_with(3);
    assert!(done.stderr.contains(DEVNET), "{}", done.stderr);
    let done = run(tollway(dev.home.path(), &["pay", &dev.weather()])).await.ended_with(3);
    assert!(done.stderr.contains("TOLLWAY_PRIVATE_KEY"), "{}", done.stderr);
    assert!(done.stderr.contains("TOLLWAY_SOLANA_KEY"), "{}", done.stderr);
}

fn facilitator(home: &Path, text: &str, more: &[&str]) -> Command {
    let path = home.join("facilitator.toml");
    std::fs::write(&path, text).unwrap();
    let mut command = tollway(home, &[&["facilitator", "--config", path.to_str().unwrap()], more].concat());
    command.env("TOLLWAY_SOLANA_KEY", SECRET).current_dir(home);
    command
}

const GOOD: &str = r#"listen = "127.0.0.1:0"
ledger = "facilitator.db"

[[network]]
id = "solana-devnet"
rpc = "http://127.0.0.1:1/secret-path"
"#;

#[tokio::test]
async fn a_facilitator_on_solana_says_whom_it_pays_with_and_what_it_serves() {
    let dev = Dev::start().await;
    let home = tempfile::tempdir().unwrap();
    let checked = run(facilitator(home.path(), GOOD, &["--check"])).await.ended_with(0);
    assert!(checked.stdout.contains(DEVNET) && checked.stdout.contains(ADDRESS), "{}", checked.stdout);
    assert!(
        !checked.stdout.contains("secret-path") && !checked.stdout.contains(SECRET),
        "{}",
        checked.stdout
    );

    let mut command = facilitator(home.path(), GOOD, &[]);
    command.env("TOLLWAY_NETWORK_SOLANA_DEVNET_RPC", rpc(&dev));
    let running = Running::start(command).await;
    let url = running.text("/url");
    let get = async |path: &str| reqwest::get(format!("{url}{path}")).await.unwrap();
    let supported: Value = get("/supported").await.json().await.unwrap();
    let extra = json!({ "feePayer": ADDRESS });
    let kinds = json!([
        { "x402Version": 2, "scheme": "exact", "network": DEVNET, "extra": extra },
        { "x402Version": 1, "scheme": "exact", "network": "solana-devnet", "extra": extra },
    ]);
    assert_eq!((&supported["kinds"], &supported["signers"]["solana:*"]), (&kinds, &json!([ADDRESS])));
    let unready = get("/readyz").await;
    assert_eq!(unready.status(), 503, "its account has no lamports");
    assert!(unready.text().await.unwrap().contains("fund it"));
    let probe = run(tollway(home.path(), &["facilitator", "probe", "--url", &url])).await.ended_with(1);
    assert!(probe.stdout.contains(ADDRESS), "{}", probe.stdout);
    let (status, more) = running.terminate().await;
    assert!(status.success() && more.is_empty(), "{status} {more:?}");
}

#[tokio::test]
async fn fee_payers_come_from_variables_files_and_keystores() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("id.json");
    let bytes: Vec<u8> = [vec![0x11; 32], programs::address(ADDRESS).unwrap().to_bytes().to_vec()].concat();
    std::fs::write(&file, serde_json::to_string(&bytes).unwrap()).unwrap();
    let mut from_file = facilitator(home.path(), GOOD, &["--check"]);
    from_file.env_remove("TOLLWAY_SOLANA_KEY").env("TOLLWAY_SOLANA_KEY_FILE", &file);
    let done = run(from_file).await.ended_with(0);
    assert!(done.stdout.contains(ADDRESS), "{}", done.stdout);

    let mut new = tollway(home.path(), &["wallet", "new", "--solana"]);
    new.env("TOLLWAY_PASSPHRASE", "correct horse");
    let second = run(new).await.ended_with(0).stdout.trim().to_owned();
    let two = format!(
        "{GOOD}signer = [{{ key_env = \"TOLLWAY_SOLANA_KEY\" }}, {{ keystore = \"keystore-solana\", passphrase_env = \"P\" }}]\n"
    );
    let mut several = facilitator(home.path(), &two, &["--check"]);
    several.env("P", "correct horse");
    let done = run(several).await.ended_with(0);
    assert!(done.stdout.contains(ADDRESS) && done.stdout.contains(&second), "{}", done.stdout);

    let mut twice = facilitator(
        home.path(),
        &two.replace("keystore = \"keystore-solana\", passphrase_env = \"P\"", "key_env = \"SAME\""),
        &["--check"],
    );
    twice.env("SAME", serde_json::to_string(&bytes).unwrap());
    let done = run(twice).await.ended_with(1);
    assert!(done.stderr.contains("twice") && done.stderr.contains(ADDRESS), "{}", done.stderr);
    for wrong in ["s3cret", "[1,2,3]", ""] {
        let mut command = facilitator(home.path(), GOOD, &["--check"]);
        command.env("TOLLWAY_SOLANA_KEY", wrong);
        let done = run(command).await.ended_with(1);
        assert!(
            done.stderr.contains("TOLLWAY_SOLANA_KEY") && !done.stderr.contains("s3cret"),
            "{}",
            done.stderr
        );
    }
}

#[tokio::test]
async fn a_member_of_the_other_kind_of_network_is_told_with_its_line() {
    let home = tempfile::tempdir().unwrap();
    for (more, said) in [
        (
            "confirmations = 2",
            "line 7: network[0].confirmations: means nothing on a Solana network: use commitment",
        ),
        ("gas = { max_fee_gwei = 5 }", "line 7: network[0].gas: means nothing on a Solana network: use fees"),
        ("fees = { compute_units = 1 }", "line 7: network[0].fees.compute_units: 1 is out of range"),
        ("gas_cap = 5", "line 7, column 1: network[0].gas_cap"),
    ] {
        let done =
            run(facilitator(home.path(), &format!("{GOOD}{more}\n"), &["--check"])).await.ended_with(1);
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
}

#[tokio::test]
async fn i11_a_ledger_with_solana_payments_is_exported_and_reconciled() {
    let state = tempfile::tempdir().unwrap();
    let dev = Dev::with(&["--state", state.path().to_str().unwrap()]).await;
    let pay = ["pay", "--json", &dev.weather()];
    let receipt = run(paying(&dev, &pay)).await.ended_with(0).told().remove(0);
    let ledger = state.path().join("facilitator.db");
    let text = GOOD.replace("http://127.0.0.1:1/secret-path", &rpc(&dev));
    let text = text.replace("facilitator.db", ledger.to_str().unwrap());

    let args = ["ledger", "export", "--ledger", ledger.to_str().unwrap(), "--format", "json"];
    let done = run(tollway(state.path(), &args)).await.ended_with(0);
    let rows: Vec<Value> = serde_json::from_str(&done.stdout).unwrap();
    let [row] = rows.as_slice() else { panic!("one payment: {rows:?}") };
    assert_eq!((&row["network"], &row["transaction"]), (&json!(DEVNET), &receipt["transaction"]), "{row}");
    assert_eq!((&row["symbol"], &row["amount"]), (&json!("USDC"), &json!("0.01")), "{row}");
    let path = state.path().join("facilitator.toml");
    std::fs::write(&path, text).unwrap();
    let reconcile = || {
        let mut command = tollway(state.path(), &["ledger", "reconcile", "--config", path.to_str().unwrap()]);
        command.env("TOLLWAY_SOLANA_KEY", SECRET);
        command
    };
    let lines = json_lines(&run(reconcile()).await.ended_with(0).stdout);
    assert_eq!((&lines[0]["network"], &lines[0]["settled"]), (&json!(DEVNET), &json!(1)));
    assert_eq!((&lines[0]["differences"], &lines[0]["unknown"]), (&json!([]), &json!(0)));
    drop(dev.running.terminate().await);
    let gone = run(reconcile()).await.ended_with(1);
    assert!(gone.stderr.contains("can't be compared"), "{}", gone.stderr);
}

/// A payment on dev's cluster whose fee payer is [`ADDRESS`], as `/verify` takes it.
async fn payment(dev: &Dev) -> Value {
    let plan = run(paying(dev, &["pay", "--dry-run", "--json", &dev.weather()])).await.ended_with(0);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let offer = json!({
        "scheme": "exact", "network": DEVNET, "amount": "10000", "asset": plan["asset"], "payTo": plan["payTo"],
        "maxTimeoutSeconds": 60, "extra": {"feePayer": ADDRESS},
    });
    let secret = Secret::new(dev.running.text(&format!("/payer/{DEVNET}/secret")));
    let network = Network::new(DEVNET).unwrap();
    let nodes = Nodes::new(&[(network, Secret::new(rpc(dev)))], Duration::from_secs(15)).unwrap();
    let payer = ExactPayer::new(Key::from_base58(&secret).unwrap()).reading(Arc::new(nodes));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let read = serde_json::from_value(offer.clone()).unwrap();
    let signed = payer.sign(&read, UnixTime(now), [1; 32]).await.unwrap();
    json!({
        "x402Version": 2, "paymentRequirements": offer,
        "paymentPayload": {"x402Version": 2, "accepted": offer, "payload": signed.payload},
    })
}

#[tokio::test]
async fn fa19_the_operator_says_how_much_a_payer_s_compute_units_may_cost() {
    let dev = Dev::start().await;
    ask(&rpc(&dev), "tollway_fund", json!([ADDRESS, 1_000_000_000])).await;
    // What our payers bid comes to one lamport.
    for (most, is_valid) in [(0, false), (1, true)] {
        let home = tempfile::tempdir().unwrap();
        let text = format!("{GOOD}fees = {{ priority_lamports = {most} }}\n");
        let mut command = facilitator(home.path(), &text, &[]);
        command.env("TOLLWAY_NETWORK_SOLANA_DEVNET_RPC", rpc(&dev));
        let running = Running::start(command).await;
        let asked = reqwest::Client::new().post(format!("{}/verify", running.text("/url")));
        let verdict: Value = asked.json(&payment(&dev).await).send().await.unwrap().json().await.unwrap();
        assert_eq!(verdict["isValid"], is_valid, "{most}: {verdict}");
        let reason = verdict["invalidReason"].as_str().unwrap_or_default();
        assert_eq!(reason.ends_with("compute_price_instruction_too_high"), !is_valid, "{verdict}");
    }
}
