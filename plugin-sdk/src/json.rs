//! JSON into a plugin's own types and back, by serde_json, with errors in the SDK's own words.
//!
//! serde_json's own errors print the value that did not fit, which an operator must not see, and which brings
//! all that prints floats into every plugin: half of a small one. So whatever is read is read through the types
//! below. They pass on what they are given, and a type that it does not fit is told of a [`Fault`]. The parser
//! is told that nothing was made of it, and no error of its own is ever made but for what is no JSON. Where
//! something did not fit is told by the field that was read last: the parser does not say where it stands, and
//! to have it make an error for that took 11 of a small plugin's 80 KB.

mod said;

use std::{fmt, mem::size_of};

use serde::Serialize;
use serde::de::{
    self, Deserialize as _, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IgnoredAny,
    IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::{MapAccessDeserializer, StrDeserializer},
};

use self::said::{Place, Said, malformed};
use crate::{
    Failure,
    malformed::{Fault, Why},
};

/// With serde_json's feature `arbitrary_precision`, which any crate of the plugin may switch on, a number is
/// a map for all who do not ask for a number. Nothing tells but that it is kept as text.
const NUMBERS_ARE_MAPS: bool = size_of::<serde_json::Number>() == size_of::<String>();

/// Reads `what` it is from JSON.
///
/// # Errors
/// A reject that says what did not fit and where, never what the JSON holds.
pub(crate) fn read<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, Failure> {
    let said = Said::default();
    let mut parser = serde_json::Deserializer::from_slice(json);
    let place = |error: &serde_json::Error| {
        Some(Place { word: "at", line: error.line(), column: error.column() })
    };
    match T::deserialize(Source::<_, false> { inner: &mut parser, said: &said }) {
        Ok(value) => match parser.end() {
            Ok(()) => Ok(value),
            Err(error) => Err(malformed(what, None, Some(&error), place(&error))),
        },
        Err(Fault::Parser(error)) => {
            let why = said.why.take();
            // The parser stopped where it was told that there is no value, and takes that for its own fault.
            let field = why.is_some().then(|| said.place_in(json)).flatten();
            Err(malformed(what, why.as_ref(), Some(&error), field.or_else(|| place(&error))))
        }
        Err(Fault::Said(why)) => {
            // Where the parser stands, it says only of what is no JSON. After a value comes none.
            let end = || place(&IgnoredAny::deserialize(&mut parser).err()?);
            Err(malformed(what, Some(&why), None, said.place_in(json).or_else(end)))
        }
    }
}

/// Reads `what` it is from a value.
///
/// # Errors
/// A reject that says what did not fit, never what the value holds.
pub(crate) fn read_value<T: DeserializeOwned>(
    what: &str,
    value: serde_json::Value,
) -> Result<T, Failure> {
    let said = Said::default();
    T::deserialize(Source::<_, false> { inner: value, said: &said }).map_err(|fault| match fault {
        Fault::Said(why) => malformed(what, Some(&why), None, None),
        Fault::Parser(error) => malformed(what, said.why.take().as_ref(), Some(&error), None),
    })
}

/// Writes a value as JSON.
///
/// # Errors
/// A reject if it can't be: a map with keys that are no text, or its type says so.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Failure> {
    let written = serde_json::to_vec(value);
    written.map_err(|_| Failure::reject("a value that is to be JSON can't be: are its keys text?"))
}

/// What is read from: the parser, a value, or the key of a map (`KEY`), where numbers stand in quotes.
struct Source<'s, D, const KEY: bool> {
    inner: D,
    said: &'s Said,
}

/// Whoever is read for.
struct Reader<'s, V, const KEY: bool> {
    inner: V,
    said: &'s Said,
}

/// What a list or a map is read from.
struct Parts<'s, A> {
    inner: A,
    said: &'s Said,
}

