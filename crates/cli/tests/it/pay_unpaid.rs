//! `tollway pay`, where nothing is paid.

use serde_json::Value;

use crate::common::{Dev, files, run, tollway};

#[tokio::test]
async fn a_dry_run_shows_the_price_and_signs_nothing() {
    let dev = Dev::start().await;
    // Without any key too.
    for command in [
        dev.paying(&["pay", "--dry-run", &dev.weather()]),
        tollway(dev.home.path(), &["pay", "--dry-run", &dev.weather()]),
    ] {
        let done = run(command).await.ended_with(0);
        assert!(done.stdout.contains("would pay 0.01 USDC on eip155:84532"), "{}", done.stdout);
        assert!(done.stdout.contains("nothing was signed"), "{}", done.stdout);
    }
    let kept = files(&dev.home.path().join("journal"));
    assert!(kept.iter().all(|(_, text)| text.is_empty()), "{kept:?}");
    assert_eq!(dev.usdc(&dev.payer()).await, 100_000_000);
}

#[tokio::test]
async fn i12_more_than_max_is_declined_with_3_and_says_which_flag() {
    let dev = Dev::start().await;
    let url = dev.weather();
    for more in [&[][..], &["--dry-run"]] {
        let args = [&["pay", &url, "--max", "0.009"], more].concat();
        let done = run(dev.paying(&args)).await.ended_with(3);
        assert!(
            done.stderr.contains("0.01 USDC asked") && done.stderr.contains("--max 0.01"),
            "{}",
            done.stderr
        );
        assert!(!done.stderr.contains("Policy::"), "flags, not methods: {}", done.stderr);
        assert_eq!(done.stdout, "");
    }
    assert_eq!(dev.usdc(&dev.payer()).await, 100_000_000);
}

#[tokio::test]
async fn another_network_than_allowed_is_declined() {
    let dev = Dev::start().await;
    let done = run(dev.paying(&["pay", &dev.weather(), "--network", "base", "--json"])).await.ended_with(3);
    let told = done.told();
    assert_eq!(told.last().unwrap()["exit"], 3);
    assert!(told.last().unwrap()["help"].as_str().unwrap().contains("--network eip155:84532"), "{told:?}");
}

#[tokio::test]
async fn without_a_key_it_says_how_to_get_one() {
    let dev = Dev::start().await;
    let done = run(tollway(dev.home.path(), &["pay", &dev.weather()])).await.ended_with(3);
    assert!(
        done.stderr.contains("TOLLWAY_PRIVATE_KEY") && done.stderr.contains("wallet new"),
        "{}",
        done.stderr
    );
}

#[tokio::test]
async fn what_is_free_passes_through_as_with_curl() {
    let dev = Dev::start().await;
    let seller = dev.running.text("/seller");
    let done = run(tollway(dev.home.path(), &["pay", &seller])).await.ended_with(0);
    assert!(serde_json::from_str::<Value>(&done.stdout).unwrap()["paid"].is_object());
    assert_eq!(done.stderr, "");
    let missing = format!("{seller}/missing");
    run(tollway(dev.home.path(), &["pay", &missing])).await.ended_with(0);
    run(tollway(dev.home.path(), &["pay", "--fail", &missing])).await.ended_with(6);
}

#[tokio::test]
async fn nobody_there_is_7_and_a_wrong_command_line_2() {
    let home = tempfile::tempdir().unwrap();
    let done = run(tollway(home.path(), &["pay", "http://127.0.0.1:1/"])).await.ended_with(7);
    assert!(done.stderr.contains("nothing was paid"), "{}", done.stderr);
    for wrong in [
        &["pay"][..],
        &["pay", "ftp://host/"],
        &["pay", "http://h/", "--max", "1,50"],
        &["pay", "http://h/", "-H", "x"],
        &["--log", "a=b=c", "demo"],
    ] {
        run(tollway(home.path(), wrong)).await.ended_with(2);
    }
}

#[tokio::test]
async fn cl09_a_payment_over_plain_http_needs_a_word() {
    // A name that is not loopback, served by a proxy here: no packet leaves this machine.
    let dev = Dev::start().await;
    let mut command = dev.paying(&["pay", "http://shop.invalid/weather"]);
    command.env("http_proxy", dev.running.text("/seller"));
    let done = run(command).await.ended_with(3);
    assert!(done.stderr.contains("--allow-http"), "{}", done.stderr);
}
