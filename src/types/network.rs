//! Networks that callers may come from, such as `10.20.0.0/16`, and where one does come from.

// An address is a number like another; `core` has it without any socket.
use core::net::{IpAddr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

/// All addresses that begin with the same bits (RFC 4632, RFC 4291 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// Whose connection a request came over. Headers that name another address are not believed: anyone can send them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// Whether it lies in one of these networks.
    pub fn is_within(self, networks: &[Network]) -> bool {
        networks.iter().any(|network| network.contains(self.0))
    }
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an address, or not one behind a `/` and a number.
    #[error(
        "write an address or a network, such as `10.20.0.7`, `10.20.0.0/16` or `2001:db8::/32`"
    )]
    Malformed,
    /// More bits than an address has.
    #[error("an address of this kind has {0} bits")]
    TooLong(u32),
    /// Bits are set that the network leaves open.
    #[error(
        "this is one address of a network: write `{0}` for all of it, or leave the `/` away for this one"
    )]
    NotItsFirst(Network),
}

impl Network {
    /// Whether an address lies in it. An IPv4 address in the clothes of an IPv6 one (`::ffff:10.0.0.1`) is an IPv4
    /// address: a listener for both kinds sees them so.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let open = 32 - self.prefix;
                (u64::from(first.to_bits()) >> open) == (u64::from(address.to_bits()) >> open)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                above(first, self.prefix) == above(address, self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// The network of so many first bits that an address lies in.
    fn around(address: IpAddr, prefix: u32) -> Self {
        let address = match address {
            IpAddr::V4(address) => {
                let kept = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                IpAddr::V4((address.to_bits() & kept).into())
            }
            IpAddr::V6(address) => {
                let kept = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                IpAddr::V6((address.to_bits() & kept).into())
            }
        };
        Self { address, prefix }
    }
}

/// The first bits of an address.
fn above(address: Ipv6Addr, prefix: u32) -> u128 {
    address.to_bits().checked_shr(128 - prefix).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| NetworkError::Malformed)?;
        let bits = if written.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits)
                if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                digits.parse().map_err(|_| NetworkError::TooLong(bits))?
            }
            Some(_) => return Err(NetworkError::Malformed),
        };
        if prefix > bits {
            return Err(NetworkError::TooLong(bits));
        }
        let network = Self::around(written, prefix);
        if network.address != written {
            return Err(NetworkError::NotItsFirst(network));
        }
        // Of mapped addresses (`::ffff:0:0/96`), what they stand for is kept.
        match (written, written.to_canonical()) {
            (IpAddr::V6(_), address @ IpAddr::V4(_)) if prefix >= 96 => Ok(Self {
                address,
                prefix: prefix - 96,
            }),
            _ => Ok(network),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_what_begins_with_its_bits() {
        let table = [
            ("10.20.0.0/16", "10.20.255.255", true),
            ("10.20.0.0/16", "10.21.0.0", false),
            ("10.20.0.0/16", "::ffff:10.20.1.2", true),
            ("10.20.0.0/16", "::10.20.1.2", false),
            ("10.20.0.7", "10.20.0.7", true),
            ("10.20.0.7", "10.20.0.8", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("::/0", "::ffff:10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::1", "::1", true),
            ("::ffff:10.0.0.0/104", "10.255.0.1", true),
            ("::ffff:10.0.0.0/104", "11.0.0.0", false),
            ("::ffff:0:0/96", "11.0.0.0", true),
        ];
        for (network, address, expected) in table {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn a_peer_is_within_the_networks_that_hold_it_and_within_none_where_there_are_none() {
        let networks: Vec<Network> = ["127.0.0.1", "10.20.0.0/16", "2001:db8::/32"]
            .map(|text| text.parse().unwrap())
            .into();
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("::ffff:127.0.0.1", true),
            ("::1", false),
            ("10.20.255.1", true),
            ("10.21.0.1", false),
            ("2001:db8::7", true),
        ] {
            let peer = Peer(address.parse().unwrap());
            assert_eq!(peer.is_within(&networks), expected, "{address}");
            assert!(!peer.is_within(&[]), "{address}");
        }
    }

    #[test]
    fn what_is_no_network_is_told() {
        let said = |text: &str| text.parse::<Network>().unwrap_err().to_string();
        for text in [
            "",
            "10.20",
            "10.20.0.0/",
            "10.20.0.0/+8",
            "localhost",
            "10.0.0.0/8/8",
            "010.0.0.1",
            "fe80::1%eth0",
        ] {
            assert_eq!(said(text), NetworkError::Malformed.to_string(), "{text}");
        }
        assert_eq!(said("10.0.0.0/33"), "an address of this kind has 32 bits");
        assert_eq!(
            said("::/999999999999"),
            "an address of this kind has 128 bits"
        );
        assert!(said("10.20.3.4/16").contains("write `10.20.0.0/16` for all of it"));
    }

    proptest::proptest! {
        #[test]
        fn every_address_lies_in_the_networks_around_it_and_no_other(
            address: u128, other: u128, prefix in 0_u32..=128,
        ) {
            let (address, other) = (IpAddr::V6(address.into()), IpAddr::V6(other.into()));
            let network = Network::around(address, prefix);
            let is_mapped = |address: IpAddr| address.to_canonical().is_ipv4();
            if !is_mapped(address) && !is_mapped(other) {
                proptest::prop_assert!(network.contains(address));
                proptest::prop_assert_eq!(network.contains(other), Network::around(other, prefix) == network);
            }
        }
    }
}
