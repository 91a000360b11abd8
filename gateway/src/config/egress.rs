//! `[egress]`: how the gateway itself reaches the world, for the keys that lie at URLs.

use ipnet::IpNet;

use super::{addresses::blocks, read::Section, secret::Secrets, server::set};
use crate::egress::Trust;

/// How the gateway itself reaches the world.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EgressConfig {
    /// Authorities beside those that browsers trust, in PEM.
    pub roots: Option<String>,
    /// Addresses that may be connected to though they are not public.
    pub allow: Vec<IpNet>,
}

impl EgressConfig {
    pub(super) fn read(section: Option<Section<'_, '_>>, files: &Secrets<'_>) -> Self {
        let mut config = Self::default();
        let Some(section) = section else { return config };
        if let Some(node) = section.get("roots") {
            let pem = files.file(&node);
            if let Some(Err(fault)) = pem.as_deref().map(|pem| Trust::new(Some(pem))) {
                node.fault(format_args!("expected a file of certificates in PEM: {fault}"));
            }
            config.roots = pem;
        }
        set(&mut config.allow, section.get("allow").map(|node| blocks(&node)));
        section.finish();
        config
    }
}
