//! Networks: whose an address is, as far as the address itself says.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// What is nowhere on the public internet: RFC 1918, RFC 4193, loopback and link-local.
const PRIVATE: [&str; 8] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// Some networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Addresses and networks (RFC 4632) with commas between them, and the word `private`; none if one is nothing of these.
    pub fn parse(text: &str) -> Option<Self> {
        let mut networks = Vec::new();
        for name in text.split(',').map(str::trim) {
            match name {
                "private" => networks.extend(PRIVATE.into_iter().filter_map(network)),
                name => networks.push(network(name)?),
            }
        }
        Some(Self(networks))
    }

    /// Whether `address` belongs to one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn network(text: &str) -> Option<IpNet> {
    let alone = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(alone)
}

/// Whom one is counted with: 64 bits of IPv6 are given to one customer, who may use all of their addresses.
pub fn household(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Ipv6Addr::from(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contain(networks: &str, address: &str) -> bool {
        let networks = Networks::parse(networks).unwrap();
        networks.contain(address.parse().unwrap())
    }

    #[test]
    fn networks_and_addresses_are_told_apart_from_all_else() {
        for good in [
            "10.0.0.0/8",
            "10.1.2.3",
            "2001:db8::/32, ::1",
            "private,192.0.2.0/24",
        ] {
            assert!(Networks::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/8,",
            "private ones",
            "localhost",
            "cloudflare",
            "[::1]",
        ] {
            assert!(Networks::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_address_belongs_to_a_network_of_its_own_kind() {
        assert!(contain("10.0.0.0/8, 192.0.2.7", "192.0.2.7"));
        assert!(contain("10.0.0.0/8, 192.0.2.7", "10.255.0.1"));
        assert!(!contain("10.0.0.0/8, 192.0.2.7", "192.0.2.8"));
        assert!(contain("2001:db8::/32", "2001:db8:1::1"));
        assert!(!contain("0.0.0.0/0", "2001:db8::1"));
        assert!(contain("0.0.0.0/0", "203.0.113.9"));
    }

    #[test]
    fn private_is_what_is_not_on_the_public_internet() {
        for address in [
            "127.0.0.1",
            "10.1.1.1",
            "172.31.0.1",
            "192.168.1.1",
            "::1",
            "fd12::1",
            "fe80::1",
        ] {
            assert!(contain("private", address), "{address}");
        }
        for address in ["172.32.0.1", "203.0.113.9", "100.64.0.1", "2001:db8::1"] {
            assert!(!contain("private", address), "{address}");
        }
    }

    #[test]
    fn a_household_is_a_64_of_ipv6_and_an_address_of_ipv4() {
        let household = |text: &str| household(text.parse().unwrap()).to_string();
        assert_eq!(household("2001:db8::1"), household("2001:db8::ffff:2"));
        assert_ne!(household("2001:db8::1"), household("2001:db8:0:1::1"));
        assert_eq!(household("::ffff:192.0.2.1"), "192.0.2.1");
        assert_ne!(household("192.0.2.1"), household("192.0.2.2"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-f.:/, ]{0,40}|\\PC*") {
            let _ = Networks::parse(&text);
        }
    }
}
