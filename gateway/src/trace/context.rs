//! Where in which trace: W3C Trace Context, level 1, section 3.2, and whether a trace is recorded here. Pure.

/// The header's name, and that of the event's attribute.
pub(super) const NAME: &str = "traceparent";

/// A place in a trace: what is made from here on has it as its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    /// Whether who named it records the trace.
    pub(super) recorded: bool,
}

impl Context {
    /// Reads what a header or an attribute says. Later versions of the format begin as this one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('-').collect();
        let [version, trace, span, flags] = parts[..] else { return None };
        let (version, flags) = (hex::<1>(version)?, hex::<1>(flags)?);
        let (trace, span) = (hex::<16>(trace)?, hex::<8>(span)?);
        let is_some = trace != [0; 16] && span != [0; 8] && version != [0xff];
        is_some.then_some(Self { trace, span, recorded: flags[0] & 1 == 1 })
    }

    /// The place that these attributes name.
    pub(crate) fn of(attributes: &[(String, String)]) -> Option<Self> {
        let (_, text) = attributes.iter().find(|(name, _)| name == NAME)?;
        Self::parse(text)
    }

    /// The trace's id, as it is written.
    pub(crate) fn id(&self) -> String {
        digits(&self.trace)
    }

    /// As a header says it.
    pub(crate) fn text(&self) -> String {
        let flags = u8::from(self.recorded);
        format!("00-{}-{}-{flags:02x}", digits(&self.trace), digits(&self.span))
    }
}

/// The share of traces that are recorded. Of one trace everybody who has the same share decides the same, since
/// its id decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(u64);

impl Share {
    /// From 0, none, to 1, all.
    pub(crate) fn new(share: f64) -> Self {
        // 2^56 steps: as many bits of an id are random at least (level 2, section 5.1.1).
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of 0 to 2^56")]
        Self((share.clamp(0.0, 1.0) * 2_f64.powi(56)) as u64)
    }

    /// Whether a trace of this id is recorded.
    pub(super) fn has(self, trace: [u8; 16]) -> bool {
        let last = u64::from_be_bytes(trace[8..].try_into().unwrap_or_default());
        last & ((1 << 56) - 1) < self.0
    }
}

/// In lower-case hex.
fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly so many bytes of lower-case hex.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_of_the_ids_is_recorded() {
        let id = |last: u64| {
            let mut id = [0xab; 16];
            id[8..].copy_from_slice(&last.to_be_bytes());
            id
        };
        let (first, middle, last) = (id(0), id(1 << 55), id((1 << 56) - 1));
        let recorded = |share| [first, middle, last].map(|id| Share::new(share).has(id));
        assert_eq!(recorded(0.0), [false; 3]);
        assert_eq!(recorded(0.5), [true, false, false]);
        assert_eq!(recorded(0.51), [true, true, false]);
        assert_eq!(recorded(1.0), [true; 3]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(trace in 1_u128.., span in 1_u64.., recorded: bool) {
            let context = Context { trace: trace.to_be_bytes(), span: span.to_be_bytes(), recorded };
            prop_assert_eq!(Context::parse(&context.text()), Some(context));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9a-fA-F-]{0,60}|\\PC{0,60}") {
            let _ = Context::parse(&text);
        }
    }
}
