//! The trace that an event is part of: W3C Trace Context, level 1, section 3.2. It comes with the
//! sender's request, is the event's attribute `traceparent`, and goes on to what a plugin makes and sends.

/// The attribute's name, which is the header's.
const NAME: &str = "traceparent";

/// The attribute for a request with these headers, if they name a trace as it should be named.
pub(crate) fn parent(headers: &[(String, Vec<u8>)]) -> Option<(String, String)> {
    let (_, value) = headers.iter().find(|(name, _)| name == NAME)?;
    let text = str::from_utf8(value).ok().filter(|text| is_parent(text))?;
    Some((NAME.to_owned(), text.to_owned()))
}

/// Lets what was made of an event be part of the event's trace, unless it says otherwise.
pub(crate) fn follow(made: &mut Vec<(String, String)>, event: &[(String, String)]) {
    let named =
        |attributes: &[(String, String)]| attributes.iter().find(|(name, _)| name == NAME).cloned();
    if named(made).is_none() {
        made.extend(named(event));
    }
}

/// Version, trace, parent and flags, in lower-case hex; the middle two are not zero.
fn is_parent(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let some = |part: &str| part.bytes().any(|b| b != b'0');
    match parts[..] {
        [version, trace, parent, flags] => {
            hex(version, 2)
                && version != "ff"
                && hex(trace, 32)
                && some(trace)
                && hex(parent, 16)
                && some(parent)
                && hex(flags, 2)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(value: &str) -> Option<String> {
        parent(&[(NAME.to_owned(), value.as_bytes().to_vec())]).map(|(_, value)| value)
    }

    #[test]
    fn only_what_is_a_trace_is_taken() {
        assert_eq!(of(GOOD).as_deref(), Some(GOOD));
        assert_eq!(parent(&[]), None);
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &GOOD.replace("00-4", "ff-4"),
            &format!("{GOOD}-more"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_made_follows_unless_it_says_otherwise() {
        let event = vec![(NAME.to_owned(), GOOD.to_owned())];
        let mut made = vec![];
        follow(&mut made, &event);
        assert_eq!(made, event);
        let own = vec![(NAME.to_owned(), "mine".to_owned())];
        let mut made = own.clone();
        follow(&mut made, &event);
        assert_eq!(made, own);
    }
}
