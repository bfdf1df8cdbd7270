//! The journal: what was signed, on disk before it is on the wire.
//!
//! A directory, private to its owner:
//!
//! - `live/<purchase>-<id>.json`: a payment that can still execute. While a call is busy with it,
//!   the file is locked; the operating system drops the lock when the process dies. A live payment
//!   that nobody holds is an orphan, and the next call for the same request sends it again.
//! - `history.jsonl`: what became of payments, append-only. A line is durable before the live file
//!   goes, so a crash between the two is seen by the id being in both, and a torn last line's
//!   payment is still live.
//! - `recipients.json`: who was paid for which origin and network.
//! - `lock`: held for each change, by one process at a time.
//!
//! What is to be written is read back first, and not written if that fails: a server's words must
//! not damage a file. A file that can't be understood all the same stops all payments until a person has looked at it. Locks are
//! those of the local file system: don't put a journal on a network share.

mod checked;
mod entry;
mod files;
mod held;
mod history;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tollway_protocol::Network;
use tollway_protocol::door::{Address, UnixTime};

pub(crate) use entry::{Entry, SavedHeader};
pub use entry::{Live, Outcome, Record, State};
pub use files::JournalError;
pub(crate) use files::random_id;
use files::{corrupt, io};
pub(crate) use held::{Held, Reserved};
use history::History;

use crate::budget::{Spend, SpendKind};
use crate::policy::{Policy, PolicyError};

const PATIENCE: Duration = Duration::from_secs(10);

type Recipients = BTreeMap<String, Vec<String>>;

