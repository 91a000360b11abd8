//! A set of address blocks, asked about with every request. Providers publish thousands, so it is kept sorted
//! and without overlaps: one search by halves, whatever its size.

use std::{net::IpAddr, sync::Arc};

use ipnet::{IpNet, Ipv4Net};

/// A set of IPv4 and IPv6 blocks. Clones are the same one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Arc<[IpNet]>);

impl Networks {
    /// The set of these. They may overlap. Blocks of mapped addresses (`::ffff:192.0.2.0/120`) are those of IPv4.
    pub fn new(blocks: impl IntoIterator<Item = IpNet>) -> Self {
        let blocks: Vec<_> = blocks.into_iter().map(canonical).collect();
        let mut blocks = IpNet::aggregate(&blocks);
        blocks.sort_unstable_by_key(IpNet::network);
        Self(blocks.into())
    }

    /// Whether an address, mapped or not, is in one of the blocks.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        // They don't overlap: only the last that begins at or before the address can hold it.
        let after = self.0.partition_point(|block| block.network() <= address);
        after.checked_sub(1).is_some_and(|at| self.0[at].contains(&address))
    }

    /// Whether there are no blocks.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An IPv4 block also where it is written as one of mapped IPv6 addresses (RFC 4291, section 2.5.5.2).
fn canonical(block: IpNet) -> IpNet {
    let IpNet::V6(mapped) = block else { return block };
    let v4 = mapped.network().to_ipv4_mapped();
    let length = mapped.prefix_len().checked_sub(96);
    let v4 = v4.zip(length).and_then(|(network, length)| Ipv4Net::new(network, length).ok());
    v4.map_or(block, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn set(blocks: &[&str]) -> Networks {
        Networks::new(blocks.iter().map(|block| block.parse().unwrap()))
    }

    #[test]
    fn a_block_holds_its_addresses_however_they_are_written() {
        let set = set(&["192.0.2.7/24", "2001:db8::/32", "::ffff:198.51.100.0/120"]);
        let held = |text: &str| set.contains(text.parse().unwrap());
        for inside in [
            "192.0.2.0",
            "192.0.2.255",
            "::ffff:192.0.2.1",
            "2001:db8:ffff::1",
            "198.51.100.9",
            "::ffff:198.51.100.9",
        ] {
            assert!(held(inside), "{inside}");
        }
        for outside in ["192.0.1.255", "192.0.3.0", "2001:db9::", "::1", "0.0.0.0", "198.51.101.0"]
        {
            assert!(!held(outside), "{outside}");
        }
        assert!(!Networks::default().contains(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn thousands_of_blocks_are_searched_by_halves() {
        let odd = |n: u32| IpNet::new(Ipv4Addr::from_bits(n << 9 | 1 << 8).into(), 24).unwrap();
        let set = Networks::new((0..100_000).map(odd));
        assert_eq!(set.0.len(), 100_000);
        let begun = std::time::Instant::now();
        let addresses = (0..200_000_u32).map(|n| IpAddr::V4(Ipv4Addr::from_bits(n << 8 | 7)));
        let held = addresses.filter(|address| set.contains(*address)).count();
        println!("one address among 100,000 blocks: {:?}", begun.elapsed() / 200_000);
        assert_eq!(held, 100_000);
    }

    fn block() -> impl Strategy<Value = IpNet> {
        let v4 = (any::<u32>(), 0..=32_u8)
            .prop_map(|(bits, length)| IpNet::new(Ipv4Addr::from_bits(bits).into(), length));
        let v6 = (any::<u128>(), 0..=128_u8)
            .prop_map(|(bits, length)| IpNet::new(Ipv6Addr::from_bits(bits).into(), length));
        prop_oneof![v4, v6].prop_map(Result::unwrap)
    }

    proptest! {
        #[test]
        fn it_is_as_one_block_after_another(
            blocks in prop::collection::vec(block(), 0..40),
            others in prop::collection::vec(any::<u32>(), 0..20),
        ) {
            let set = Networks::new(blocks.iter().copied());
            let edges = blocks.iter().flat_map(|block| [block.network(), block.broadcast()]);
            let others = others.iter().map(|bits| IpAddr::V4(Ipv4Addr::from_bits(*bits)));
            for address in edges.chain(others) {
                let address = address.to_canonical();
                let held = blocks.iter().map(|block| canonical(*block)).any(|block| block.contains(&address));
                prop_assert_eq!(set.contains(address), held, "{}", address);
            }
        }
    }
}