/// Passes a request on as it is.
macro_rules! ask {
    ($($method:ident($($name:ident: $type:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let reader = Reader::<_, KEY> { inner: visitor, said: self.said };
            self.said.tell(self.inner.$method($($name,)* reader))
        })*
    };
}

/// Asks for anything, and takes what it is good for: a parser that is asked for something quotes what it finds
/// in its place.
macro_rules! take {
    ($($method:ident: $take:ident if $named:expr,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            if $named {
                let reader = Reader::<_, KEY> { inner: visitor, said: self.said };
                return self.said.tell(self.inner.$method(reader));
            }
            let found = self.inner.deserialize_any(Any).map_err(Fault::Parser)?;
            if KEY && let Found::Borrowed(field) = found {
                self.said.field.set(Some(field.as_ptr()));
            }
            found.$take(visitor)
        })*
    };
}

/// The same for a list and a map.
macro_rules! take_parts {
    ($($method:ident($($name:ident: $type:ty),*): $seq:literal, $map:literal,)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let reader = PartsReader::<_, $seq, $map> { inner: visitor, said: self.said };
            $(let _ = $name;)*
            // A number that is a map must not be taken for one. A struct is a list or a map.
            if NUMBERS_ARE_MAPS && $map {
                return self.said.tell(self.inner.deserialize_struct("", &[], reader));
            }
            self.said.tell(self.inner.deserialize_any(reader))
        })*
    };
}

impl<'de, D: Deserializer<'de>, const KEY: bool> Deserializer<'de> for Source<'_, D, KEY> {
    type Error = Fault<D::Error>;

    ask! {
        deserialize_any()
        deserialize_option()
        deserialize_newtype_struct(name: &'static str)
        deserialize_ignored_any()
        // These quote. Strings that are no Unicode and whole numbers of that size come by no other way.
        deserialize_bytes()
        deserialize_byte_buf()
        deserialize_i128()
        deserialize_u128()
    }

    take! {
        deserialize_bool: truth if KEY,
        deserialize_i8: number if KEY || NUMBERS_ARE_MAPS,
        deserialize_i16: number if KEY || NUMBERS_ARE_MAPS,
        deserialize_i32: number if KEY || NUMBERS_ARE_MAPS,
        deserialize_i64: number if KEY || NUMBERS_ARE_MAPS,
        deserialize_u8: number if KEY || NUMBERS_ARE_MAPS,
        deserialize_u16: number if KEY || NUMBERS_ARE_MAPS,
        deserialize_u32: number if KEY || NUMBERS_ARE_MAPS,
        deserialize_u64: number if KEY || NUMBERS_ARE_MAPS,
        deserialize_f32: number if KEY || NUMBERS_ARE_MAPS,
        deserialize_f64: number if KEY || NUMBERS_ARE_MAPS,
        deserialize_char: text if false,
        deserialize_str: text if false,
        deserialize_string: text if false,
        deserialize_identifier: text if false,
        deserialize_unit: nothing if false,
    }

    take_parts! {
        deserialize_seq(): true, false,
        deserialize_tuple(len: usize): true, false,
        deserialize_tuple_struct(name: &'static str, len: usize): true, false,
        // A list as well: a variant's fields come this way, and may be one.
        deserialize_map(): true, true,
        deserialize_struct(name: &'static str, fields: &'static [&'static str]): true, true,
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let reader = EnumReader { inner: visitor, said: self.said };
        self.said.tell(self.inner.deserialize_any(reader))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.deserialize_unit(visitor)
    }
}

/// What was found.
enum Found<'de> {
    Truth(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Borrowed(&'de str),
    Text(String),
    Nothing,
    List,
    Map,
}

/// Reads anything, a list or a map to its end and no more of it. It is the same for all who read.
struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, found: bool) -> Result<Found<'de>, E> {
        Ok(Found::Truth(found))
    }

    fn visit_i64<E>(self, found: i64) -> Result<Found<'de>, E> {
        Ok(Found::Signed(found))
    }

    fn visit_u64<E>(self, found: u64) -> Result<Found<'de>, E> {
        Ok(Found::Unsigned(found))
    }

