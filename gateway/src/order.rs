//! `order_by`: which events of a plugin have to be handled one after another.

use std::{borrow::Cow, fmt, str::FromStr};

use hookweir_event::{Event, OrderKey};
use hookweir_verify::Pointer;

/// Where an event's order key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderBy {
    /// In the JSON of its body.
    Pointer(Pointer),
    /// In the first header of this name, which is in lower case.
    Header(String),
}

/// What happens to the rest of a key when a delivery has used up its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDead {
    /// It waits until the operator has the dead one retried or skipped.
    #[default]
    Block,
    /// It goes on.
    Continue,
}

impl OrderBy {
    /// The event's key. One that has none, or an empty one, waits for no other.
    pub fn key(&self, event: &Event) -> Option<OrderKey> {
        let key = match self {
            Self::Pointer(pointer) => pointer.text_in(&event.body),
            Self::Header(name) => {
                let mut headers = event.headers.iter();
                let (_, value) = headers.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
                Some(String::from_utf8_lossy(value))
            }
        };
        key.filter(|key| !key.is_empty()).as_deref().map(OrderKey::new)
    }
}

impl fmt::Display for OrderBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer(pointer) => pointer.fmt(f),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

impl FromStr for OrderBy {
    type Err = Cow<'static, str>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("header:") {
            Some("") => Err("names no header".into()),
            Some(name) => Ok(Self::Header(name.to_ascii_lowercase())),
            None if text.starts_with('/') => text.parse().map(Self::Pointer).map_err(Cow::Owned),
            None => Err(r#"expected a JSON pointer such as "/data/object/customer", or a header such as "header:x-customer""#.into()),
        }
    }
}

impl FromStr for OnDead {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "block" => Ok(Self::Block),
            "continue" => Ok(Self::Continue),
            _ => Err(r#"expected "block" or "continue""#),
        }
    }
}

#[cfg(test)]
mod tests {
    use hookweir_event::{EventId, Hops, Origin, Timestamp};

    use super::*;

    fn key(order_by: &str, body: &str) -> Option<String> {
        let event = Event {
            id: EventId::from_bytes([0; 16]),
            origin: Origin::Gateway,
            event_type: "test".parse().unwrap(),
            received_at: Timestamp::default(),
            method: String::new(),
            path: String::new(),
            query: None,
            headers: vec![("X-Shop".into(), b"7".to_vec()), ("x-empty".into(), Vec::new())],
            body: body.into(),
            attributes: Vec::new(),
            hops: Hops::default(),
        };
        order_by.parse::<OrderBy>().unwrap().key(&event).map(|key| key.to_string())
    }

    #[test]
    fn a_key_is_a_scalar_of_the_body_or_a_header() {
        let body = r#"{"data":{"customer":"cus_1","n":12,"none":null,"empty":""}}"#;
        assert_eq!(key("/data/customer", body).as_deref(), Some("cus_1"));
        assert_eq!(key("/data/n", body).as_deref(), Some("12"));
        assert_eq!(key("header:x-shop", body).as_deref(), Some("7"));
        for none in
            ["/data", "/data/none", "/data/empty", "/nothing", "header:x-empty", "header:x-no"]
        {
            assert_eq!(key(none, body), None, "{none}");
        }
        assert_eq!(key("/data", "no JSON"), None);
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in ["", "data.customer", "header:", "body:/data"] {
            assert!(bad.parse::<OrderBy>().is_err(), "{bad}");
        }
    }
}
