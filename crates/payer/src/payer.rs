//! The payer without a transport: decides, reserves, signs, checks and journals.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tollway_protocol::bind::Presented;
use tollway_protocol::door::UnixTime;
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{PayerScheme, SignError};
use tollway_protocol::wire::{Payment, Version};
use tollway_protocol::{Reason, Refusal, header, v1};

use crate::asked::{Asked, Speaks};
use crate::choose::{Plan, choose};
use crate::echo;
use crate::error::{Declined, PayError, Withheld};
use crate::flight::{InFlight, on_disk};
use crate::journal::{Entry, Held, Journal, JournalError, Live, ReserveError, Reserved, State};
use crate::journal::{SavedHeader, random_id};
use crate::origin::{Origin, Purchase};
use crate::policy::Policy;
use crate::text;
use crate::wallet::Wallet;

/// Times that bound a call, and how often the same payment is sent.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// For the whole call, until the answer's headers are there; and between two parts of its body.
    pub total: Duration,
    /// How often a payment is sent in one call, at most.
    pub sends: u32,
    /// How long after the first time it may be sent again.
    pub resend_within: Duration,
    /// How long to wait before the second time, when the server doesn't say; doubled each time.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            total: Duration::from_secs(60),
            sends: 3,
            resend_within: Duration::from_secs(45),
            pause: Duration::from_millis(500),
        }
    }
}

pub(crate) type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// Pays for requests, within a policy, from a wallet, remembering what it signed in a journal.
/// Clones share all of it.
#[derive(Clone)]
pub struct Payer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    wallet: Wallet,
    policy: Policy,
    journal: Journal,
    clock: Clock,
    http: reqwest::Client,
    /// For plain http to this computer: through no proxy.
    direct: reqwest::Client,
    pub(crate) limits: Limits,
}

impl Inner {
    /// Sends a request: directly, where a proxy would see plain text that is safe only on this
    /// computer.
    pub(crate) async fn execute(&self, request: reqwest::Request) -> reqwest::Result<reqwest::Response> {
        let stays = Origin::of(request.url()).is_plain_loopback();
        if stays { self.direct.execute(request).await } else { self.http.execute(request).await }
    }
}

impl std::fmt::Debug for Payer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payer")
            .field("wallet", &self.inner.wallet)
            .field("journal", &self.inner.journal)
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}

/// Makes a [`Payer`].
pub struct PayerBuilder {
    wallet: Wallet,
    journal: Journal,
    policy: Policy,
    clock: Clock,
    http: reqwest::ClientBuilder,
    direct: reqwest::ClientBuilder,
    limits: Limits,
}

impl PayerBuilder {
    /// What may be paid.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Times and counts.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The client that sends payments: roots, proxies, default headers. Its redirect policy and
    /// time-outs are replaced by the payer's. Made twice: plain http to this computer goes through
    /// one without proxies.
    #[must_use]
    pub fn http(mut self, make: impl Fn() -> reqwest::ClientBuilder) -> Self {
        self.http = make();
        self.direct = make();
        self
    }

    /// The time.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The payer.
    ///
    /// # Errors
    /// [`PayError::Client`].
    pub fn build(self) -> Result<Payer, PayError> {
        let Self { wallet, journal, policy, clock, http, direct, limits } = self;
        let client = |builder: reqwest::ClientBuilder| {
            builder
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .connect_timeout(limits.connect)
                .read_timeout(limits.total)
                .build()
                .map_err(PayError::Client)
        };
        let (http, direct) = (client(http)?, client(direct.no_proxy())?);
        Ok(Payer { inner: Arc::new(Inner { wallet, policy, journal, clock, http, direct, limits }) })
    }
}

fn system_time() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()))
}

impl Payer {
    /// A payer to be configured.
    #[must_use]
    pub fn builder(wallet: Wallet, journal: Journal) -> PayerBuilder {
        PayerBuilder {
            wallet,
            journal,
            policy: Policy::default(),
            clock: Arc::new(system_time),
            http: reqwest::Client::builder(),
            direct: reqwest::Client::builder(),
            limits: Limits::default(),
        }
    }