    fn visit_f64<E>(self, found: f64) -> Result<Found<'de>, E> {
        Ok(Found::Float(found))
    }

    fn visit_str<E>(self, found: &str) -> Result<Found<'de>, E> {
        Ok(Found::Text(found.to_owned()))
    }

    fn visit_borrowed_str<E>(self, found: &'de str) -> Result<Found<'de>, E> {
        Ok(Found::Borrowed(found))
    }

    fn visit_string<E>(self, found: String) -> Result<Found<'de>, E> {
        Ok(Found::Text(found))
    }

    fn visit_unit<E>(self) -> Result<Found<'de>, E> {
        Ok(Found::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, found: A) -> Result<Found<'de>, A::Error> {
        IgnoredAny.visit_seq(found).map(|_| Found::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, found: A) -> Result<Found<'de>, A::Error> {
        IgnoredAny.visit_map(found).map(|_| Found::Map)
    }
}

impl<'de> Found<'de> {
    fn truth<V: Visitor<'de>, E: de::Error>(self, visitor: V) -> Result<V::Value, Fault<E>> {
        match self {
            Self::Truth(found) => visitor.visit_bool(found),
            other => Err(Fault::Said(other.unfit(&visitor))),
        }
    }

    fn number<V: Visitor<'de>, E: de::Error>(self, visitor: V) -> Result<V::Value, Fault<E>> {
        match self {
            Self::Signed(found) => visitor.visit_i64(found),
            Self::Unsigned(found) => visitor.visit_u64(found),
            Self::Float(found) => visitor.visit_f64(found),
            other => Err(Fault::Said(other.unfit(&visitor))),
        }
    }

    fn text<V: Visitor<'de>, E: de::Error>(self, visitor: V) -> Result<V::Value, Fault<E>> {
        match self {
            Self::Borrowed(found) => visitor.visit_borrowed_str(found),
            Self::Text(found) => visitor.visit_string(found),
            other => Err(Fault::Said(other.unfit(&visitor))),
        }
    }

    fn nothing<V: Visitor<'de>, E: de::Error>(self, visitor: V) -> Result<V::Value, Fault<E>> {
        match self {
            Self::Nothing => visitor.visit_unit(),
            other => Err(Fault::Said(other.unfit(&visitor))),
        }
    }

    #[cold]
    #[inline(never)]
    fn unfit(&self, expected: &dyn Expected) -> Why {
        let found = match self {
            Self::Truth(_) => "boolean",
            Self::Signed(_) | Self::Unsigned(_) => "integer",
            Self::Float(_) => "floating point",
            Self::Borrowed(_) | Self::Text(_) => "string",
            Self::Nothing => "null",
            Self::List => "sequence",
            Self::Map => "map",
        };
        Why::said(&["invalid type: ", found], Some(expected))
    }
}

/// Refuses what is neither text, list nor map.
macro_rules! unfit {
    () => {
        fn visit_bool<E: de::Error>(self, found: bool) -> Result<Self::Value, E> {
            self.unfit(&Found::Truth(found))
        }

        fn visit_i64<E: de::Error>(self, found: i64) -> Result<Self::Value, E> {
            self.unfit(&Found::Signed(found))
        }

        fn visit_u64<E: de::Error>(self, found: u64) -> Result<Self::Value, E> {
            self.unfit(&Found::Unsigned(found))
        }

        fn visit_f64<E: de::Error>(self, found: f64) -> Result<Self::Value, E> {
            self.unfit(&Found::Float(found))
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            self.unfit(&Found::Nothing)
        }
    };
}

/// Whoever is read for, and takes a list (`SEQ`) or a map (`MAP`).
struct PartsReader<'s, V, const SEQ: bool, const MAP: bool> {
    inner: V,
    said: &'s Said,
}

impl<'de, V: Visitor<'de>, const SEQ: bool, const MAP: bool> PartsReader<'_, V, SEQ, MAP> {
    #[inline(never)]
    fn unfit<E>(&self, found: &Found<'_>) -> Result<Option<V::Value>, E> {
        self.said.why.set(Some(found.unfit(&self.inner)));
        Ok(None)
    }
}

impl<'de, V: Visitor<'de>, const SEQ: bool, const MAP: bool> Visitor<'de>
    for PartsReader<'_, V, SEQ, MAP>
{
    type Value = Option<V::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    unfit! {}

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        self.unfit(&Found::Borrowed(""))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, found: A) -> Result<Self::Value, A::Error> {
        match SEQ {
            true => self.said.keep(self.inner.visit_seq(Parts { inner: found, said: self.said })),
            false => self.unfit(&Found::List),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, found: A) -> Result<Self::Value, A::Error> {
        match MAP {
            true => self.said.keep(self.inner.visit_map(Parts { inner: found, said: self.said })),
            false => self.unfit(&Found::Map),
        }
    }
}

