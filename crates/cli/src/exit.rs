//! How the program ends: the frozen exit codes, and failures as people are told them.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// What the exit code says. The numbers never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Anything else went wrong.
    General = 1,
    /// The command line can't be understood. Clap ends with it by itself.
    Usage = 2,
    /// Nothing was signed: the policy refuses, or no offer can be paid.
    Declined = 3,
    /// The seller did not take the payment.
    Refused = 4,
    /// A payment left and its outcome is not known; it is kept.
    Unknown = 5,
    /// The answer's status was an error and `--fail` was given.
    Status = 6,
    /// No answer, and nothing was paid.
    Unreachable = 7,
}

impl Exit {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Ok, "done"),
        (Self::General, "failed"),
        (Self::Usage, "the command line can't be understood"),
        (Self::Declined, "nothing was signed: refused by the policy, or nothing can be paid"),
        (Self::Refused, "the payment was refused by the seller; it is kept until it can't be used any more"),
        (
            Self::Unknown,
            "a payment was sent and its outcome is not known; it is kept, and the same call sends it again",
        ),
        (Self::Status, "the answer is an HTTP error, and --fail was given"),
        (Self::Unreachable, "no answer, and nothing was paid"),
    ];

    /// The table that `--help` ends with.
    pub(crate) fn table() -> String {
        let rows = Self::ALL.iter().map(|(exit, means)| format!("  {}  {means}\n", *exit as u8));
        format!("Exit codes:\n{}", rows.collect::<String>())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What was wrong.
    pub(crate) what: String,
    /// What to do.
    pub(crate) todo: Option<String>,
    /// Nothing is said: whoever read us has gone, or everything has been said.
    pub(crate) silent: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), todo: None, silent: false }
    }

    pub(crate) fn general(what: impl Into<String>) -> Self {
        Self::new(Exit::General, what)
    }

    /// Ends with this code and says nothing more.
    pub(crate) fn said(exit: Exit) -> Self {
        Self { silent: true, ..Self::new(exit, "") }
    }

    /// Adds what to do.
    pub(crate) fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo = Some(todo.into());
        self
    }

    /// Says it on stderr.
    pub(crate) fn tell(self) -> ExitCode {
        if !self.silent {
            let todo = self.todo.map(|todo| format!("\n  help: {}", todo.replace('\n', "\n        ")));
            // Without a stderr the exit code has to do.
            let _ = writeln!(io::stderr(), "tollway: {}{}", self.what, todo.unwrap_or_default());
        }
        self.exit.into()
    }
}

/// The error and its causes, without those that its own text has already.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let cause: &(dyn Error + 'static) = &error;
        let gone = cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        if gone { Self::said(Exit::Ok) } else { Self::general(chain(cause)) }
    }
}

/// Names what was being done when an error came.
pub(crate) trait Doing<T> {
    /// Puts `what` before the error's text.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Error + 'static> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::general(format!("{}: {}", what(), chain(&error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_every_exit_code_as_the_help_does() {
        let readme = include_str!("../README.md");
        for (exit, means) in Exit::ALL {
            let row = format!("| {} | {means} |", exit as u8);
            assert!(readme.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_not_an_error() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.silent && failure.exit == Exit::Ok);
    }
}
