use tollway_facilitator::Config;
use tollway_facilitator::config::{ConfigError, KeySource, Signer};
use tollway_protocol::Network;

const EXAMPLE: &str = include_str!("../../examples/facilitator.toml");
const SMALL: &str = "[[network]]\nid = \"eip155:84532\"\nrpc = \"https://u:p@rpc.example:8443/v2/SECRET?k=SECRET\"\nsigner = { key_env = \"KEY\" }\n";

fn filled(text: &str) -> Config {
    let mut config = Config::from_toml(text).unwrap_or_else(|error| panic!("{error}"));
    config.apply_env([("BASE_SEPOLIA_RPC", "http://127.0.0.1:8545")]).unwrap();
    for key in config.keys.iter_mut().filter(|key| matches!(key.source, KeySource::File(_))) {
        key.set_key(&"k".repeat(40)).unwrap();
    }
    config.check().unwrap_or_else(|error| panic!("{error}"));
    config
}

#[test]
fn x402rs_38_the_example_is_a_configuration() {
    let config = filled(EXAMPLE);
    assert_eq!(config.networks.len(), 3);
    assert_eq!(config.networks[0].extra_assets()[0].symbol, "EURC");
    assert_eq!(config.networks[1].signer[0], Signer::Env { key_env: "FACILITATOR_KEY".to_owned() });
    assert_eq!((config.networks[1].rpc.len(), config.networks[1].signer.len()), (2, 2));
}

#[test]
fn x402rs_38_every_setting_that_the_example_shows_exists_and_shows_its_default() {
    let setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    assert!(EXAMPLE.lines().filter(setting).count() >= 15);
    let shown: Vec<&str> =
        EXAMPLE.lines().map(|line| if setting(&line) { &line[1..] } else { line }).collect();
    let (shown, plain) = (filled(&shown.join("\n")), filled(EXAMPLE));
    assert_eq!((shown.limits, shown.metrics), (plain.limits, plain.metrics));
    for (shown, plain) in shown.networks.iter().zip(&plain.networks) {
        assert_eq!(shown.poll_interval_ms, plain.poll_interval_ms);
        assert_eq!(shown.solana(), plain.solana());
    }
    let (shown, plain) = (shown.networks[0].evm().unwrap(), plain.networks[0].evm().unwrap());
    assert_eq!(shown.confirmations, plain.confirmations);
    assert_eq!(shown.gas.max_fee_gwei, plain.gas.max_fee_gwei);
    assert_eq!(shown.gas.per_settlement, plain.gas.per_settlement);
    assert_eq!((shown.batch, shown.gas.max_bump), (plain.batch, plain.gas.max_bump));
}

#[test]
fn x402rs_16_a_misspelt_key_is_an_error_with_its_place() {
    for (text, line, key) in [
        ("liste = \"x\"\n".to_owned(), 1, "liste"),
        (format!("{SMALL}confirmation = 2\n"), 5, "network[0].confirmation"),
        (format!("[limits]\nsettle_second = 3\n{SMALL}"), 2, "limits.settle_second"),
        (format!("{SMALL}[network.gas]\nmax_fee = 2\n"), 6, "network[0].gas.max_fee"),
        (SMALL.replace("key_env", "key"), 4, "network[0].signer"),
        (format!("{SMALL}assets = [{{ adress = \"0x\" }}]\n"), 5, "network[0].assets[0].adress"),
    ] {
        match Config::from_toml(&text).unwrap_err() {
            ConfigError::File { line: at, key: path, problem, .. } => {
                assert_eq!(at, line, "{path}: {problem}");
                assert!(path.starts_with(key), "{path} {key}");
                assert!(problem.contains("unknown field"), "{problem}");
            }
            other => panic!("{other}"),
        }
    }
    let error = Config::from_toml("listen = \n").unwrap_err().to_string();
    assert!(error.starts_with("line 1, column 10: "), "{error}");
}

#[test]
fn x402rs_19_no_error_or_debug_text_repeats_a_secret() {
    let config = filled(SMALL);
    let debug = format!("{config:?}");
    assert!(debug.contains("https://rpc.example:8443"), "{debug}");
    let secret = "SECRET0123456789";
    let mut texts = vec![debug];
    for text in [
        SMALL.replace("{ key_env = \"KEY\" }", &format!("\"{secret}\"")),
        SMALL.replace("\"KEY\"", &format!("\"0x{secret}\"")),
        SMALL.replace("https://u:p@", "ftp://"),
        SMALL.replace("https://u:p@", ""),
        format!("listen = \"{secret}\"\n{SMALL}"),
        format!("metrics = \"{secret}\"\n{SMALL}"),
        format!("{SMALL}confirmations = \"{secret}\"\n"),
        format!("{SMALL}rpc = \"{secret}\"\n"),
        SMALL.replace("SECRET\"", "SECRET"),
    ] {
        texts.push(Config::from_toml(&text).unwrap_err().to_string());
    }
    for (name, value) in [
        ("TOLLWAY_NETWORK_EIP155_84532_RPC", secret),
        ("TOLLWAY_LISTEN", secret),
        ("TOLLWAY_LIMITS_BODY_BYTES", secret),
    ] {
        texts.push(filled(SMALL).apply_env([(name, value)]).unwrap_err().to_string());
    }
    for text in texts {
        assert!(!text.contains("SECRET"), "{text}");
    }
}