/// Whoever is read for, and takes a variant: its name, or a map from its name to what it holds.
struct EnumReader<'s, V> {
    inner: V,
    said: &'s Said,
}

impl<'de, V: Visitor<'de>> EnumReader<'_, V> {
    #[inline(never)]
    fn unfit<E>(&self, found: &Found<'_>) -> Result<Option<V::Value>, E> {
        self.said.why.set(Some(found.unfit(&self.inner)));
        Ok(None)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for EnumReader<'_, V> {
    type Value = Option<V::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    unfit! {}

    fn visit_str<E: de::Error>(self, found: &str) -> Result<Self::Value, E> {
        let name: StrDeserializer<'_, Fault<E>> = found.into_deserializer();
        self.said.keep(self.inner.visit_enum(name))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        self.unfit(&Found::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, found: A) -> Result<Self::Value, A::Error> {
        let variant = MapAccessDeserializer::new(Parts { inner: found, said: self.said });
        self.said.keep(self.inner.visit_enum(variant))
    }
}

/// Hands on what was found.
macro_rules! hand_on {
    ($($method:ident($($name:ident: $type:ty)?))*) => {
        $(fn $method<E: de::Error>(self, $($name: $type)?) -> Result<Self::Value, E> {
            self.said.keep(self.inner.$method($($name)?))
        })*
    };
}

impl<'de, V: Visitor<'de>, const KEY: bool> Visitor<'de> for Reader<'_, V, KEY> {
    type Value = Option<V::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    hand_on! {
        visit_bool(found: bool)
        visit_i64(found: i64)
        visit_i128(found: i128)
        visit_u64(found: u64)
        visit_u128(found: u128)
        visit_f64(found: f64)
        visit_str(found: &str)
        visit_borrowed_str(found: &'de str)
        visit_string(found: String)
        visit_bytes(found: &[u8])
        visit_borrowed_bytes(found: &'de [u8])
        visit_byte_buf(found: Vec<u8>)
        visit_none()
        visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, found: D) -> Result<Self::Value, D::Error> {
        let source = Source::<_, KEY> { inner: found, said: self.said };
        self.said.keep(self.inner.visit_some(source))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, found: D) -> Result<Self::Value, D::Error> {
        let source = Source::<_, KEY> { inner: found, said: self.said };
        self.said.keep(self.inner.visit_newtype_struct(source))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, found: A) -> Result<Self::Value, A::Error> {
        self.said.keep(self.inner.visit_seq(Parts { inner: found, said: self.said }))
    }

    fn visit_map<A: MapAccess<'de>>(self, found: A) -> Result<Self::Value, A::Error> {
        self.said.keep(self.inner.visit_map(Parts { inner: found, said: self.said }))
    }
}

impl<'de, T: DeserializeSeed<'de>, const KEY: bool> DeserializeSeed<'de> for Reader<'_, T, KEY> {
    type Value = Option<T::Value>;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        let source = Source::<_, KEY> { inner, said: self.said };
        self.said.keep(self.inner.deserialize(source))
    }
}

impl<'s, A> Parts<'s, A> {
    fn reader<T>(&self, inner: T) -> Reader<'s, T, false> {
        Reader { inner, said: self.said }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Parts<'_, A> {
    type Error = Fault<A::Error>;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        let reader = self.reader(seed);
        let element = self.inner.next_element_seed(reader).map_err(Fault::Parser)?;
        element.map(|element| self.said.tell(Ok(element))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Parts<'_, A> {
    type Error = Fault<A::Error>;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let reader = Reader::<_, true> { inner: seed, said: self.said };
        let key = self.inner.next_key_seed(reader).map_err(Fault::Parser)?;
        key.map(|key| self.said.tell(Ok(key))).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, Self::Error> {
        let reader = self.reader(seed);
        self.said.tell(self.inner.next_value_seed(reader))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
