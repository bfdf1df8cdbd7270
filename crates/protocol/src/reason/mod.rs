//! The reason table: each internal reason with its wire codes, HTTP status, whether to try again,
//! and one sentence of help. Docs and tests are generated from [`Reason::ALL`].

mod table;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use table::Reason;

/// Whose spelling of a code is written: the published SDKs use different texts for one meaning,
/// by scheme and protocol version. All spellings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// The specification's own codes.
    #[default]
    Core,
    /// `exact` on EVM.
    ExactEvm,
    /// `exact` on EVM for version 1 clients.
    ExactEvmV1,
    /// `exact` on EVM by Permit2.
    ExactPermit2,
    /// `upto` on EVM.
    UptoEvm,
    /// `exact` on Solana.
    ExactSvm,
    /// `exact` on Solana for version 1 clients.
    ExactSvmV1,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 7] = [
        Self::Core,
        Self::ExactEvm,
        Self::ExactEvmV1,
        Self::ExactPermit2,
        Self::UptoEvm,
        Self::ExactSvm,
        Self::ExactSvmV1,
    ];

    /// The dialect of a scheme on a network, in version 2, where its transfer method is not known.
    #[must_use]
    pub fn of(scheme: &str, network: &crate::Network) -> Self {
        match (scheme, network.namespace()) {
            ("exact", "eip155") => Self::ExactEvm,
            ("upto", "eip155") => Self::UptoEvm,
            ("exact", "solana") => Self::ExactSvm,
            _ => Self::Core,
        }
    }

    /// The dialect of an offer, in version 2.
    #[must_use]
    pub fn of_offer(offer: &crate::Offer) -> Self {
        match Self::of(&offer.scheme, &offer.network) {
            Self::ExactEvm if offer.extra.str("assetTransferMethod") == Some("permit2") => Self::ExactPermit2,
            dialect => dialect,
        }
    }
}

/// What the payer may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Nothing will make this payment good.
    Never,
    /// Sign a new payment: this one can't settle any more, or never could.
    Fresh,
    /// Send the same payment again; never a new one.
    Same,
    /// Ask again later; nothing happened.
    Later,
}

/// A row's contents.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The specification's code, or the reference SDK's where it has none.
    pub core: &'static str,
    /// The code in `exact` on EVM.
    pub exact_evm: Option<&'static str>,
    /// The code in `exact` on EVM, version 1.
    pub exact_evm_v1: Option<&'static str>,
    /// The code in `exact` by Permit2, and in `upto`, on EVM.
    pub permit2: Option<&'static str>,
    /// The code in `upto` on EVM, where it is another.
    pub upto: Option<&'static str>,
    /// The code in `exact` on Solana.
    pub exact_svm: Option<&'static str>,
    /// The code in `exact` on Solana, version 1.
    pub exact_svm_v1: Option<&'static str>,
    /// Other spellings that are read as this.
    pub also: &'static [&'static str],
    /// The HTTP status of a seller's answer with this reason.
    pub http: u16,
    /// What the payer may do next.
    pub retry: Retry,
    /// What to do, in one sentence.
    pub help: &'static str,
}

impl Row {
    /// The code that is written in `dialect`.
    #[must_use]
    pub fn code(&self, dialect: Dialect) -> &'static str {
        let own = match dialect {
            Dialect::Core => None,
            Dialect::ExactEvm => self.exact_evm,
            Dialect::ExactEvmV1 => self.exact_evm_v1.or(self.exact_evm),
            Dialect::ExactPermit2 => self.permit2.or(self.exact_evm),
            Dialect::UptoEvm => self.upto.or(self.permit2),
            Dialect::ExactSvm => self.exact_svm,
            Dialect::ExactSvmV1 => self.exact_svm_v1.or(self.exact_svm),
        };
        own.unwrap_or(self.core)
    }

    /// Every spelling of this row.
    pub fn spellings(&self) -> impl Iterator<Item = &'static str> + '_ {
        let evm = [self.exact_evm, self.exact_evm_v1, self.permit2, self.upto];
        let own = [Some(self.core)].into_iter().chain(evm).chain([self.exact_svm, self.exact_svm_v1]);
        own.flatten().chain(self.also.iter().copied())
    }
}

impl Reason {
    /// The code in `dialect`; a code that is not known is given back as it came.
    #[must_use]
    pub fn code(&self, dialect: Dialect) -> Code {
        if let Self::Other(text) = self {
            return Code(text.clone());
        }
        Code(self.row().code(dialect).into())
    }

    /// The reason that `code` stands for, in any dialect. The reference facilitator appends a
    /// message to some codes, `code: message`; then the code counts.
    #[must_use]
    pub fn of(code: &str) -> Self {
        let row_of = |code: &str| {
            let is = |reason: &&Self| reason.row().spellings().any(|known| known == code);
            Self::ALL.iter().find(is).cloned()
        };
        row_of(code)
            .or_else(|| code.split_once(": ").and_then(|(code, _)| row_of(code)))
            .unwrap_or_else(|| Self::Other(code.into()))
    }
}

/// A reason as it is on the wire.
///
/// ```
/// use tollway_protocol::{Code, Reason};
/// let code: Code = serde_json::from_str("\"invalid_exact_evm_insufficient_balance\"")?;
/// assert_eq!(code.reason(), Reason::InsufficientBalance);
/// assert_eq!(Code::new("brand_new").reason(), Reason::Other("brand_new".into()));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Code(Box<str>);

impl Code {
    /// A code by its text; cut at 200 characters.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.chars().take(200).collect())
    }

    /// What it means.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason::of(&self.0)
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(d).map(|text| Self::new(&text))
    }
}

/// A payment turned away: a verdict, never a failure of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", reason.code(*dialect))]
pub struct Refusal {
    /// Which row.
    pub reason: Reason,
    /// What was wrong with this payment, without secrets.
    pub message: String,
    /// Who would have paid, where known.
    pub payer: Option<String>,
    /// How the code is spelt to this payer.
    pub dialect: Dialect,
}

impl Refusal {
    /// A refusal in the core dialect.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), payer: None, dialect: Dialect::Core }
    }

    /// Names the payer.
    #[must_use]
    pub fn payer(mut self, payer: &str) -> Self {
        self.payer = Some(payer.to_owned());
        self
    }

    /// Chooses the spelling of the code.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The code for this refusal's dialect.
    #[must_use]
    pub fn code(&self) -> Code {
        self.reason.code(self.dialect)
    }
}

impl From<Refusal> for crate::wire::Verdict {
    fn from(refusal: Refusal) -> Self {
        Self {
            is_valid: false,
            invalid_reason: Some(refusal.code()),
            invalid_message: Some(refusal.message),
            payer: refusal.payer,
            ..Self::default()
        }
    }
}