#[test]
fn environment_variables_override_by_the_documented_rule() {
    let mut config = filled(SMALL);
    let unknown = config
        .apply_env([
            ("TOLLWAY_LISTEN", "0.0.0.0:80"),
            ("TOLLWAY_LEDGER", "/tmp/l.db"),
            ("TOLLWAY_METRICS", "false"),
            ("TOLLWAY_LIMITS_SETTLE_SECONDS", "20"),
            ("TOLLWAY_NETWORK_EIP155_84532_RPC", "$OTHER"),
            ("OTHER", "https://other.example/key"),
            ("TOLLWAY_NETWORK_EIP155_84532_CONFIRMATIONS", "3"),
            ("TOLLWAY_NETWORK_EIP155_84532_GAS_PER_DAY_WEI", "1000000000000000000000"),
            ("TOLLWAY_LOG", "debug"),
            ("HOME", "/root"),
        ])
        .unwrap();
    assert_eq!(unknown, ["TOLLWAY_LOG"]);
    config.check().unwrap();
    assert_eq!((config.listen.to_string().as_str(), config.metrics), ("0.0.0.0:80", false));
    assert_eq!((config.limits.settle_seconds, config.networks[0].evm().unwrap().confirmations), (20, 3));
    assert_eq!(config.networks[0].rpc[0].url().unwrap().as_str(), "https://other.example/key");
    assert_eq!(config.networks[0].evm().unwrap().gas.per_day_wei.to_string(), "1000000000000000000000");
}

#[test]
fn an_environment_error_names_its_variable() {
    for (name, value) in [
        ("TOLLWAY_LISTEN", "80"),
        ("TOLLWAY_METRICS", "yes"),
        ("TOLLWAY_LIMITS_SETTLE_SECONDS", "+20"),
        ("TOLLWAY_LIMITS_SETLE_SECONDS", "20"),
        ("TOLLWAY_NETWORK_EIP155_1_RPC", "https://x.example"),
        ("TOLLWAY_NETWORK_EIP155_84532_SIGNER", "x"),
    ] {
        let error = filled(SMALL).apply_env([(name, value)]).unwrap_err();
        assert!(matches!(&error, ConfigError::Environment { variable, .. } if variable == name), "{error}");
    }
    let mut config = Config::from_toml(EXAMPLE).unwrap();
    let error = config.apply_env([("HOME", "/")]).unwrap_err().to_string();
    assert!(error.contains("BASE_SEPOLIA_RPC") && error.contains("eip155:84532"), "{error}");
}

#[test]
fn a_check_finds_every_problem_with_its_key() {
    let text = r#"
        ledger = ""
        [limits]
        settle_seconds = 0
        [[network]]
        id = "eip155:1"
        rpc = "$NOT_GIVEN"
        signer = { key_env = "KEY" }
        confirmations = 0
        eip6492_factories = ["0x12"]
        assets = [
            { address = "0x0000000000000000000000000000000000000000", symbol = "X", decimals = 6 },
            { address = "0x00000000000000000000000000000000000000AA", symbol = "", decimals = 99, name = "N" },
            { address = "0x00000000000000000000000000000000000000aa", symbol = "Y", decimals = 6 },
        ]
        [[network]]
        id = "eip155:1"
        rpc = "https://x.example"
        signer = { key_env = "KEY" }
    "#;
    let problems = Config::from_toml(text).unwrap().check().unwrap_err();
    let keys: Vec<String> = problems
        .0
        .iter()
        .map(|problem| match problem {
            ConfigError::Value { key, .. } => key.clone(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(
        keys,
        [
            "ledger",
            "limits.settle_seconds",
            "network[0].rpc",
            "network[0].confirmations",
            "network[0].eip6492_factories[0]",
            "network[0].assets[0].address",
            "network[0].assets[1].decimals",
            "network[0].assets[1].symbol",
            "network[0].assets[1]",
            "network[0].assets[2].address",
            "network[1].id",
        ]
    );
    assert!(Config::from_toml("").unwrap().check().is_err());
}

#[test]
fn a_network_is_named_by_its_caip2_id_only() {
    assert!(Config::from_toml(&SMALL.replace("eip155:84532", "base-sepolia")).is_err());
    assert_eq!(filled(SMALL).networks[0].id, Network::eip155(84532));
}
