//! Who the client is when a proxy is in between.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use http::HeaderName;
use ipnet::IpNet;

/// Proxies whose word about the client is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxies {
    /// The header in which they say it: a list of addresses, the nearest last.
    pub header: HeaderName,
    /// Their own addresses. From anyone else the header is ignored.
    pub trusted: Vec<IpNet>,
}

impl Proxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }
}

/// The client's address: the connection's, or what a trusted proxy says. In a chain of proxies the
/// nearest address that is no trusted proxy's is the client; what stands before it anyone could have written.
pub(super) fn address(request: &Request, proxies: Option<&Proxies>) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>()?.0.ip().to_canonical();
    let Some(proxies) = proxies.filter(|proxies| proxies.trusts(peer)) else { return Some(peer) };
    let said: Vec<&str> = request
        .headers()
        .get_all(&proxies.header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let mut client = peer;
    for text in said.into_iter().rev() {
        let Some(address) = read(text) else { break };
        client = address;
        if !proxies.trusts(address) {
            break;
        }
    }
    Some(client)
}

/// An address, with or without a port.
fn read(text: &str) -> Option<IpAddr> {
    use std::str::FromStr as _;
    let address = IpAddr::from_str(text).ok();
    let address = address.or_else(|| SocketAddr::from_str(text).ok().map(|with_port| with_port.ip()));
    address.map(|address| address.to_canonical())
}
