//! Blocks of IP addresses, for the list of trusted proxies.
//!
//! Input: text such as `10.0.0.0/8`, `192.0.2.7` or `fd00::/8`. Output: whether an address lies in the block.
//! Invariant: IPv4 and IPv4-mapped IPv6 (`::ffff:10.0.0.1`) are the same address on both sides; any other IPv6 block,
//! `::/0` too, holds no IPv4 address, so that trust is never wider than written.
//! Source: RFC 4632 (CIDR), RFC 4291 §2.5.5.2 (IPv4-mapped addresses).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A block of addresses; a single address is a block with a full-length prefix.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IpNet {
    /// Any address of the block, never IPv4-mapped; bits past the prefix are ignored.
    address: IpAddr,
    /// Bits, at most 32 for IPv4 and 128 for IPv6.
    prefix_bits: u8,
}

/// The text is neither an IP address nor a CIDR block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IpNetError;

impl IpNet {
    /// Tells whether `address` lies in the block; `::ffff:a.b.c.d` counts as `a.b.c.d`.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differing = u32::from(ours) ^ u32::from(theirs);
                differing.leading_zeros() >= u32::from(self.prefix_bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differing = u128::from(ours) ^ u128::from(theirs);
                differing.leading_zeros() >= u32::from(self.prefix_bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Turns a block inside `::ffff:0:0/96` into the IPv4 block it stands for.
    fn canonical(address: Ipv6Addr, prefix_bits: u8) -> Self {
        match (address.to_ipv4_mapped(), prefix_bits.checked_sub(MAPPED_PREFIX_BITS)) {
            (Some(v4), Some(prefix_bits)) => Self { address: IpAddr::V4(v4), prefix_bits },
            (Some(_), None) | (None, Some(_)) | (None, None) => {
                Self { address: IpAddr::V6(address), prefix_bits }
            }
        }
    }
}

impl FromStr for IpNet {
    type Err = IpNetError;

    fn from_str(text: &str) -> Result<Self, IpNetError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| IpNetError)?;
        let max_bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(prefix) => parse_prefix(prefix, max_bits)?,
            None => max_bits,
        };
        Ok(match address {
            IpAddr::V4(_) => Self { address, prefix_bits },
            IpAddr::V6(v6) => Self::canonical(v6, prefix_bits),
        })
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl fmt::Display for IpNetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected IP address or CIDR block")
    }
}

impl std::error::Error for IpNetError {}

/// Length in bits of `::ffff:0:0`, the prefix of IPv4-mapped addresses.
const MAPPED_PREFIX_BITS: u8 = 96;

/// Parses a decimal prefix length without sign or leading zeros.
fn parse_prefix(text: &str, max_bits: u8) -> Result<u8, IpNetError> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    match text.parse::<u8>() {
        Ok(bits) if canonical && bits <= max_bits => Ok(bits),
        Ok(_) | Err(_) => Err(IpNetError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(net: &str, address: &str) -> bool {
        net.parse::<IpNet>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_matched_by_prefix() {
        for (net, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("192.0.2.6/31", "192.0.2.7", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::1", "::1", true),
            ("::/0", "2001:db8::1", true),
        ] {
            assert_eq!(contains(net, address), expected, "{net} {address}");
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4_on_both_sides() {
        assert!(contains("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(!contains("10.0.0.0/8", "::ffff:11.1.1.1"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.1.1"));
        assert!(contains("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(contains("::ffff:10.0.0.1", "::ffff:10.0.0.1"));
        assert!(!contains("::/0", "10.0.0.1"));
        assert!(!contains("::/0", "::ffff:10.0.0.1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "010.0.0.1",
            "10.0.0.1:80",
            " 10.0.0.1",
            "::1/129",
            "::1%eth0",
            "[::1]",
            "localhost",
            "*",
        ] {
            assert_eq!(text.parse::<IpNet>(), Err(IpNetError), "{text}");
        }
    }

    #[test]
    fn text_form_names_the_block() {
        assert_eq!("10.0.0.0/8".parse::<IpNet>().unwrap().to_string(), "10.0.0.0/8");
        assert_eq!("::1".parse::<IpNet>().unwrap().to_string(), "::1/128");
    }
}
