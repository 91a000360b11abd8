//! One part of a `multipart/form-data` body (RFC 7578): Dropbox Sign sends its JSON in one.

use memchr::memmem;

use crate::Rejection;

/// The content of the part called `name`; none if the body is no such form or has no such part.
pub(crate) fn part<'a>(
    content_type: &[u8],
    body: &'a [u8],
    name: &str,
) -> Result<Option<&'a [u8]>, Rejection> {
    let Some(boundary) = boundary(content_type) else { return Ok(None) };
    let delimiter = format!("--{boundary}");
    let mut found = None;
    // What stands before the first delimiter is no part; what stands behind the last is none either.
    for part in split(body, delimiter.as_bytes()).skip(1) {
        let Some(part) = part.strip_prefix(b"\r\n").and_then(|part| part.strip_suffix(b"\r\n"))
        else {
            continue;
        };
        let Some(end) = memmem::find(part, b"\r\n\r\n") else { continue };
        let (headers, content) = (&part[..end], &part[end + 4..]);
        let Ok(headers) = str::from_utf8(headers) else { continue };
        if headers.split("\r\n").any(|header| is_named(header, name))
            && found.replace(content).is_some()
        {
            return Err(Rejection::DuplicatedHeader(name.to_owned()));
        }
    }
    Ok(found)
}

/// The boundary that a content type names. RFC 2046, section 5.1.1: at most 70 characters.
fn boundary(content_type: &[u8]) -> Option<&str> {
    let text = str::from_utf8(content_type).ok()?;
    let mut fields = text.split(';').map(str::trim);
    if !fields.next()?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = fields.find_map(|field| {
        let (name, value) = field.split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    })?;
    (1..=70).contains(&boundary.len()).then_some(boundary)
}

fn is_named(header: &str, name: &str) -> bool {
    let Some((field, value)) = header.split_once(':') else { return false };
    field.eq_ignore_ascii_case("content-disposition")
        && value.split(';').any(|parameter| {
            parameter.trim().strip_prefix("name=").is_some_and(|n| n.trim_matches('"') == name)
        })
}

/// The stretches of `text` between `delimiter`s.
fn split<'a>(text: &'a [u8], delimiter: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        match memmem::find(text, delimiter) {
            Some(at) => {
                rest = Some(&text[at + delimiter.len()..]);
                Some(&text[..at])
            }
            None => Some(text),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\ncontent-disposition: form-data; name=\"json\"\r\nContent-Type: text/plain\r\n\r\n{\"b\":2}\r\n--x--\r\n";

    #[test]
    fn a_part_is_found_by_its_name() {
        let part = |content_type: &str, name| part(content_type.as_bytes(), BODY, name).unwrap();
        assert_eq!(part("multipart/form-data; boundary=x", "json"), Some(&b"{\"b\":2}"[..]));
        assert_eq!(
            part("Multipart/Form-Data; charset=utf-8; boundary=\"x\"", "a"),
            Some(&b"1"[..])
        );
        assert_eq!(part("multipart/form-data; boundary=x", "other"), None);
        assert_eq!(part("multipart/form-data; boundary=y", "json"), None);
        assert_eq!(part("application/json", "json"), None);
    }

    #[test]
    fn a_part_that_is_there_twice_is_refused() {
        let twice = [BODY, BODY].concat();
        assert!(super::part(b"multipart/form-data; boundary=x", &twice, "json").is_err());
    }
}
