//! Where a connection begins and ends.

use std::{net::SocketAddr, path::PathBuf};

use crate::bindings::imports::host::cluster::types;

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// IP address and port.
    Ip(SocketAddr),
    /// A Unix-domain socket, with its path if it has one.
    Unix(Option<PathBuf>),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix"),
        }
    }
}

impl From<types::SocketAddress> for Address {
    fn from(address: types::SocketAddress) -> Self {
        match address {
            types::SocketAddress::Ip(ip) => {
                let text = ip
                    .address
                    .parse()
                    .unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
                Self::Ip(SocketAddr::new(text, ip.port))
            }
            types::SocketAddress::Unix(path) => Self::Unix(path.map(PathBuf::from)),
        }
    }
}