    /// Its journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    pub(crate) fn now(&self) -> UnixTime {
        (self.inner.clock)()
    }

    /// What would be paid now, and why; signs and reserves nothing.
    ///
    /// # Errors
    /// [`PayError::Declined`], [`PayError::Policy`], [`PayError::Journal`].
    pub async fn plan(&self, asked: &Asked, purchase: &Purchase) -> Result<Plan, PayError> {
        let (payer, what, request) = (self.clone(), asked.clone(), purchase.clone());
        let planned = on_disk(move || {
            let (plan, _) = payer.choose(&what, &request)?;
            let draft = Entry::draft(String::new(), &request, &plan, payer.now());
            payer.inner.journal.fits(&draft, &payer.inner.policy, payer.now())?;
            Ok(plan)
        });
        planned.await?
    }

    /// The payment that an earlier call left for `purchase`, which the next call would send again if
    /// the policy allows it still.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn outstanding(&self, purchase: &Purchase) -> Result<Option<Live>, JournalError> {
        let (payer, digest) = (self.clone(), purchase.digest());
        let found = on_disk(move || {
            let held = payer.inner.journal.orphan(&digest, payer.now(), payer.inner.policy.margin)?;
            Ok(held.map(|held| held.summary()))
        });
        found.await?
    }

    /// The payment that an earlier call left for `purchase`, if it may be sent again.
    pub(crate) fn left_behind(&self, purchase: &Purchase) -> Result<Option<Held>, PayError> {
        let Inner { journal, policy, .. } = &*self.inner;
        let held = journal.orphan(&purchase.digest(), self.now(), policy.margin)?;
        held.map(|held| self.judged(held, purchase)).transpose()
    }

    /// What was allowed when it was signed may not be now. Its budget is held already.
    fn judged(&self, held: Held, purchase: &Purchase) -> Result<Held, PayError> {
        let Inner { journal, policy, .. } = &*self.inner;
        let entry = &held.entry;
        let pinned = journal.pinned(&entry.origin)?;
        let pins = pinned.get(entry.offer.network.as_str()).map(Vec::as_slice).unwrap_or_default();
        let judged = policy
            .judge(purchase, &entry.resource, &entry.offer)
            .and_then(|_| policy.recipient(&entry.origin, &entry.offer.network, &entry.offer.pay_to, pins));
        match judged {
            Ok(()) => Ok(held),
            Err(why) => Err(PayError::Withheld(Box::new(Withheld { payment: held.summary(), why }))),
        }
    }

    /// Decides, reserves, signs, checks and journals a payment for `purchase`; or takes up the one
    /// that an earlier call left behind.
    ///
    /// # Errors
    /// Any [`PayError`] that says that nothing was paid, or [`PayError::Withheld`].
    pub async fn prepare(&self, asked: &Asked, purchase: &Purchase) -> Result<InFlight, PayError> {
        let deadline = Instant::now().checked_add(self.inner.limits.total);
        self.prepare_by(asked, purchase, deadline).await
    }

    pub(crate) async fn prepare_by(
        &self,
        asked: &Asked,
        purchase: &Purchase,
        deadline: Option<Instant>,
    ) -> Result<InFlight, PayError> {
        let (payer, what, request) = (self.clone(), asked.clone(), purchase.clone());
        let begun = on_disk(move || payer.begin(&what, &request)).await??;
        let (mut held, plan, scheme) = match begun {
            Begun::Resend(held) => return Ok(self.in_flight(held, true)),
            Begun::Fresh(held, plan, scheme) => (held, plan, scheme),
        };
        let signed = match deadline {
            Some(deadline) => {
                tokio::time::timeout_at(deadline, self.sign(asked, &plan, &*scheme, &held.entry))
                    .await
                    .unwrap_or(Err(PayError::TimedOut))
            }
            None => self.sign(asked, &plan, &*scheme, &held.entry).await,
        };
        match signed {
            Ok((header, closes)) => {
                let saved = on_disk(move || {
                    held.update(|entry| {
                        entry.state = State::Signed;
                        entry.header = Some(header);
                        entry.valid_before = closes;
                    })
                    .map(|()| held)
                });
                let held = saved.await??;
                tracing::info!(
                    id = held.entry.id, origin = held.entry.origin, amount = held.entry.amount,
                    asset = held.entry.asset, network = %held.entry.offer.network, "payment signed"
                );
                Ok(self.in_flight(held, false))
            }
            Err(error) => {
                on_disk(move || held.cancel()).await??;
                Err(error)
            }
        }
    }

    fn in_flight(&self, held: Held, resent: bool) -> InFlight {
        InFlight { held, clock: Arc::clone(&self.inner.clock), resent }
    }

    fn choose(&self, asked: &Asked, purchase: &Purchase) -> Result<(Plan, Arc<dyn PayerScheme>), PayError> {
        let pinned = self.inner.journal.pinned(purchase.origin().as_str())?;
        let pins =
            |network: &tollway_protocol::Network| pinned.get(network.as_str()).cloned().unwrap_or_default();
        let Inner { wallet, policy, .. } = &*self.inner;
        choose(asked, purchase, wallet, policy, &pins).map_err(|rejected| {
            let said = asked.error.as_deref().map(text::prose);
            PayError::Declined(Declined { rejected, said, hint: None })
        })
    }

    fn begin(&self, asked: &Asked, purchase: &Purchase) -> Result<Begun, PayError> {
        let Inner { journal, policy, .. } = &*self.inner;
        let now = self.now();
        if let Some(held) = self.left_behind(purchase)? {
            return Ok(Begun::Resend(held));
        }
        let (plan, scheme) = self.choose(asked, purchase)?;
        let id = random_id().map_err(|error| PayError::Entropy(error.to_string()))?;
        let draft = Entry::draft(id, purchase, &plan, now);
        match journal.reserve(draft, policy, now) {
            Ok(Reserved::Fresh(held)) => Ok(Begun::Fresh(held, Box::new(plan), scheme)),
            Ok(Reserved::Orphan(held)) => self.judged(held, purchase).map(Begun::Resend),
            Err(error) => Err(error.into()),
        }
    }

    /// Signs, and checks that what was signed does what the offer asks and nothing else.
    async fn sign(
        &self,
        asked: &Asked,
        plan: &Plan,
        scheme: &dyn PayerScheme,
        entry: &Entry,
    ) -> Result<(SavedHeader, UnixTime), PayError> {
        let mut entropy = [0u8; 32];
        getrandom::fill(&mut entropy).map_err(|error| PayError::Entropy(error.to_string()))?;
        let now = self.now();
        let signed = scheme.sign(&plan.offer, now, entropy).await.map_err(PayError::Sign)?;
        let mut extensions = echo::of(asked, &entry.id);
        if matches!(asked.dialect, Speaks::V2) {
            let added =
                scheme.extend(&plan.offer, &signed, &asked.extensions).await.map_err(PayError::Sign)?;
            echo::add(&mut extensions, added);
        }
        let payment = Payment {
            x402_version: Version,
            resource: Some(asked.resource.clone()),
            accepted: plan.offer.clone(),
            payload: signed.payload,
            extensions,
            unknown: Object::new(),
        };
        let closes = signed.effects.window.closes;
        if closes > now.plus(self.inner.policy.longest()) {
            let message = format!("it can execute until {closes}, longer than the policy's window");
            return Err(PayError::SignedWrong(Refusal::new(Reason::UnexpectedEffect, message)));
        }
        if signed.effects.payer != plan.payer {
            let message = format!("{} would pay, not {}", signed.effects.payer, plan.payer);
            return Err(PayError::SignedWrong(Refusal::new(Reason::UnexpectedEffect, message)));
        }
        let value = match asked.dialect {
            Speaks::V2 => header::encode(&payment),
            Speaks::V1 => header::encode(&v1::Payment {
                x402_version: Version,
                scheme: plan.offer.scheme.clone(),
                network: plan.v1_network.clone().unwrap_or_else(|| plan.offer.network.to_string()),
                payload: payment.payload.clone(),
                unknown: Object::new(),
            }),
        };
        Presented::new(plan.offer.clone(), payment)
            .and_then(|presented| presented.bind(signed.effects))
            .and_then(|bound| bound.at(self.now()))
            .map_err(PayError::SignedWrong)?;
        if value.len() > header::MAX_HEADER {
            let message = format!("the payment header would be {} bytes long", value.len());
            return Err(PayError::Sign(SignError::Offer(message)));
        }
        Ok((SavedHeader::new(asked.dialect, value), closes))
    }
}

enum Begun {
    Resend(Held),
    Fresh(Held, Box<Plan>, Arc<dyn PayerScheme>),
}

impl From<ReserveError> for PayError {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::Journal(error) => Self::Journal(error),
            // Another call pinned a recipient between choice and reservation.
            ReserveError::Policy(refused) => Self::Policy(refused),
        }
    }
}
