//! The tables' versions. Several gateways may start at once on a database that has none, or old ones: one brings it
//! up to date, the others wait for that.

use super::{Fault, Link, Moment, link::quoted};
use crate::{OpenError, ReadError};

/// Schema N is made by the first N of these. A released one never changes: add another.
const MIGRATIONS: [&str; 1] = [include_str!("schema-1.sql")];

/// The newest schema that this version knows.
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;
