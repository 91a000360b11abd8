//! `[server.tls]`, `[admin.tls]`, and what a source says of its senders' certificates, and the latter of operators'.

use super::{
    read::{Node, Section},
    secret::Secrets,
};
use crate::serve::{
    CertificateDer, ClientAuthority, ServerNameText, Tls, TlsFault, TlsFiles, own_certificate,
};

/// Each handshake looks through them.
const CERTIFICATES_MAX: usize = 100;

/// `cert` and `key`, and more of both in `certs`.
pub(super) fn read(section: &Section<'_, '_>, files: &Secrets<'_>) -> Option<Tls> {
    let mut pairs = vec![Pair::read(section, files)];
    let more = section.get("certs").and_then(|node| node.items()).unwrap_or_default();
    section.finish();
    if more.len() >= CERTIFICATES_MAX {
        section.fault(format_args!("at most {CERTIFICATES_MAX} certificates"));
    }
    for node in more {
        let section = node.section();
        pairs.push(section.as_ref().and_then(|section| Pair::read(section, files)));
        section.iter().for_each(Section::finish);
    }
    let pairs: Vec<_> = pairs.into_iter().collect::<Option<_>>()?;
    let texts: Vec<_> = pairs.iter().map(|pair: &Pair<'_, '_>| pair.files.clone()).collect();
    let tls = Tls::new(&texts).map_err(|(at, fault)| pairs[at].fault(&fault));
    tls.ok()
}

/// The certificates of the same, without their keys and those of their issuers.
pub(super) fn read_certificates(
    section: &Section<'_, '_>,
    files: &Secrets<'_>,
) -> Vec<CertificateDer<'static>> {
    let more = section.get("certs").and_then(|node| node.items()).unwrap_or_default();
    let more = more.iter().filter_map(|node| node.section()?.get("cert"));
    let nodes = section.get("cert").into_iter().chain(more);
    let own = |node: Node<'_, '_>| {
        own_certificate(&files.file(&node)?).map_err(|fault| node.fault(fault)).ok()
    };
    nodes.filter_map(own).collect()
}

/// A certificate's file and its key's.
struct Pair<'t, 'a> {
    files: TlsFiles,
    certificate: Node<'t, 'a>,
    key: Node<'t, 'a>,
}

impl<'t, 'a> Pair<'t, 'a> {
    fn read(section: &Section<'t, 'a>, files: &Secrets<'_>) -> Option<Self> {
        let (Some(certificate), Some(key)) = (section.get("cert"), section.get("key")) else {
            section.fault("needs both: cert = \"cert.pem\" and key = \"key.pem\"");
            return None;
        };
        // Both are read, so that a fault of one does not hide the other's.
        let texts = (files.file(&certificate), files.file(&key));
        let files = TlsFiles { certificate: texts.0?, key: texts.1? };
        Some(Self { files, certificate, key })
    }

    fn fault(&self, fault: &TlsFault) {
        let node = match fault {
            TlsFault::Certificate(_) => &self.certificate,
            TlsFault::Key(_) | TlsFault::Apart => &self.key,
        };
        node.fault(fault);
    }
}

/// `client_ca` and `client_names`, of a source or of `[admin.tls]`.
pub(super) fn read_client_ca(
    section: &Section<'_, '_>,
    files: &Secrets<'_>,
) -> Option<ClientAuthority> {
    let names = section.get("client_names");
    let Some(node) = section.get("client_ca") else {
        names.iter().for_each(|node| node.fault("says nothing without `client_ca`"));
        return None;
    };
    if names.as_ref().is_some_and(|node| node.items().is_some_and(|items| items.is_empty())) {
        node.fault("client_names: name at least one, or leave it out");
    }
    let names = names.and_then(|node| node.items()).unwrap_or_default();
    let names: Vec<ServerNameText> =
        names.iter().filter_map(|name| name.parsed(str::parse)).collect();
    let authority = ClientAuthority::new(&files.file(&node)?, &names);
    let fault = |fault| node.fault(format_args!("expected a file of certificates in PEM: {fault}"));
    authority.map_err(fault).ok()
}
