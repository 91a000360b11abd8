//! What the commands on this machine need of a config to reach the gateway that has it: where operators are answered,
//! who that is, what lets them in, and where the store is.
//!
//! Nothing else is looked at. What the gateway may read, others may not: systemd gives its credentials to the unit
//! alone. And whoever is in the middle of an edit asks how the gateway stands all the same.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{
    ConfigError, Surroundings, load_by, parse_by,
    read::Section,
    secret::Secrets,
    server::{Token, address},
    store::Whereabouts,
    tls,
};
use crate::serve::CertificateDer;

/// How to reach a gateway of this machine.
#[derive(Debug)]
pub struct Contact {
    /// Where operators are answered.
    pub listen: SocketAddr,
    /// The certificates that are shown there, if TLS is spoken.
    pub tls: Option<Vec<CertificateDer<'static>>>,
    /// The token of the config; none where the gateway makes one, or none is asked for.
    pub token: Option<Token>,
    /// Whether no token is needed.
    pub insecure: bool,
    /// The store's file, if it is in one.
    pub store: Option<PathBuf>,
    /// The folder that holds everything the gateway writes.
    pub data_folder: PathBuf,
}

impl Contact {
    /// Reads it from the config at `path`. Its token is looked for only if it is `wanted`.
    ///
    /// # Errors
    /// If the file can't be read, or what is needed of it has faults.
    pub fn load(path: &Path, around: &Surroundings<'_>, wanted: bool) -> Result<Self, ConfigError> {
        load_by(path, around, |text, folder| {
            parse_by(text, |root| {
                let files = Secrets::new(folder, around);
                let store = Whereabouts::read(root.sub("store").as_ref(), &files);
                Self::read(root.sub("admin"), (&files, wanted), store)
            })
        })
    }

    fn read(
        section: Option<Section<'_, '_>>,
        (files, wanted): (&Secrets<'_>, bool),
        Whereabouts { file: store, data_folder }: Whereabouts,
    ) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081));
        let (tls, token, insecure) = (None, None, false);
        let mut contact = Self { listen, tls, token, insecure, store, data_folder };
        let Some(section) = section else { return contact };
        let listen = section.get("listen").and_then(|node| node.parsed(address));
        contact.listen = listen.unwrap_or(contact.listen);
        let tls = section.sub("tls");
        contact.tls = tls.map(|section| tls::read_certificates(&section, files));
        let token = section.get("token").filter(|_| wanted);
        contact.token = token.and_then(|node| Token::read(&node, files));
        contact.insecure = section.get("insecure").and_then(|node| node.flag()).unwrap_or_default();
        contact
    }
}
