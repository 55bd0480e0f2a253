//! Where a request comes from.

use std::net::IpAddr;
use std::str::FromStr;

use actix_web::HttpRequest;
use ipnet::IpNet;
use serde::Deserialize;

/// Proxies that are believed when they say for whom they ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TrustedProxies(Vec<IpNet>);

impl TryFrom<String> for TrustedProxies {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    /// Addresses and networks, separated by commas: `127.0.0.1,10.0.0.0/8`.
    fn from_str(text: &str) -> Result<Self, String> {
        let network = |word: &str| {
            let address = word.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_no_address| word.parse()).map_err(|_neither| {
                format!(
                    "`{word}` is neither an address nor a network: write `10.0.0.7` or `10.0.0.0/8`"
                )
            })
        };
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl TrustedProxies {
    fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client: the last of `forwarded` (`X-Forwarded-For`, nearest last) that is no trusted
    /// proxy, if `peer` is one. What a client wrote itself stands further left and is not reached.
    fn client(&self, peer: IpAddr, forwarded: &str) -> IpAddr {
        let mut client = peer;
        for hop in forwarded.rsplit(',') {
            match hop.trim().parse() {
                Ok(before) if self.trust(client) => client = before,
                _ => break,
            }
        }
        client.to_canonical()
    }
}

/// The address of the client: of the connection, or what a trusted proxy said.
pub fn client_address(request: &HttpRequest) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    let Some(trusted) = request.app_data::<TrustedProxies>() else { return Some(peer) };
    let lines = request.headers().get_all("x-forwarded-for");
    let said: Vec<&str> = lines.map(|line| line.to_str().unwrap_or_default()).collect();
    Some(trusted.client(peer, &said.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &str) -> String {
        let trusted: TrustedProxies = "127.0.0.1, 10.0.0.0/8,fd00::/8".parse().unwrap();
        trusted.client(peer.parse().unwrap(), forwarded).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_for_what_it_saw() {
        assert_eq!(client("203.0.113.9", "198.51.100.1"), "203.0.113.9", "a stranger");
        assert_eq!(client("10.0.0.2", "203.0.113.9"), "203.0.113.9");
        assert_eq!(client("10.0.0.2", "1.2.3.4, 203.0.113.9"), "203.0.113.9", "forged");
        assert_eq!(client("10.0.0.2", "1.2.3.4, 203.0.113.9, 10.0.0.3"), "203.0.113.9", "two");
        assert_eq!(client("::ffff:10.0.0.2", "203.0.113.9"), "203.0.113.9", "mapped");
        assert_eq!(client("fd00::1", "2001:db8::7"), "2001:db8::7");
        assert_eq!(client("10.0.0.2", ""), "10.0.0.2");
        assert_eq!(client("10.0.0.2", "203.0.113.9, unknown"), "10.0.0.2");
        assert_eq!(client("10.0.0.2", "10.0.0.9"), "10.0.0.9", "asked from inside");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in ["nginx", "10.0.0.0/33", "10.0.0.1:80"] {
            assert!(wrong.parse::<TrustedProxies>().unwrap_err().contains(wrong));
        }
        assert_eq!("".parse(), Ok(TrustedProxies::default()));
    }
}
