//! Which addresses are closed to calls at URLs that people gave.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(a: u16, b: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), length)
}

/// Networks of IPv4 that are not the public internet (IANA's registry of special-purpose addresses),
/// and the one public address at which a cloud's hosts ask for their credentials.
const CLOSED_V4: [(Ipv4Net, &str); 16] = [
    (v4(0, 0, 0, 0, 8), "an unspecified address"),
    (v4(10, 0, 0, 0, 8), "a private address"),
    (v4(100, 64, 0, 0, 10), "an address behind a carrier's translation"),
    (v4(127, 0, 0, 0, 8), "a loopback address"),
    (v4(168, 63, 129, 16, 32), "a cloud's metadata service"),
    (v4(169, 254, 0, 0, 16), "a link-local address, where metadata services are"),
    (v4(172, 16, 0, 0, 12), "a private address"),
    (v4(192, 0, 0, 0, 24), "a reserved address"),
    (v4(192, 0, 2, 0, 24), "an address for documentation"),
    (v4(192, 88, 99, 0, 24), "a relay to IPv6"),
    (v4(192, 168, 0, 0, 16), "a private address"),
    (v4(198, 18, 0, 0, 15), "an address for benchmarks"),
    (v4(198, 51, 100, 0, 24), "an address for documentation"),
    (v4(203, 0, 113, 0, 24), "an address for documentation"),
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(240, 0, 0, 0, 4), "a reserved address"),
];

/// The networks of IPv6 that have a name for what they are. All else outside of [`PUBLIC_V6`] is
/// closed, too.
const CLOSED_V6: [(Ipv6Net, &str); 13] = [
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "an unspecified address"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "a loopback address"),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
        "an address of IPv4 written as IPv6",
    ),
    (v6(0, 0, 96), "an address of IPv4 written as IPv6"),
    (v6(0x64, 0xff9b, 32), "an address of IPv4 behind a translation"),
    (v6(0x2001, 0, 23), "a tunnel, or a reserved address"),
    (v6(0x2001, 0xdb8, 32), "an address for documentation"),
    (v6(0x2002, 0, 16), "an address of IPv4 behind a tunnel"),
    (v6(0x3fff, 0, 20), "an address for documentation"),
    (v6(0xfc00, 0, 7), "a private address"),
    (v6(0xfe80, 0, 10), "a link-local address"),
    (v6(0xfec0, 0, 10), "a private address"),
    (v6(0xff00, 0, 8), "a multicast address"),
];

/// The part of IPv6 that is given out.
const PUBLIC_V6: Ipv6Net = v6(0x2000, 0, 3);

/// What an address is that may not be called; `None` if it is one of the public internet.
pub(super) fn closed(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            let mut closed = CLOSED_V4.iter();
            closed.find(|(network, _)| network.contains(&address)).map(|(_, kind)| *kind)
        }
        IpAddr::V6(address) => {
            let mut closed = CLOSED_V6.iter();
            let named = closed.find(|(network, _)| network.contains(&address));
            match named {
                Some((_, kind)) => Some(kind),
                None if PUBLIC_V6.contains(&address) => None,
                None => Some("a reserved address"),
            }
        }
    }
}

/// What may be called all the same.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    networks: Vec<IpNet>,
    hosts: Vec<String>,
}

impl Allowed {
    /// Reads hosts, addresses and networks. The error is the item that is none.
    pub(super) fn parse(items: &[String]) -> Result<Self, String> {
        let mut allowed = Self::default();
        for item in items {
            let text = item.trim();
            if let Ok(network) = text.parse::<IpNet>() {
                allowed.networks.push(network);
            } else if let Ok(address) = text.parse::<IpAddr>() {
                allowed.networks.push(IpNet::from(address));
            } else if is_host(text) {
                allowed.hosts.push(plain(text));
            } else {
                return Err(item.clone());
            }
        }
        Ok(allowed)
    }

    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    pub(super) fn has_host(&self, host: &str) -> bool {
        let host = plain(host);
        self.hosts.contains(&host)
    }
}

/// A name, with no place in it for a wildcard, a port or a path. One of digits at its end would be
/// read as an address.
fn is_host(text: &str) -> bool {
    let plain = plain(text);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let labels = || plain.split('.');
    let named = labels().next_back().is_some_and(|last| last.contains(|c: char| c.is_alphabetic()));
    named && labels().all(|label| !label.is_empty() && label.chars().all(fits))
}

fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}
