//! Lists of addresses: blocks that are written out, and those of files that providers publish. Such a file is
//! followed like the config's own.

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use serde_json::Value as Json;

use super::{
    read::{Node, Section},
    secret::Secrets,
};
use crate::networks::Networks;

/// Blocks that one list may have.
const BLOCKS_MAX: usize = 200_000;

/// A list of address blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressList {
    /// What is in it.
    pub networks: Networks,
    /// Those that are written out.
    pub written: Vec<IpNet>,
    /// Where the others come from.
    pub files: Vec<AddressFile>,
}

/// A file of address blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressFile {
    /// The file.
    pub path: PathBuf,
    /// Where in its JSON the list is (RFC 6901); none: a block on each line.
    pub pointer: Option<String>,
    /// How many blocks it has.
    pub blocks: usize,
}

/// Who may come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// These alone; empty: all.
    pub allow: AddressList,
    /// Not these, whatever `allow` says.
    pub deny: AddressList,
}

impl AddressList {
    /// Whether the list has this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks.contains(address)
    }

    /// The list at this key; without one it is empty.
    pub(super) fn read(section: &Section<'_, '_>, key: &'static str, files: &Secrets<'_>) -> Self {
        section.get(key).map(|node| Self::of(&node, files)).unwrap_or_default()
    }

    /// Blocks, `{ file = ".." }`, or a list of both.
    fn of(node: &Node<'_, '_>, files: &Secrets<'_>) -> Self {
        let items = if node.is_table() { Some(vec![node.clone()]) } else { node.items() };
        let (mut list, mut all) = (Self::default(), Vec::new());
        for item in items.unwrap_or_default() {
            if item.is_table() {
                let Some((file, blocks)) = read_file(&item, files) else { continue };
                list.files.push(file);
                all.extend(blocks);
            } else {
                list.written.extend(item.parsed(block));
            }
        }
        all.extend(&list.written);
        if all.len() > BLOCKS_MAX {
            node.fault(format_args!("{} blocks; at most {BLOCKS_MAX}", all.len()));
        }
        list.networks = Networks::new(all);
        list
    }
}

impl Addresses {
    pub(super) fn read(section: &Section<'_, '_>, files: &Secrets<'_>) -> Self {
        let list = |key| AddressList::read(section, key, files);
        Self { allow: list("allow"), deny: list("deny") }
    }

    /// Whether this address may come.
    pub fn admit(&self, address: IpAddr) -> bool {
        let allowed = self.allow.networks.is_empty() || self.allow.contains(address);
        allowed && !self.deny.contains(address)
    }

    /// Whether there is nothing in them: anybody may come.
    pub fn are_empty(&self) -> bool {
        self.allow.networks.is_empty() && self.deny.networks.is_empty()
    }
}

/// A list of CIDR blocks or single addresses.
pub(super) fn blocks(node: &Node<'_, '_>) -> Vec<IpNet> {
    node.items().unwrap_or_default().iter().filter_map(|item| item.parsed(block)).collect()
}

fn block(text: &str) -> Result<IpNet, &'static str> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "expected an address block such as \"10.0.0.0/8\"")
}

/// What `{ file = "..", pointer = ".." }` names. One without blocks is a fault: nobody could come, or anybody.
fn read_file(node: &Node<'_, '_>, files: &Secrets<'_>) -> Option<(AddressFile, Vec<IpNet>)> {
    let section = node.section()?;
    let file = section.get("file");
    if file.is_none() {
        section
            .fault("a file of addresses is { file = \"path\" }, of JSON with pointer = \"/hooks\"");
    }
    let pointer = section.get("pointer").map(|node| node.text().map(str::to_owned));
    section.finish();
    let (file, pointer) = (file?, pointer.map_or(Some(None), |text| text.map(Some))?);
    let path = files.path(file.text()?);
    let text = files.file(&file)?;
    let read = match &pointer {
        Some(pointer) => from_json(&text, pointer),
        None => from_lines(&text),
    };
    let blocks =
        read.map_err(|fault| file.fault(format_args!("{}: {fault}", path.display()))).ok()?;
    let file = AddressFile { path, pointer, blocks: blocks.len() };
    Some((file, blocks))
}

/// A block on each line; what follows a `#` is for people.
fn from_lines(text: &str) -> Result<Vec<IpNet>, String> {
    let mut blocks = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            let number = number + 1;
            blocks.push(block(line).map_err(|fault| format!("line {number}: {fault}"))?);
        }
    }
    some(blocks)
}

fn from_json(text: &str, pointer: &str) -> Result<Vec<IpNet>, String> {
    let json: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let list = json.pointer(pointer).and_then(Json::as_array);
    let list = list.ok_or_else(|| format!("there is no list at {pointer}"))?;
    let blocks = list.iter().enumerate().map(|(at, item)| {
        let text = item.as_str().ok_or("expected a string");
        text.and_then(block).map_err(|fault| format!("{pointer}/{at}: {fault}"))
    });
    some(blocks.collect::<Result<_, _>>()?)
}

fn some(blocks: Vec<IpNet>) -> Result<Vec<IpNet>, String> {
    if blocks.is_empty() { Err("it has no address blocks".to_owned()) } else { Ok(blocks) }
}
