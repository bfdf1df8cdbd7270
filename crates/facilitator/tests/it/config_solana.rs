//! The settings of Solana networks.

use tollway_facilitator::Config;
use tollway_facilitator::config::{AgreeAbove, Commitment, ConfigError, Fees, Signer};
use tollway_protocol::door::Amount;

const NETWORK: &str = "[[network]]\nid = \"solana-devnet\"\nrpc = \"https://rpc.example\"\n";
const DEVNET: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
const EVM: &str =
    "[[network]]\nid = \"eip155:84532\"\nrpc = \"https://rpc.example\"\nsigner = { key_env = \"KEY\" }\n";

fn read(text: &str) -> Config {
    Config::from_toml(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The only problem that a check finds: its key, and what it says.
fn problem(text: &str) -> (String, String) {
    let found = read(text).check().unwrap_err().0;
    match found.as_slice() {
        [ConfigError::Value { key, problem }] => (key.clone(), problem.clone()),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_solana_network_needs_an_id_and_a_node_and_has_defaults_for_the_rest() {
    let config = read(NETWORK);
    config.check().unwrap();
    let network = &config.networks[0];
    assert_eq!((network.id.as_str(), network.poll_interval_ms), (DEVNET, 400));
    assert_eq!(network.signer, [Signer::Env { key_env: "TOLLWAY_SOLANA_KEY".to_owned() }]);
    let told = network.solana().unwrap();
    assert_eq!((told.commitment, told.fees), (Commitment::Confirmed, Fees::default()));
    assert!(network.evm().is_none() && config.secret_variables().contains("TOLLWAY_SOLANA_KEY"));
    for id in [DEVNET, "solana", "solana-testnet"] {
        read(&NETWORK.replace("solana-devnet", id)).check().unwrap();
    }
}

#[test]
fn every_setting_of_a_solana_network_can_be_written() {
    let config = read(&format!(
        "{}ws = \"wss://rpc.example\"\nagree_above = \"70000\"\nsigners = [{{ key_env = \"A\" }}, {{ keystore = \"b\", passphrase_env = \"B\" }}]
         commitment = \"finalized\"\npoll_interval_ms = 100
         assets = [{{ address = \"CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM\", symbol = \"PYUSD\", decimals = 6 }}]
         fees = {{ compute_units = 60000, compute_price = 0, priority_lamports = 3, per_day_lamports = 10000, low_lamports = 0 }}\n",
        NETWORK.replace("\"https://rpc.example\"", "[\"https://a.example\", \"https://b.example\"]")
    ));
    config.check().unwrap();
    let network = &config.networks[0];
    assert_eq!((network.signer.len(), network.poll_interval_ms), (2, 100));
    let asset = &network.extra_assets()[0];
    assert_eq!((asset.symbol.as_str(), asset.decimals, asset.eip3009), ("PYUSD", 6, false));
    let told = network.solana().unwrap();
    assert_eq!(told.commitment, Commitment::Finalized);
    assert_eq!(told.agree_above, Some(AgreeAbove::Atomic(Amount::from(70_000u64))));
    let fees = Fees {
        compute_units: 60_000,
        compute_price: 0,
        priority_lamports: 3,
        per_day_lamports: 10_000,
        low_lamports: 0,
    };
    assert_eq!(told.fees, fees);
}

#[test]
fn the_environment_names_a_solana_network_by_its_id_or_its_name() {
    let mainnet = NETWORK.replace("solana-devnet", "solana");
    let mut config = read(&format!("{NETWORK}{mainnet}"));
    let unknown = config
        .apply_env([
            ("TOLLWAY_NETWORK_SOLANA_DEVNET_RPC", "https://a.example https://b.example"),
            ("TOLLWAY_NETWORK_SOLANA_ETWTRABZAYQ6IMFEYKOURU166VU2XQA1_COMMITMENT", "finalized"),
            ("TOLLWAY_NETWORK_SOLANA_DEVNET_FEES_COMPUTE_UNITS", "50000"),
            ("TOLLWAY_NETWORK_SOLANA_DEVNET_FEES_COMPUTE_PRICE", "7"),
            ("TOLLWAY_NETWORK_SOLANA_DEVNET_FEES_PRIORITY_LAMPORTS", "90"),
            ("TOLLWAY_NETWORK_SOLANA_DEVNET_FEES_PER_DAY_LAMPORTS", "20000"),
            ("TOLLWAY_NETWORK_SOLANA_DEVNET_FEES_LOW_LAMPORTS", "1"),
            ("TOLLWAY_NETWORK_SOLANA_DEVNET_AGREE_ABOVE", "$12.50"),
            ("TOLLWAY_NETWORK_SOLANA_POLL_INTERVAL_MS", "250"),
            ("TOLLWAY_SOLANA_KEY", "s3cret"),
        ])
        .unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    config.check().unwrap();
    let [devnet, mainnet] = config.networks.as_slice() else { panic!() };
    let told = devnet.solana().unwrap();
    let fees = Fees {
        compute_units: 50_000,
        compute_price: 7,
        priority_lamports: 90,
        per_day_lamports: 20_000,
        low_lamports: 1,
    };
    assert_eq!((devnet.rpc.len(), told.commitment, told.fees), (2, Commitment::Finalized, fees));
    assert_eq!((devnet.poll_interval_ms, mainnet.poll_interval_ms), (400, 250));
    assert_eq!(told.agree_above, Some(AgreeAbove::Usd(Amount::from(12_500_000u64))));

    for (name, value) in [
        ("TOLLWAY_NETWORK_SOLANA_DEVNET_COMMITMENT", "processed"),
        ("TOLLWAY_NETWORK_SOLANA_DEVNET_FEES_COMPUTE_UNITS", "1e5"),
        ("TOLLWAY_NETWORK_SOLANA_DEVNET_CONFIRMATIONS", "2"),
        ("TOLLWAY_NETWORK_SOLANA_TESTNET_RPC", "https://a.example"),
        ("TOLLWAY_NETWORK_EIP155_84532_COMMITMENT", "finalized"),
    ] {
        let error = read(&format!("{NETWORK}{EVM}")).apply_env([(name, value)]).unwrap_err();
        assert!(matches!(&error, ConfigError::Environment { variable, .. } if variable == name), "{error}");
    }
}

#[test]
fn a_member_that_only_the_other_kind_has_is_refused_by_name_with_what_to_set_instead() {
    for (member, instead) in [
        ("confirmations = 1", "commitment"),
        ("finality = \"finalized\"", "commitment"),
        ("gas = { max_bump = 3 }", "fees"),
        ("batch = 5", ""),
        ("eip6492_factories = []", ""),
        ("delegation_managers = []", ""),
    ] {
        let (key, said) = problem(&format!("{NETWORK}{member}\n"));
        let name = member.split(' ').next().unwrap();
        assert_eq!(key, format!("network[0].{name}"));
        assert!(said.contains("Solana") && said.contains(instead), "{said}");
    }
    for (member, instead) in
        [("commitment = \"confirmed\"", "confirmations"), ("fees = { low_lamports = 5 }", "gas")]
    {
        let (key, said) = problem(&format!("{EVM}{member}\n"));
        assert_eq!(key, format!("network[0].{}", member.split(' ').next().unwrap()));
        assert!(said.contains("EVM") && said.contains(instead), "{said}");
    }
}

#[test]
fn a_check_finds_what_is_wrong_with_a_solana_network() {
    let asset = |more: &str| format!("{NETWORK}assets = [{{ symbol = \"X\", decimals = 6, {more} }}]\n");
    let mint = "address = \"CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM\"";
    for (text, key) in [
        (format!("{NETWORK}fees = {{ compute_units = 1400001 }}\n"), "fees.compute_units"),
        (format!("{NETWORK}fees = {{ compute_price = 1000000001 }}\n"), "fees.compute_price"),
        (format!("{NETWORK}fees = {{ priority_lamports = 1000000000001 }}\n"), "fees.priority_lamports"),
        (format!("{NETWORK}fees = {{ per_day_lamports = 9999 }}\n"), "fees.per_day_lamports"),
        (format!("{NETWORK}fees = {{ low_lamports = 1000000000001 }}\n"), "fees.low_lamports"),
        (format!("{NETWORK}signer = []\n"), "signer"),
        (format!("{NETWORK}poll_interval_ms = 1\n"), "poll_interval_ms"),
        (format!("{NETWORK}agree_above = \"$5\"\n"), "agree_above"),
        (asset("address = \"0x036cbd53842c5426634e7929541ec2318f3dcf7e\""), "assets[0].address"),
        (asset("address = \"11111111111111111111111111111111\""), "assets[0].address"),
        (asset(&format!("{mint}, name = \"X\", version = \"1\"")), "assets[0].name"),
    ] {
        let found = read(&text).check().unwrap_err().0;
        let ConfigError::Value { key: first, .. } = &found[0] else { panic!("{text}: {found:?}") };
        assert_eq!(*first, format!("network[0].{key}"), "{text}");
    }
    for (text, key) in [
        (format!("{NETWORK}commitment = \"processed\"\n"), "network[0].commitment"),
        (format!("{NETWORK}fees = {{ per_day = 5 }}\n"), "network[0].fees.per_day"),
        (format!("{NETWORK}gas_cap = 5\n"), "network[0].gas_cap"),
        (NETWORK.replace("solana-devnet", "solana-localnet"), "network[0].id"),
    ] {
        let error = Config::from_toml(&text).unwrap_err();
        assert!(matches!(&error, ConfigError::File { key: at, .. } if at == key), "{error}");
    }
    let text = format!("{NETWORK}{}", NETWORK.replace("solana-devnet", DEVNET));
    assert_eq!(problem(&text).0, "network[1].id", "it is one network under two names");
}
