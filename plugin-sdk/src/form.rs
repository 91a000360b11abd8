//! `application/x-www-form-urlencoded` into a type: the pairs as a map whose values are text and
//! read as numbers, booleans or unit variants where the type asks for one.

use std::{borrow::Cow, convert::Infallible};

use serde::de::value::MapDeserializer;
use serde::de::{Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde::{de::DeserializeOwned, forward_to_deserialize_any};

use crate::{Failure, malformed::Fault};

/// Reads a body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let pairs = form_urlencoded::parse(body).map(|(name, value)| (name, Value(value)));
    T::deserialize(MapDeserializer::new(pairs))
        .map_err(|fault: Error| Failure::reject(format!("malformed form: {fault}")))
}

/// There is no parser here that could say something.
type Error = Fault<Infallible>;

/// One value of a form.
struct Value<'a>(Cow<'a, str>);

impl<'de> IntoDeserializer<'de, Error> for Value<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! read_from_text {
    ($($method:ident => $visit:ident: $type:ty,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0.parse::<$type>() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(Error::invalid_value(Unexpected::Str(&self.0), &stringify!($type))),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.0.into_owned())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text: Cow<'_, str> = self.0;
        IntoDeserializer::<Error>::into_deserializer(text).deserialize_enum(name, variants, visitor)
    }

    read_from_text! {
        deserialize_bool => visit_bool: bool,
        deserialize_u8 => visit_u8: u8,
        deserialize_u16 => visit_u16: u16,
        deserialize_u32 => visit_u32: u32,
        deserialize_u64 => visit_u64: u64,
        deserialize_i8 => visit_i8: i8,
        deserialize_i16 => visit_i16: i16,
        deserialize_i32 => visit_i32: i32,
        deserialize_i64 => visit_i64: i64,
        deserialize_f32 => visit_f32: f32,
        deserialize_f64 => visit_f64: f64,
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Command {
        text: String,
        count: u32,
        urgent: Option<bool>,
        missing: Option<String>,
        kind: Kind,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Deploy,
    }

    #[test]
    fn values_read_as_the_fields_ask() {
        let body = b"text=hello%2C+world&count=3&urgent=true&kind=deploy&extra=1";
        let command: Command = parse(body).expect("well formed");
        assert_eq!(
            command,
            Command {
                text: "hello, world".into(),
                count: 3,
                urgent: Some(true),
                missing: None,
                kind: Kind::Deploy
            }
        );
    }

    #[test]
    fn what_does_not_fit_is_rejected_without_being_quoted() {
        let said =
            |body: &[u8]| parse::<Command>(body).expect_err("malformed").message().to_owned();
        assert_eq!(said(b"text=x"), "malformed form: missing field `count`");
        assert_eq!(
            said(b"text=x&count=s3cret"),
            "malformed form: invalid value: string, expected u32"
        );
    }
}
