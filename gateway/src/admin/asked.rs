//! What a request says, read into types: the places in its path, its parameters, its body. What can't be
//! read is refused in the one shape, with the name of the field.

use std::{fmt, str::FromStr};

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::request::Parts,
};
use bytes::Bytes;
use hookweir_event::Timestamp;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};

use super::{fault::Fault, routes::HasSecrets};

/// The largest body that is taken: a thousand ids and more.
pub(super) const BODY_MAX: usize = 256 << 10;
/// The most that a page of a list has.
pub(super) const PAGE_MAX: usize = 1000;

/// The names in a path.
pub(super) struct At<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let Path(names) = Path::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Fault::bad(format_args!("the path: {}", rejection.body_text())))?;
        Ok(Self(names))
    }
}

/// The parameters after the `?`. Those that a route's description does not name were refused before.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let query = parts.uri.query().unwrap_or_default();
        let query = serde_html_form::Deserializer::from_bytes(query.as_bytes());
        let params = serde_path_to_error::deserialize(query)
            .map_err(|error| Fault::bad(in_place("the parameters", &error)))?;
        Ok(Self(params))
    }
}

/// The body: a JSON object. Nothing is as good as an empty one.
pub(super) struct Order<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Order<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &S) -> Result<Self, Fault> {
        let (parts, body) = collect(request).await?;
        let body = body.trim_ascii();
        let body: &[u8] = if body.is_empty() { b"{}" } else { body };
        // Serde takes a list for an object as well.
        if body[0] != b'{' {
            return Err(Fault::bad("the body: expected a JSON object"));
        }
        let mut json = serde_json::Deserializer::from_slice(body);
        let order = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let has_secrets = parts.extensions.get::<HasSecrets>().is_some();
            Fault::bad(if has_secrets { unquoted(&error) } else { in_place("the body", &error) })
        })?;
        json.end().map_err(|error| Fault::bad(format_args!("the body: {error}")))?;
        Ok(Self(order))
    }
}

/// A request's head and all of its body, if that is not too large.
pub(super) async fn collect(request: Request) -> Result<(Parts, Bytes), Fault> {
    let (parts, body) = request.into_parts();
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => Ok((parts, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(Fault::too_large(BODY_MAX)),
        Err(error) => Err(Fault::bad(format_args!("the body: {error}"))),
    }
}

fn in_place<E: fmt::Display>(whole: &str, error: &serde_path_to_error::Error<E>) -> String {
    format!("{}: {}", place(whole, error), error.inner())
}

fn place<E>(whole: &str, error: &serde_path_to_error::Error<E>) -> String {
    match error.path().to_string() {
        // It ends before it says where.
        path if [".", "?"].contains(&&*path) => whole.to_owned(),
        path => path,
    }
}

/// The same of a body, without what it says: serde quotes that, and then says what it expected.
fn unquoted(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let said = error.inner().to_string();
    if !error.inner().is_data() || said.starts_with("missing field") {
        return in_place("the body", error);
    }
    let expected = said.rsplit_once("expected ").map_or("something else", |(_, expected)| expected);
    format!("{}: expected {expected}", place("the body", error))
}

/// A value that has a text of its own, such as an id.
#[derive(Debug, Clone)]
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A moment, in RFC 3339.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(pub(super) Timestamp);

impl FromStr for Moment {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at: jiff::Timestamp = text.parse()?;
        Ok(Self(Timestamp::from_millis(at.as_millisecond())))
    }
}

/// How long a page may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit<const DEFAULT: usize>(pub(super) usize);

impl<const DEFAULT: usize> Default for Limit<DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<'de, const DEFAULT: usize> Deserialize<'de> for Limit<DEFAULT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match usize::deserialize(deserializer)? {
            limit @ 1..=PAGE_MAX => Ok(Self(limit)),
            limit => Err(D::Error::custom(format_args!("{limit} is not between 1 and {PAGE_MAX}"))),
        }
    }
}
