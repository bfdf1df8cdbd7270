//! Documents that are generated from the code.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use tollway_protocol::{Reason, Retry};

use crate::shell;

fn documents() -> Result<Vec<(PathBuf, String)>> {
    Ok(vec![(shell::root().join("docs/reasons.md"), reasons()?)])
}

/// Writes every generated document.
pub(crate) fn write() -> Result<()> {
    for (path, text) in documents()? {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("{} written", path.display());
    }
    Ok(())
}

/// Checks that every generated document is what the code gives.
pub(crate) fn check() -> Result<()> {
    for (path, text) in documents()? {
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            bail!("{} is not what the code gives: run `cargo xtask docs`", path.display());
        }
        println!("{} is current", path.display());
    }
    Ok(())
}

fn reasons() -> Result<String> {
    let mut text = String::from(
        "<!-- Generated from `tollway_protocol::Reason` by `cargo xtask docs`. -->\n\
         # Reasons\n\n\
         Why a payment was not accepted, verified or settled: the code as it is on the wire, the HTTP status of a\n\
         seller's answer, and what a payer may do next. Every spelling in a row is read as that row; the first one is\n\
         written, or the one for the scheme and the network's family where there is one (in version 1: the one for version 1;\n\
         with transfer method `permit2`, and with `upto`: theirs).\n\
         A code that is in no row is kept as it came and counts as final.\n\n\
         | next | meaning |\n|---|---|\n",
    );
    for retry in [Retry::Never, Retry::Fresh, Retry::Same, Retry::Later] {
        writeln!(text, "| {} | {} |", word(retry), meaning(retry))?;
    }
    for reason in Reason::ALL {
        let row = reason.row();
        writeln!(text, "\n## {reason:?}\n\n{}\n", row.help)?;
        writeln!(text, "- code: `{}`", row.core)?;
        let own = [
            ("exact on EVM", row.exact_evm),
            ("exact on EVM, version 1", row.exact_evm_v1),
            ("permit2 on EVM", row.permit2),
            ("upto on EVM", row.upto),
            ("exact on Solana", row.exact_svm),
            ("exact on Solana, version 1", row.exact_svm_v1),
        ];
        for (name, code) in own {
            if let Some(code) = code.filter(|code| *code != row.core) {
                writeln!(text, "- {name}: `{code}`")?;
            }
        }
        if !row.also.is_empty() {
            let also: Vec<_> = row.also.iter().map(|code| format!("`{code}`")).collect();
            writeln!(text, "- also read: {}", also.join(", "))?;
        }
        writeln!(text, "- HTTP {}, next: {}", row.http, word(row.retry))?;
    }
    Ok(text)
}

fn word(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::Fresh => "fresh",
        Retry::Same => "same",
        Retry::Later => "later",
    }
}

fn meaning(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "nothing will make this payment good",
        Retry::Fresh => "sign a new payment: this one can't settle any more, or never could",
        Retry::Same => "send the same payment again, never a new one",
        Retry::Later => "ask again later; nothing happened",
    }
}
