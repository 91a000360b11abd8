//! Compressed bodies, of sources that allow them. Signatures are over what was sent, so a body is unpacked once its
//! sender is proven, and no further than its source's limit.

use std::io::{self, Read};

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use hookweir_verify::{Decode, Rejection};

use super::Refusal;

/// A content coding that can be undone (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// RFC 1952; `x-gzip` is the same.
    Gzip,
    /// The zlib format, RFC 1950.
    Deflate,
}

impl Coding {
    /// The coding of a request; none if its body is as it is. One after another are not undone.
    pub(super) fn of(headers: &HeaderMap, allowed: bool) -> Result<Option<Self>, Refusal> {
        let mut codings =
            headers.get_all(header::CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
        let (first, second) = (codings.next().unwrap_or(b"identity"), codings.next());
        let is = |name: &[u8]| first.eq_ignore_ascii_case(name);
        match second {
            None if is(b"identity") => Ok(None),
            None if allowed && (is(b"gzip") || is(b"x-gzip")) => Ok(Some(Self::Gzip)),
            None if allowed && is(b"deflate") => Ok(Some(Self::Deflate)),
            _ => Err(Refusal::CompressedBody),
        }
    }

    /// What undoes it, for results of `max` bytes at most.
    pub(super) fn decode(self, max: u64) -> Decode {
        Decode::new(move |body| self.unpack(body, max))
    }

    fn unpack(self, body: &[u8], max: u64) -> Result<Bytes, Rejection> {
        let unpacked = match self {
            Self::Gzip => read(MultiGzDecoder::new(body), max),
            Self::Deflate => read(ZlibDecoder::new(body), max),
        };
        let unpacked = unpacked.map_err(|error| Rejection::ContentCoding(error.to_string()))?;
        match unpacked.len() as u64 > max {
            true => Err(Rejection::ContentTooLarge(max)),
            false => Ok(unpacked.into()),
        }
    }
}

/// One byte more than there may be tells that there are too many; the rest stays packed.
fn read(packed: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    packed.take(max.saturating_add(1)).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };
    use proptest::prelude::*;

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(body).unwrap();
        packed.finish().unwrap()
    }

    fn zlib(body: &[u8]) -> Vec<u8> {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(body).unwrap();
        packed.finish().unwrap()
    }

    fn headers(codings: &[&'static str]) -> HeaderMap {
        let coding =
            |coding: &&'static str| (header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        codings.iter().map(coding).collect()
    }

    #[test]
    fn only_what_is_allowed_and_known_is_taken() {
        let of = |codings: &[&'static str], allowed| Coding::of(&headers(codings), allowed).ok();
        assert_eq!(of(&[], false), Some(None));
        assert_eq!(of(&["Identity"], false), Some(None));
        assert_eq!(of(&["gzip"], false), None);
        assert_eq!(of(&["GZIP"], true), Some(Some(Coding::Gzip)));
        assert_eq!(of(&["x-gzip"], true), Some(Some(Coding::Gzip)));
        assert_eq!(of(&["deflate"], true), Some(Some(Coding::Deflate)));
        for codings in
            [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"], &["identity", "gzip"], &[""]]
        {
            assert_eq!(of(codings, true), None, "{codings:?}");
        }
    }

    #[test]
    fn a_bomb_is_unpacked_no_further_than_the_limit() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 1 << 20, "it is a bomb: {} bytes are 64 MiB", bomb.len());
        assert_eq!(Coding::Gzip.unpack(&bomb, 1000), Err(Rejection::ContentTooLarge(1000)));
        // Several members are one body, so their sizes add up.
        let twice = [gzip(&[0; 600]), gzip(&[0; 600])].concat();
        assert_eq!(Coding::Gzip.unpack(&twice, 1000), Err(Rejection::ContentTooLarge(1000)));
        assert_eq!(Coding::Gzip.unpack(&twice, 1200).unwrap().len(), 1200);
    }

    #[test]
    fn what_is_not_in_its_coding_is_refused() {
        let whole = gzip(b"whole");
        let cut = &whole[..whole.len() - 3];
        let trailing = [&whole[..], b"more"].concat();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [cut, &trailing, &flipped, b"plain", &zlib(b"zlib")] {
            let refused = Coding::Gzip.unpack(bad, 1000);
            assert!(matches!(refused, Err(Rejection::ContentCoding(_))), "{refused:?}");
        }
        assert!(Coding::Deflate.unpack(&whole, 1000).is_err());
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(body in proptest::collection::vec(any::<u8>(), 0..3000)) {
            for (coding, packed) in [(Coding::Gzip, gzip(&body)), (Coding::Deflate, zlib(&body))] {
                prop_assert_eq!(coding.unpack(&packed, 3000).unwrap(), &body);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Coding::Gzip.unpack(&bytes, 500), Coding::Deflate.unpack(&bytes, 500));
        }
    }
}
