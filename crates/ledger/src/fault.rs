//! Points at which a test can kill the process, compiled in by the `fault-injection` feature only.

/// Kills the process with SIGKILL when the environment's `TOLLWAY_CRASH` names this point:
/// `NAME`, or `NAME:n` for the n-th time it is passed. Does nothing in ordinary builds.
#[cfg_attr(not(feature = "fault-injection"), allow(unused_variables, clippy::missing_const_for_fn))]
pub fn point(name: &'static str) {
    #[cfg(feature = "fault-injection")]
    kill_at(name);
}

#[cfg(feature = "fault-injection")]
fn kill_at(name: &'static str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Ok(wanted) = std::env::var("TOLLWAY_CRASH") else { return };
    let (wanted, nth) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if wanted == name && (PASSED.fetch_add(1, Ordering::SeqCst) + 1).to_string() == nth {
        // At once: no other thread may go on, and answer meanwhile.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
