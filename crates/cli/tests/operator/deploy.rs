//! What is in deploy/: parsed, and held against the program.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tollway_facilitator::Config;
use tollway_protocol::door::decimal_u64;

use crate::common::{Running, run, tollway};
use crate::world::{World, answer, installed, post};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// YAML as JSON, by the parser that the published SDKs' tests bring along.
fn yaml(path: &str) -> Value {
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
    let mut python = std::process::Command::new(installed(".venv/bin/python"));
    let mut child = python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text(path).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{path} is no YAML");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

/// Names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = text.split(|c| !word(c)).filter(|name| name.starts_with("tollway_"));
    names
        .filter(|name| name.matches('_').count() >= 2)
        .map(|name| {
            let parts = ["_bucket", "_sum", "_count"];
            parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name).to_owned()
        })
        .collect()
}

/// Every string in the code that names a metric.
fn defined(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            defined(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            found.extend(source.split('"').filter(|word| word.starts_with("tollway_")).map(str::to_owned));
        }
    }
}

#[test]
fn each_metric_of_the_dashboard_and_the_alerts_is_one_that_the_code_records() {
    let mut known = BTreeSet::new();
    for part in ["facilitator", "evm", "svm"] {
        defined(&root().join("crates").join(part).join("src"), &mut known);
    }
    let dashboard: Value = serde_json::from_str(&text("grafana/facilitator.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<String> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect();
    assert!(queries.len() >= panels.len() && panels.len() >= 10);
    let alerts = yaml("prometheus/alerts.yaml");
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    let expressions = rules.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let used: BTreeSet<String> =
        queries.into_iter().chain(expressions).flat_map(|query| metrics(&query)).collect();
    let missing: Vec<_> = used.difference(&known).collect();
    assert!(missing.is_empty(), "{missing:?} are recorded nowhere");
    for name in tollway_facilitator::meter::NAMES {
        assert!(used.contains(name), "{name} is on no panel");
    }
}

#[tokio::test]
async fn the_metrics_on_the_dashboard_are_served_with_the_labels_that_it_asks_for() {
    let world = World::new().await;
    let running = world.start("").await;
    let paid = world.payment(1).await;
    answer(post(&running, "/verify", &paid.request)).await;
    answer(post(&running, "/settle", &paid.request)).await;
    let served =
        reqwest::get(format!("{}/metrics", running.text("/url"))).await.unwrap().text().await.unwrap();
    for wanted in [
        "tollway_facilitator_payments_total{operation=\"settle\",network=\"eip155:84532\"",
        "tollway_facilitator_payment_seconds_bucket{operation=\"settle\"",
        "tollway_facilitator_in_flight{operation=",
        "tollway_facilitator_http_responses_total{path=\"/settle\",status=\"200\"}",
        "tollway_evm_rpc_total{method=",
    ] {
        assert!(served.contains(wanted), "{wanted}\n{served}");
    }
}

#[test]
fn every_alert_has_a_severity_a_summary_and_a_part_in_the_operators_page() {
    let page = std::fs::read_to_string(root().join("docs/src/operate.md")).unwrap().to_lowercase();
    let alerts = yaml("prometheus/alerts.yaml");
    for rule in alerts["groups"][0]["rules"].as_array().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        assert!(rule["annotations"]["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        let runbook = rule["annotations"]["runbook"].as_str().unwrap().to_lowercase();
        assert!(page.contains(&format!("### {runbook}\n")), "{name}: no part {runbook:?}");
    }
}

/// A Dockerfile's instructions, lines that go on put together.
fn instructions() -> Vec<(String, String)> {
    let whole = text("Dockerfile").replace("\\\n", " ");
    let lines = whole.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (word, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            (word.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

#[test]
fn the_image_is_built_from_the_lock_file_and_runs_as_nobody_without_a_shell() {
    let all = instructions();
    let known = [
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "ENV",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ];
    assert!(all.iter().all(|(word, _)| known.contains(&word.as_str())), "{all:?}");
    let stages: Vec<usize> = (0..all.len()).filter(|&n| all[n].0 == "FROM").collect();
    assert_eq!(stages.len(), 2);
    let (build, last) = (&all[..stages[1]], &all[stages[1]..]);
    let toolchain = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let version = toolchain.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    assert_eq!(build[0].1, format!("rust:{}-bookworm AS build", version.trim_matches('"')));
    let built =
        build.iter().any(|(word, rest)| word == "RUN" && rest.contains("cargo build --release --locked"));
    assert!(built, "{build:?}");
    assert!(last[0].1.starts_with("gcr.io/distroless/") && last[0].1.ends_with(":nonroot"), "{last:?}");
    assert!(last.iter().all(|(word, _)| word != "RUN"), "there is no shell to run anything");
    let of = |wanted: &str| {
        let found: Vec<&str> =
            last.iter().filter(|(word, _)| word == wanted).map(|(_, rest)| rest.as_str()).collect();
        found
    };
    assert_eq!(of("USER"), ["nonroot:nonroot"]);
    assert!(of("COPY").iter().all(|rest| rest.starts_with("--from=build ")));
    assert_eq!(of("STOPSIGNAL"), ["SIGTERM"]);
    for word in ["ENTRYPOINT", "CMD"] {
        assert!(serde_json::from_str::<Vec<String>>(of(word)[0]).is_ok(), "{word} is no list");
    }
}

#[tokio::test]
async fn the_images_commands_are_commands_of_the_program() {
    let all = instructions();
    let check = all.iter().find(|(word, _)| word == "HEALTHCHECK").unwrap();
    let list = check.1.split_once("CMD ").unwrap().1;
    let words: Vec<String> = serde_json::from_str(list).unwrap();
    assert_eq!(words[0], "/usr/local/bin/tollway");
    let world = World::new().await;
    let running = world.start("").await;
    let url = running.text("/url");
    let probe = |more: &[&str]| {
        let words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        tollway(world.home.path(), &[words.as_slice(), &["--url", &url], more].concat())
    };
    let done = run(probe(&[])).await.ended_with(0);
    assert!(done.stdout.contains("alive"), "{}", done.stdout);
    run(tollway(world.home.path(), &["facilitator", "probe", "--url", &url])).await.ended_with(0);
    assert!(running.terminate().await.0.success());
    run(probe(&[])).await.ended_with(1);
}

#[test]
fn the_compose_file_holds_together_and_keeps_secrets_in_files() {
    let compose = yaml("compose.yaml");
    let services = compose["services"].as_object().unwrap();
    let defined =
        |kind: &str| -> BTreeSet<String> { compose[kind].as_object().unwrap().keys().cloned().collect() };
    for (name, service) in services {
        assert!(service["healthcheck"]["test"].is_array(), "{name} has no health check");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        let secrets: BTreeSet<String> = strings(&service["secrets"]).into_iter().map(str::to_owned).collect();
        assert!(secrets.is_subset(&defined("secrets")), "{name}: {secrets:?}");
        for network in strings(&service["networks"]) {
            assert!(defined("networks").contains(network), "{name}: {network}");
        }
        for volume in strings(&service["volumes"]) {
            assert!(defined("volumes").contains(volume.split(':').next().unwrap()), "{name}: {volume}");
        }
        for (variable, value) in service["environment"].as_object().unwrap() {
            let value = value.as_str().unwrap();
            if let Some(secret) = value.strip_prefix("/run/secrets/") {
                assert!(variable.ends_with("_FILE") && secrets.contains(secret), "{variable}: {value}");
            } else {
                let telling = ["PASS", "KEY", "SECRET", "URL"].iter().any(|word| variable.contains(word));
                assert!(!telling, "{name}: {variable} is in clear");
            }
        }
    }
    for secret in compose["secrets"].as_object().unwrap().values() {
        assert!(secret["file"].as_str().unwrap().starts_with("./secrets/"), "{secret}");
    }
    let facilitator = &services["facilitator"];
    assert_eq!(facilitator["read_only"], json!(true));
    assert_eq!(facilitator["cap_drop"], json!(["ALL"]));
    assert_eq!(facilitator["depends_on"]["postgres"]["condition"], json!("service_healthy"));
    assert!(strings(&facilitator["ports"]).iter().all(|port| port.starts_with("127.0.0.1:")));
    assert!(root().join("deploy").join(compose["configs"]["facilitator"]["file"].as_str().unwrap()).exists());
    let ignored = text("secrets/.gitignore");
    assert!(ignored.lines().any(|line| line == "*"), "secrets could be committed");
}

#[test]
fn the_compose_files_configuration_is_one_and_its_secrets_are_those_that_are_handed_over() {
    let mut config = Config::from_toml(&text("facilitator.toml")).unwrap();
    let compose = yaml("compose.yaml");
    let given = compose["services"]["facilitator"]["environment"].as_object().unwrap();
    for variable in config.secret_variables() {
        assert!(given.contains_key(&format!("{variable}_FILE")), "{variable}");
    }
    let ledger = "postgres://tollway:x@postgres/tollway";
    config.apply_env([("RPC", "https://rpc.example"), ("TOLLWAY_LEDGER_URL", ledger)]).unwrap();
    config.check().unwrap();
    assert_eq!(config.ledger.postgres(), Some(ledger));
    let stops = compose["services"]["facilitator"]["stop_grace_period"].as_str().unwrap();
    let seconds = decimal_u64(stops.trim_end_matches('s')).unwrap();
    assert!(seconds > config.limits.drain_seconds, "it would be killed while it drains");
}

/// A unit's settings by section; a key may come more than once.
fn unit() -> BTreeMap<String, Vec<(String, String)>> {
    let mut sections: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut section = String::new();
    let text = text("tollway-facilitator.service");
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
            sections.entry(section.clone()).or_default().push((key.to_owned(), value.to_owned()));
        }
    }
    sections
}

#[tokio::test]
async fn the_unit_is_hardened_and_starts_what_exists() {
    let unit = unit();
    assert_eq!(unit.keys().collect::<Vec<_>>(), ["Install", "Service", "Unit"]);
    let service = &unit["Service"];
    let all = |key: &str| -> Vec<&str> {
        service.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect()
    };
    for (key, value) in [
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictNamespaces", "yes"),
        ("CapabilityBoundingSet", ""),
        ("DynamicUser", "yes"),
        ("StateDirectory", "tollway"),
        ("Restart", "on-failure"),
        ("LimitCORE", "0"),
    ] {
        assert_eq!(all(key), [value], "{key}");
    }
    let world = World::new().await;
    for command in [all("ExecStartPre"), all("ExecStart")].concat() {
        let words: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(words[..2], ["/usr/local/bin/tollway", "facilitator"]);
        let config = world.config("");
        let words: Vec<&str> = words[1..]
            .iter()
            .map(|word| if word.ends_with(".toml") { config.to_str().unwrap() } else { word })
            .collect();
        let mut command = tollway(world.home.path(), &words);
        command.env("FACILITATOR_KEY", format!("0x{}", "21".repeat(32)));
        if words.contains(&"--check") {
            run(command).await.ended_with(0);
        } else {
            assert!(Running::start(command).await.terminate().await.0.success());
        }
    }
    let stops = decimal_u64(all("TimeoutStopSec")[0]).unwrap();
    assert!(stops > tollway_facilitator::config::Limits::default().drain_seconds);
}

#[tokio::test]
async fn a_secret_may_be_in_a_file_that_a_variable_names() {
    let world = World::new().await;
    let file = world.home.path().join("key");
    std::fs::write(&file, format!("0x{}\n", "21".repeat(32))).unwrap();
    let mut command = world.command("");
    command.env_remove("FACILITATOR_KEY").env("FACILITATOR_KEY_FILE", &file);
    let running = Running::start(command).await;
    let paid = world.payment(1).await;
    assert_eq!(answer(post(&running, "/settle", &paid.request)).await.1["success"], json!(true));
    assert!(running.terminate().await.0.success());
    let mut command = world.command("");
    command.env_remove("FACILITATOR_KEY").env("FACILITATOR_KEY_FILE", "/nowhere/key").arg("--check");
    let done = run(command).await.ended_with(1);
    assert!(done.stderr.contains("FACILITATOR_KEY_FILE: /nowhere/key"), "{}", done.stderr);
    let url = world.home.path().join("ledger-url");
    std::fs::write(&url, "postgres://tollway:SECRET@db.example/tollway\n").unwrap();
    let mut command = world.command("");
    command.env("TOLLWAY_LEDGER_URL_FILE", &url).arg("--check");
    let done = run(command).await;
    assert!(!done.stdout.contains("SECRET") && !done.stderr.contains("SECRET"), "{done:?}");
    assert!(!done.stderr.contains("no such setting"), "{}", done.stderr);
}
