//! The settings of operators: nodes, signers, keys, lists, ledgers.

use tollway_facilitator::Config;
use tollway_facilitator::config::{AgreeAbove, ConfigError, Finality, KeySource, Ledger};
use tollway_protocol::door::Amount;

const NETWORK: &str =
    "[[network]]\nid = \"eip155:84532\"\nrpc = \"https://rpc.example\"\nsigner = { key_env = \"KEY\" }\n";
const HASH: &str = "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069";

fn read(text: &str) -> Config {
    Config::from_toml(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn problems(text: &str) -> Vec<String> {
    let found = read(text).check().unwrap_err().0;
    let key = |problem: ConfigError| match problem {
        ConfigError::Value { key, .. } => key,
        other => panic!("{other}"),
    };
    found.into_iter().map(key).collect()
}

#[test]
fn one_node_and_one_signer_are_written_as_ever_and_several_as_lists() {
    let one = read(NETWORK);
    assert_eq!((one.networks[0].rpc.len(), one.networks[0].signer.len()), (1, 1));
    let text = NETWORK.replace("\"https://rpc.example\"", "[\"https://a.example\", \"$B\"]").replace(
        "{ key_env = \"KEY\" }",
        "[{ key_env = \"K1\" }, { keystore = \"k2\", passphrase_env = \"P\" }]",
    );
    let mut many = read(&format!("{text}agree_above = \"$12.50\"\nfinality = \"finalized\"\nws = \"$W\"\n"));
    many.apply_env([("B", "https://b.example/key"), ("W", "wss://b.example/key")]).unwrap();
    many.check().unwrap();
    let network = &many.networks[0];
    assert_eq!(network.rpc[1].to_string(), "https://b.example");
    assert_eq!(network.ws.as_ref().unwrap().to_string(), "wss://b.example");
    assert_eq!(network.signer.len(), 2);
    let network = network.evm().unwrap();
    assert_eq!(network.agree_above, Some(AgreeAbove::Usd(Amount::from(12_500_000u64))));
    assert_eq!(network.finality, Some(Finality::Finalized));
    let aliased = read(&NETWORK.replace("signer = {", "signers = [{").replace("\" }", "\" }]"));
    assert_eq!(aliased.networks[0].signer.len(), 1);
}

#[test]
fn the_environment_overrides_what_operators_set() {
    let mut config = read(NETWORK);
    let unknown = config
        .apply_env([
            ("TOLLWAY_LEDGER", "elsewhere.db"),
            ("TOLLWAY_LEDGER_URL", "postgres://tollway:SECRET@db.example:5433/tollway"),
            ("TOLLWAY_LIMITS_ADDRESS_PER_SECOND", "20"),
            ("TOLLWAY_NETWORK_EIP155_84532_RPC", "https://a.example https://b.example"),
            ("TOLLWAY_NETWORK_EIP155_84532_WS", "wss://a.example"),
            ("TOLLWAY_NETWORK_EIP155_84532_AGREE_ABOVE", "100000000"),
            ("TOLLWAY_NETWORK_EIP155_84532_FINALITY", "12"),
            ("TOLLWAY_NETWORK_EIP155_84532_BATCH", "1"),
            ("TOLLWAY_NETWORK_EIP155_84532_GAS_MAX_BUMP", "3"),
            ("TOLLWAY_NETWORK_EIP155_84532_GAS_LOW_WEI", "5000000000000000"),
        ])
        .unwrap();
    assert!(unknown.is_empty());
    config.check().unwrap();
    assert_eq!(config.ledger.postgres().unwrap(), "postgres://tollway:SECRET@db.example:5433/tollway");
    let network = &config.networks[0];
    assert_eq!(network.rpc.len(), 2);
    let network = network.evm().unwrap();
    assert_eq!((network.batch, network.gas.max_bump), (1, 3));
    assert_eq!(network.agree_above, Some(AgreeAbove::Atomic(Amount::from(100_000_000u64))));
    assert_eq!(network.finality, Some(Finality::Blocks(12)));
    assert_eq!(network.gas.low_wei.unwrap().to_string(), "5000000000000000");
    assert_eq!(config.limits.per_address().unwrap().per_second.get(), 20);
    assert!(!format!("{config:?}").contains("SECRET"), "{config:?}");
}

#[test]
fn a_ledger_is_a_file_or_a_database_and_is_shown_without_a_password() {
    for (text, path, postgres, shown) in [
        ("/var/lib/x.db", Some("/var/lib/x.db"), None, "/var/lib/x.db"),
        ("sqlite:x.db", Some("x.db"), None, "x.db"),
        ("postgres://u:SECRET@h/d", None, Some("postgres://u:SECRET@h/d"), "postgres://h"),
        ("postgresql://h/d", None, Some("postgresql://h/d"), "postgres://h"),
    ] {
        let ledger = Ledger::new(text).unwrap();
        assert_eq!(ledger.path().map(|path| path.to_str().unwrap()), path);
        assert_eq!(ledger.postgres(), postgres);
        assert_eq!((ledger.to_string().as_str(), format!("{ledger:?}").contains("SECRET")), (shown, false));
    }
    for bad in ["mysql://h/d", "postgres://", "https://SECRET"] {
        let error = Ledger::new(bad).unwrap_err();
        assert!(!error.contains("SECRET"), "{error}");
    }
}

#[test]
fn an_api_key_comes_as_a_hash_a_file_or_a_variable_and_never_in_clear() {
    let text = format!(
        "{NETWORK}[[keys]]\nname = \"a\"\nhash = \"{HASH}\"\nper_second = 5\n[[keys]]\nname = \"b\"\nkey_env = \"B_KEY\"\n"
    );
    let mut config = read(&text);
    assert!(config.clone().apply_env([("HOME", "/")]).unwrap_err().to_string().contains("B_KEY"));
    let short = config.clone().apply_env([("B_KEY", "SECRET")]).unwrap_err().to_string();
    assert!(short.contains("B_KEY") && !short.contains("SECRET"), "{short}");
    config.apply_env([("B_KEY", "SECRET-SECRET-SECRET-SECRET-SECRET")]).unwrap();
    config.check().unwrap();
    let keys: Vec<_> = config.keys.iter().map(|key| key.api().unwrap()).collect();
    assert_eq!(hex::encode(keys[0].hash), HASH);
    assert_eq!(keys[0].rate.unwrap().burst.get(), 10);
    assert_eq!(config.keys[1].source, KeySource::Env("B_KEY".to_owned()));
    assert!(!format!("{config:?}").contains("SECRET"));
    for wrong in [
        "name = \"a\"\nkey = \"twk_SECRET\"",
        "name = \"a\"\nhash = \"twk_SECRET\"",
        "name = \"a\"\nkey_env = \"twk-SECRET\"",
        "name = \"a\"",
        "name = \"a\"\nhash_file = \"f\"\nkey_env = \"B\"",
        "name = \"a\"\nhash_file = \"f\"\nper_second = 0",
    ] {
        let error = Config::from_toml(&format!("{NETWORK}[[keys]]\n{wrong}\n")).unwrap_err().to_string();
        assert!(error.contains("keys[0]") && !error.contains("SECRET"), "{error}");
    }
}

#[test]
fn a_check_finds_what_operators_get_wrong() {
    for (text, keys) in [
        (format!("{NETWORK}agree_above = \"$5\"\n"), vec!["network[0].agree_above"]),
        (format!("{NETWORK}confirmations = 3\nfinality = 2\n"), vec!["network[0].finality"]),
        (
            format!("{NETWORK}batch = 0\ngas = {{ max_bump = 0 }}\n"),
            vec!["network[0].batch", "network[0].gas.max_bump"],
        ),
        (NETWORK.replace("\"https://rpc.example\"", "[]"), vec!["network[0].rpc"]),
        (
            NETWORK.replace("\"https://rpc.example\"", "[\"https://a.b\", \"https://a.b\"]"),
            vec!["network[0].rpc[1]"],
        ),
        (
            NETWORK.replace("{ key_env = \"KEY\" }", "[{ key_env = \"K\" }, { key_env = \"K\" }]"),
            vec!["network[0].signer[1]"],
        ),
        (
            format!("{NETWORK}[[keys]]\nname = \"a b\"\nhash = \"{HASH}\"\nburst = 2\n"),
            vec!["keys[0].name", "keys[0].burst"],
        ),
        (format!("{NETWORK}[[keys]]\nname = \"a\"\nhash_file = \"f\"\n"), vec!["keys[0].hash_file"]),
        (
            format!(
                "{NETWORK}[[keys]]\nname = \"a\"\nhash = \"{HASH}\"\n[[keys]]\nname = \"a\"\nhash = \"{HASH}\"\n"
            ),
            vec!["keys[1].name"],
        ),
        (format!("{NETWORK}[[allow]]\npayer = []\n"), vec!["allow[0].payer"]),
        (format!("{NETWORK}[[deny]]\n"), vec!["deny[0]"]),
        (
            format!("{NETWORK}[[deny]]\npayer = [\"0x12\"]\nkey = [\"nobody\"]\n"),
            vec!["deny[0].payer[0]", "deny[0].key[0]"],
        ),
        (
            format!("{NETWORK}[proxy]\nheader = \"a b\"\ntrusted = []\n"),
            vec!["proxy.header", "proxy.trusted"],
        ),
    ] {
        assert_eq!(problems(&text), keys, "{text}");
    }
    for text in [
        format!("{NETWORK}agree_above = \"lots\"\n"),
        format!("{NETWORK}finality = \"soon\"\n"),
        format!("{NETWORK}ws = \"https://a.example\"\n"),
        format!("{NETWORK}[[deny]]\nnetwork = [\"not a network\"]\n"),
        format!("{NETWORK}[[deny]]\npayers = [\"0x12\"]\n"),
        format!("{NETWORK}[proxy]\ntrusted = [\"everyone\"]\n"),
    ] {
        assert!(Config::from_toml(&text).is_err(), "{text}");
    }
}

#[test]
fn a_file_of_payers_adds_to_its_rule() {
    let mut config = read(&format!("{NETWORK}[[deny]]\npayer_file = \"denied.txt\"\n"));
    let address = "0x00000000000000000000000000000000000000AA";
    config.deny[0]
        .add_payers(&format!("# sanctioned\n\n  {address} # since May\n{}\n", address.to_lowercase()));
    config.check().unwrap();
    assert_eq!(config.deny[0].rule().payer.len(), 2);
    config.deny[0].add_payers("rubbish\n");
    assert!(config.check().is_err());
    let mut empty = read(&format!("{NETWORK}[[deny]]\npayer_file = \"denied.txt\"\n"));
    assert!(empty.check().is_err(), "a file that was not read");
    empty.deny[0].add_payers("# nobody yet\n");
    assert!(empty.check().is_err(), "an empty list can't be guessed");
}