/// The payer's durable memory. Clones share it; several processes may open the same directory.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    history: Mutex<History>,
    temporary: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.temporary {
            // It is the caller's choice to lose it.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("directory", &self.inner.directory).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReserveError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

struct Seen {
    entry: Entry,
    path: PathBuf,
    file: File,
    ours: bool,
}

impl Journal {
    /// Opens the journal in `directory`, which is created if need be.
    ///
    /// # Errors
    /// [`JournalError`], also when a file in it is damaged.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, JournalError> {
        Self::at(directory.as_ref().to_owned(), false)
    }

    /// A journal that is lost with the last clone of it: for tests, and for wallets that hold no
    /// more than may be lost.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn temporary() -> Result<Self, JournalError> {
        let directory = std::env::temp_dir();
        let name = random_id().map_err(|error| JournalError::Io { path: directory.clone(), error })?;
        Self::at(directory.join(format!("tollway-payer-{name}")), true)
    }

    fn at(directory: PathBuf, temporary: bool) -> Result<Self, JournalError> {
        files::directory(&directory)?;
        files::directory(&directory.join("live"))?;
        files::sync_directory(&directory)?;
        let journal = Self { inner: Arc::new(Inner { directory, history: Mutex::default(), temporary }) };
        journal.locked(|journal, history| {
            journal.recipients()?;
            journal.scan(history, UnixTime(0), 0).map(drop)
        })?;
        Ok(journal)
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// The payments that can still execute.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn live(&self) -> Result<Vec<Live>, JournalError> {
        self.locked(|journal, history| {
            let seen = journal.scan(history, UnixTime(0), 0)?;
            Ok(seen.iter().map(|seen| seen.entry.summary(!seen.ours)).collect())
        })
    }

    /// Everything that was paid or may have been, oldest first.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn history(&self) -> Result<Vec<Record>, JournalError> {
        self.locked(|journal, _| history::read_all(&journal.history_path()))
    }

    /// Records that a payment whose outcome was not known was found unused on its chain after its
    /// end, so that it no longer counts in budgets. Returns whether there was such a payment.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn release(&self, id: &str, now: UnixTime) -> Result<bool, JournalError> {
        self.locked(|journal, history| {
            let path = journal.history_path();
            let found = history::read_all(&path)?.into_iter().rfind(|record| record.id == id);
            let Some(record) = found.filter(|record| record.outcome == Outcome::Unproven) else {
                return Ok(false);
            };
            history.append(&path, &Record { outcome: Outcome::Unused, at: now, ..record })?;
            Ok(true)
        })
    }

    /// Forgets who was paid for `origin`: the next payment sets it anew.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn forget_recipients(&self, origin: &str) -> Result<(), JournalError> {
        self.locked(|journal, _| {
            let mut recipients = journal.recipients()?;
            recipients.retain(|key, _| key.split_once(' ').is_none_or(|(at, _)| at != origin));
            journal.write_recipients(&recipients)
        })
    }

    /// Who was paid for `origin` on `network`.
    pub(crate) fn pinned(&self, origin: &str) -> Result<BTreeMap<String, Vec<String>>, JournalError> {
        let all = self.locked(|journal, _| journal.recipients())?;
        let here = all.into_iter().filter_map(|(key, value)| {
            key.split_once(' ')
                .filter(|(at, _)| *at == origin)
                .map(|(_, network)| (network.to_owned(), value))
        });
        Ok(here.collect())
    }

    /// The payment for `purchase` that an earlier call left behind.
    pub(crate) fn orphan(
        &self,
        purchase: &str,
        now: UnixTime,
        margin: u64,
    ) -> Result<Option<Held>, JournalError> {
        self.locked(|journal, history| {
            let seen = journal.scan(history, now, margin)?;
            Ok(seen.into_iter().find(|seen| seen.is_orphan(purchase)).map(|seen| journal.hold(seen)))
        })
    }

    /// Whether `draft` would fit the budgets now.
    pub(crate) fn fits(&self, draft: &Entry, policy: &Policy, now: UnixTime) -> Result<(), ReserveError> {
        self.locked(|journal, history| {
            let seen = journal.scan(history, now, policy.margin)?;
            Ok(budgets(draft, policy, now, history, &seen))
        })?
        .map_err(ReserveError::from)
    }

    /// Reserves the budget for `draft`, or finds the payment that an earlier call left behind.
    pub(crate) fn reserve(
        &self,
        draft: Entry,
        policy: &Policy,
        now: UnixTime,
    ) -> Result<Reserved, ReserveError> {
        self.locked(|journal, history| {
            let mut seen = journal.scan(history, now, policy.margin)?;
            if let Some(at) = seen.iter().position(|seen| seen.is_orphan(&draft.purchase)) {
                return Ok(Ok(Reserved::Orphan(journal.hold(seen.swap_remove(at)))));
            }
            let network = draft.offer.network.clone();
            let mut recipients = journal.recipients()?;
            let pinned = recipients.entry(pin_key(&draft.origin, &network)).or_default();
            let judged = policy
                .recipient(&draft.origin, &network, &draft.offer.pay_to, pinned)
                .and_then(|()| budgets(&draft, policy, now, history, &seen));
            if let Err(refused) = judged {
                return Ok(Err(refused));
            }
            let (file, entry) = (journal.write(&draft)?, draft);
            if pin(&network, &entry.offer.pay_to, pinned) {
                journal.write_recipients(&recipients)?;
            }
            Ok(Ok(Reserved::Fresh(Held { journal: journal.clone(), entry, file })))
        })?
        .map_err(ReserveError::from)
    }

    /// Runs `act` as the only one in any process.
    fn locked<T>(
        &self,
        act: impl FnOnce(&Self, &mut History) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut history = self.inner.history.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = files::lock(&self.inner.directory.join("lock"), PATIENCE)?;
        history.refresh(&self.history_path())?;
        let done = act(self, &mut history);
        drop(lock);
        done
    }

    /// Every live payment; those that are over are moved to the history on the way.
    fn scan(&self, history: &mut History, now: UnixTime, margin: u64) -> Result<Vec<Seen>, JournalError> {
        let live = self.live_path();
        let mut found = Vec::new();
        for item in fs::read_dir(&live).map_err(io(&live))? {
            let path = item.map_err(io(&live))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(".tmp-") {
                // Left by a crash before it was in place; nothing was sent on its strength.
                files::remove(&path)?;
                continue;
            }
            let (file, ours) = files::open(&path)?;
            let bytes = files::read(&file, &path, checked::MAX_ENTRY)?;
            let entry = checked::entry(&name, &bytes).map_err(|why| corrupt(&path, why))?;
            let recorded = history.has(&entry.id);
            let over = ours && now > entry.valid_before.plus(margin);
            if recorded || (ours && entry.state == State::Reserved) {
                files::remove(&path)?;
            } else if over {
                let outcome =
                    if entry.state == State::Settled { Outcome::Settled } else { Outcome::Unproven };
                let record = Record::of(&entry, outcome, now, None);
                history.append(&self.history_path(), &record)?;
                files::remove(&path)?;
            } else {
                found.push(Seen { entry, path, file, ours });
            }
        }
        found.sort_by(|a, b| (a.entry.created, &a.path).cmp(&(b.entry.created, &b.path)));
        Ok(found)
    }

    fn hold(&self, seen: Seen) -> Held {
        Held { journal: self.clone(), entry: seen.entry, file: seen.file }
    }

    fn write(&self, entry: &Entry) -> Result<File, JournalError> {
        let path = self.live_path().join(entry.file_name());
        files::replace(&path, &checked::live(&path, entry)?)
    }

    fn recipients(&self) -> Result<Recipients, JournalError> {
        let path = self.recipients_path();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| corrupt(&path, error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Recipients::new()),
            Err(error) => Err(io(&path)(error)),
        }
    }

    fn write_recipients(&self, recipients: &Recipients) -> Result<(), JournalError> {
        let path = self.recipients_path();
        files::replace(&path, &checked::recipients(&path, recipients)?).map(drop)
    }

    fn live_path(&self) -> PathBuf {
        self.inner.directory.join("live")
    }

    fn history_path(&self) -> PathBuf {
        self.inner.directory.join("history.jsonl")
    }

    fn recipients_path(&self) -> PathBuf {
        self.inner.directory.join("recipients.json")
    }
}

impl Seen {
    fn is_orphan(&self, purchase: &str) -> bool {
        self.ours && self.entry.purchase == purchase
    }
}

fn budgets(
    draft: &Entry,
    policy: &Policy,
    now: UnixTime,
    history: &History,
    seen: &[Seen],
) -> Result<(), PolicyError> {
    let held: Vec<Spend> = seen
        .iter()
        .map(|seen| Spend {
            at: seen.entry.created,
            host: seen.entry.host.clone(),
            value: seen.entry.value,
            kind: SpendKind::Held,
        })
        .collect();
    policy.budgets.iter().try_for_each(|budget| {
        let all = history.spends().iter().chain(&held);
        budget.fits(draft.value, &draft.host, now, policy.release_unproven, all)
    })
}

/// Remembers `pay_to` in its one canonical spelling; whether it was new.
fn pin(network: &Network, pay_to: &str, pinned: &mut Vec<String>) -> bool {
    let canonical =
        |text: &str| Address::on(network, text).map_or_else(|_| text.to_owned(), |at| at.to_string());
    let new = canonical(pay_to);
    let known = pinned.iter().any(|one| canonical(one) == new);
    if !known {
        pinned.push(new);
    }
    !known
}

fn pin_key(origin: &str, network: &Network) -> String {
    format!("{origin} {network}")
}
