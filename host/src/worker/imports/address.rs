//! Addresses and signals in the words of `host:cluster`.

use std::net::SocketAddr;

use super::bindings::cluster::types::{IpAddress, Signal, SocketAddress};
use crate::ipc::message::SocketName;

pub fn ip(address: SocketAddr) -> SocketAddress {
    SocketAddress::Ip(IpAddress { address: address.ip().to_string(), port: address.port() })
}

pub fn socket(name: &SocketName) -> SocketAddress {
    match name {
        SocketName::Ip(address) => ip(*address),
        SocketName::Unix(path) => SocketAddress::Unix(Some(path.clone())),
    }
}

/// The end of a connection; what is no internet address is a Unix socket.
pub fn end(address: Option<SocketAddr>) -> SocketAddress {
    address.map_or(SocketAddress::Unix(None), ip)
}

/// In the order of their numbers on Linux, which begin at 1.
const SIGNALS: [Signal; 31] = [
    Signal::Sighup,
    Signal::Sigint,
    Signal::Sigquit,
    Signal::Sigill,
    Signal::Sigtrap,
    Signal::Sigabrt,
    Signal::Sigbus,
    Signal::Sigfpe,
    Signal::Sigkill,
    Signal::Sigusr1,
    Signal::Sigsegv,
    Signal::Sigusr2,
    Signal::Sigpipe,
    Signal::Sigalrm,
    Signal::Sigterm,
    Signal::Sigstkflt,
    Signal::Sigchld,
    Signal::Sigcont,
    Signal::Sigstop,
    Signal::Sigtstp,
    Signal::Sigttin,
    Signal::Sigttou,
    Signal::Sigurg,
    Signal::Sigxcpu,
    Signal::Sigxfsz,
    Signal::Sigvtalrm,
    Signal::Sigprof,
    Signal::Sigwinch,
    Signal::Sigio,
    Signal::Sigpwr,
    Signal::Sigsys,
];

pub fn signal(number: i32) -> Option<Signal> {
    SIGNALS.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

pub fn signal_number(signal: Signal) -> i32 {
    SIGNALS.iter().position(|known| *known == signal).map_or(0, |index| index as i32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_numbers_of_this_system() {
        use nix::sys::signal::Signal as Kernel;
        for kernel in Kernel::iterator() {
            let ours = signal(kernel as i32).expect("every named signal");
            assert_eq!(format!("{ours:?}"), format!("Signal::{}", capitalized(kernel.as_str())));
            assert_eq!(signal_number(ours), kernel as i32);
        }
        assert!(signal(0).is_none() && signal(32).is_none() && signal(-1).is_none());
    }

    fn capitalized(name: &str) -> String {
        format!("{}{}", &name[..1], name[1..].to_lowercase())
    }
}
