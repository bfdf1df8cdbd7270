//! Allow and deny lists, and trusted proxies, as configured.

use std::collections::BTreeSet;
use std::path::PathBuf;

use http::HeaderName;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use tollway_protocol::NetworkPattern;

use crate::{api, screen};

/// A rule: it means the payments that match every member given. A member that is given is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleConfig {
    /// Accounts that pay.
    pub payer: Option<Vec<String>>,
    /// A file with more of them, one a line; `#` begins a comment.
    pub payer_file: Option<PathBuf>,
    /// Accounts that are paid.
    pub pay_to: Option<Vec<String>>,
    /// Asset contracts.
    pub asset: Option<Vec<String>>,
    /// Networks, such as `eip155:8453` or `eip155:*`.
    #[serde(deserialize_with = "patterns")]
    pub network: Option<Vec<NetworkPattern>>,
    /// API keys, by name.
    pub key: Option<Vec<String>>,
}

impl RuleConfig {
    /// The members that are given, by name.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let texts = |list: &Option<Vec<String>>| list.as_ref().map(Vec::len);
        [
            ("payer", texts(&self.payer)),
            ("pay_to", texts(&self.pay_to)),
            ("asset", texts(&self.asset)),
            ("network", self.network.as_ref().map(Vec::len)),
            ("key", texts(&self.key)),
        ]
        .into_iter()
        .filter_map(|(name, count)| count.map(|count| (name, count)))
    }

    /// The members that are addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&'static str, &Vec<String>)> {
        [("payer", &self.payer), ("pay_to", &self.pay_to), ("asset", &self.asset)]
            .into_iter()
            .filter_map(|(name, list)| list.as_ref().map(|list| (name, list)))
    }

    /// Takes the text of [`payer_file`](Self::payer_file).
    pub fn add_payers(&mut self, text: &str) {
        let lines = text.lines().filter_map(|line| line.split('#').next()).map(str::trim);
        let payers = lines.filter(|line| !line.is_empty()).map(str::to_owned);
        self.payer.get_or_insert_default().extend(payers);
    }

    /// The rule, as payments are judged by.
    #[must_use]
    pub fn rule(&self) -> screen::Rule {
        let set = |list: &Option<Vec<String>>| list.iter().flatten().cloned().collect::<BTreeSet<_>>();
        screen::Rule {
            payer: set(&self.payer),
            pay_to: set(&self.pay_to),
            asset: set(&self.asset),
            network: self.network.iter().flatten().cloned().collect(),
            key: set(&self.key),
        }
    }
}

fn patterns<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<NetworkPattern>>, D::Error> {
    let texts = Vec::<String>::deserialize(d)?;
    let read = |text: &String| NetworkPattern::new(text).map_err(serde::de::Error::custom);
    texts.iter().map(read).collect::<Result<Vec<_>, _>>().map(Some)
}

/// Proxies in front, whose word about the client is taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// The header in which they say it; `x-forwarded-for` unless set.
    #[serde(default = "forwarded")]
    pub header: String,
    /// Their addresses, such as `10.0.0.0/8`.
    pub trusted: Vec<IpNet>,
}

fn forwarded() -> String {
    "x-forwarded-for".to_owned()
}

impl ProxyConfig {
    /// As the API needs it; nothing when the header's name can't be one.
    #[must_use]
    pub fn api(&self) -> Option<api::Proxies> {
        let header = HeaderName::from_bytes(self.header.as_bytes()).ok()?;
        Some(api::Proxies { header, trusted: self.trusted.clone() })
    }
}
