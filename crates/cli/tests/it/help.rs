//! Help, completions, and output that nobody reads.

use std::process::Stdio;

use crate::common::{run, tollway};

#[tokio::test]
async fn every_command_teaches_with_an_example() {
    let home = tempfile::tempdir().unwrap();
    for command in [
        &["demo"][..],
        &["dev"],
        &["facilitator"],
        &["pay"],
        &["completions"],
        &["wallet"],
        &["wallet", "new"],
        &["wallet", "address"],
        &["wallet", "balance"],
        &["wallet", "import"],
    ] {
        let done = run(tollway(home.path(), &[command, &["--help"]].concat())).await.ended_with(0);
        let example = format!("\n  tollway {}", command.join(" "));
        assert!(
            done.stdout.contains("Example") && done.stdout.contains(&example),
            "{command:?}: {}",
            done.stdout
        );
        let long = done.stdout.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{command:?}");
        let short = run(tollway(home.path(), &[command, &["-h"]].concat())).await.ended_with(0);
        assert!(!short.stdout.is_empty() && short.stdout.len() < done.stdout.len(), "{command:?}");
    }
}

#[tokio::test]
async fn the_help_ends_with_the_exit_codes() {
    let home = tempfile::tempdir().unwrap();
    let done = run(tollway(home.path(), &["--help"])).await.ended_with(0);
    for code in 0..=7 {
        assert!(done.stdout.contains(&format!("\n  {code}  ")), "{code}: {}", done.stdout);
    }
    run(tollway(home.path(), &["no-such-command"])).await.ended_with(2);
}

#[tokio::test]
async fn every_shell_gets_completions() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let done = run(tollway(home.path(), &["completions", shell])).await.ended_with(0);
        assert!(done.stdout.contains("dry-run") && done.stdout.contains("facilitator"), "{shell}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    for args in [&["completions", "bash"][..], &["demo"]] {
        let mut child =
            tollway(home.path(), args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}
