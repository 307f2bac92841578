//! Which outgoing connections are granted: pure decisions about names and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// One `--allow-outbound`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    host: Host,
    /// `None` is 80 and 443.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Host {
    /// `*`: every name, and every public address.
    Any,
    /// In lower case, without a final dot.
    Name(String),
    /// `*.example.com`: every name below.
    Below(String),
    /// An address, or all that share its first bits.
    Net(IpAddr, u8),
}

impl FromStr for Grant {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Grant> {
        let wrong = || {
            format!(
                "--allow-outbound {text}: write HOST, *.HOST, ADDRESS or ADDRESS/BITS, then :PORT or nothing"
            )
        };
        let (host, port) = split_port(text).with_context(wrong)?;
        ensure!(!host.is_empty() && !host.contains(['@', '?', '#']), wrong());
        let host = match host.split_once('/') {
            Some((address, bits)) => {
                let address: IpAddr = address.parse().ok().with_context(wrong)?;
                let bits: u8 = bits.parse().ok().with_context(wrong)?;
                ensure!(bits <= width(address), wrong());
                Host::Net(address, bits)
            }
            None => match (host.parse::<IpAddr>(), host.strip_prefix("*.")) {
                (Ok(address), _) => Host::Net(address, width(address)),
                (_, Some(below)) => Host::Below(normal(below)),
                _ if host == "*" => Host::Any,
                _ => Host::Name(normal(host)),
            },
        };
        Ok(Grant { host, port })
    }
}

/// `a:1`, `[::1]:1`, `::1`, `::/8`, `a`.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?.parse().ok()?))),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((text, None)),
    }
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl Grant {
    fn covers_port(&self, port: u16) -> bool {
        match self.port {
            Some(granted) => granted == port,
            None => port == 80 || port == 443,
        }
    }

    fn covers_name(&self, name: &str) -> bool {
        match &self.host {
            Host::Any => true,
            Host::Name(granted) => granted == name,
            Host::Below(domain) => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            Host::Net(..) => false,
        }
    }

    fn covers_address(&self, address: IpAddr) -> bool {
        match &self.host {
            Host::Net(net, bits) => same_net(*net, address, *bits),
            // Whoever grants this name means the machine itself.
            Host::Name(name) => name == "localhost" && address.is_loopback(),
            _ => false,
        }
    }
}

fn same_net(net: IpAddr, address: IpAddr, bits: u8) -> bool {
    let (net, address, width) = match (net, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let shift = u32::from(width - bits);
    net.checked_shr(shift).unwrap_or(0) == address.checked_shr(shift).unwrap_or(0)
}

/// Whether looking up `host` for `port` is granted at all.
pub fn allows_host(grants: &[Grant], host: &str, port: u16) -> bool {
    let grants = grants.iter().filter(|grant| grant.covers_port(port));
    match host.parse::<IpAddr>() {
        Ok(address) => grants.clone().any(|grant| {
            grant.covers_address(plain(address))
                || grant.host == Host::Any && is_public(plain(address))
        }),
        Err(_) => grants.clone().any(|grant| grant.covers_name(&normal(host))),
    }
}

/// Whether an address that a granted name resolved to may be connected to: public ones may; what
/// is inside our own networks needs a grant of its own, whatever name points there.
pub fn allows_address(grants: &[Grant], address: IpAddr, port: u16) -> bool {
    let address = plain(address);
    is_public(address)
        || grants.iter().any(|grant| grant.covers_port(port) && grant.covers_address(address))
}

/// An IPv4 address in IPv6 clothing is judged as what it is.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        v4 => v4,
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// After the IANA special-purpose address registry.
fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    !(a == 0
        || v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || v4.is_documentation()
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18))
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let first = v6.segments();
    // Only 2000::/3 is global unicast; of that, not Teredo, documentation or 6to4 of any address.
    first[0] & 0xe000 == 0x2000
        && !(first[0] == 0x2001 && (first[1] == 0 || first[1] == 0xdb8))
        && first[0] != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(texts: &[&str]) -> Vec<Grant> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn names_are_granted_exactly_or_below_a_domain_on_the_ports_given() {
        let grants = grants(&["api.example.com", "*.cdn.net:8443"]);
        assert!(allows_host(&grants, "API.example.com.", 443));
        assert!(!allows_host(&grants, "api.example.com", 8080));
        assert!(!allows_host(&grants, "x.api.example.com", 443));
        assert!(allows_host(&grants, "a.b.cdn.net", 8443));
        assert!(!allows_host(&grants, "cdn.net", 8443));
        assert!(!allows_host(&grants, "evilcdn.net", 8443));
        assert!(!allows_host(&grants, "93.184.216.34", 443));
    }

    #[test]
    fn a_granted_name_reaches_public_addresses_only() {
        let grants = grants(&["a.example", "*"]);
        assert!(allows_address(&grants, "93.184.216.34".parse().unwrap(), 443));
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "255.255.255.255",
            "224.0.0.1",
        ] {
            assert!(!allows_address(&grants, inside.parse().unwrap(), 443), "{inside}");
            assert!(!allows_host(&grants, inside, 443), "{inside}");
        }
    }

    #[test]
    fn an_inside_address_needs_a_grant_that_names_it() {
        let grants = grants(&["10.0.0.0/8:5432", "localhost:81", "[::1]:82"]);
        assert!(allows_address(&grants, "10.9.9.9".parse().unwrap(), 5432));
        assert!(!allows_address(&grants, "10.9.9.9".parse().unwrap(), 443));
        assert!(allows_host(&grants, "localhost", 81));
        assert!(allows_address(&grants, "127.0.0.1".parse().unwrap(), 81));
        assert!(allows_host(&grants, "::1", 82));
    }

    #[test]
    fn a_grant_that_is_not_one_is_refused() {
        for wrong in ["", "http://a", "a:b", ":80", "a:99999", "10.0.0.0/33", "a/8", "[::1", "u@h"]
        {
            assert!(wrong.parse::<Grant>().is_err(), "{wrong}");
        }
    }
}
