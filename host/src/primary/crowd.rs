//! How many connections each client address has, for `--max-connections-per-address`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

#[derive(Clone, Default)]
pub struct Crowd(Rc<RefCell<HashMap<IpAddr, u32>>>);

/// One connection of a client; it counts until this is dropped.
pub struct Place(Crowd, IpAddr);

impl Crowd {
    /// `None` if the client has as many already.
    pub fn enter(&self, client: SocketAddr, most: u32) -> Option<Place> {
        let client = network(client.ip());
        let mut all = self.0.borrow_mut();
        let count = all.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place(self.clone(), client))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.0.0.borrow_mut();
        if let Some(count) = all.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.1);
            }
        }
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_counted_by_address_or_network_until_its_connections_end() {
        let crowd = Crowd::default();
        let enter = |client: &str| crowd.enter(client.parse().unwrap(), 2);
        let (first, second) = (enter("192.0.2.1:1"), enter("[::ffff:192.0.2.1]:2"));
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1:3").is_none());
        assert!(enter("192.0.2.2:3").is_some());
        drop(first);
        assert!(enter("192.0.2.1:3").is_some());
        let held = [enter("[2001:db8::1]:1"), enter("[2001:db8::2:1]:1")];
        assert!(enter("[2001:db8:0:0:9::]:1").is_none());
        assert!(enter("[2001:db8:0:1::]:1").is_some());
        drop((held, second));
        assert!(crowd.0.borrow().is_empty());
    }
}
