//! One input, whatever it is: what the fuzzer of `tests/fuzz` tries with coverage to guide it, and what the property
//! test beside it tries without. Nothing may panic, hang, or be taken for genuine.
//!
//! An input that begins with `{` is a recorded vector, perhaps a broken one; with `d`, a declared
//! scheme and a request for it; with any other byte, a request for the preset of that number.
#![forbid(unsafe_code)]

use hookweir_event::{SourceName, Timestamp};
use hookweir_verify::{Declaration, Incoming, Preset, Scheme, Secret, vector::Vector};

/// Nobody who makes up an input knows it.
const SECRET: &str = "8d1f3c5a7e9b0246";

/// Tries one input.
///
/// # Panics
/// If what is made up passes for signed.
pub fn one(input: &[u8]) {
    match input.split_first() {
        None => {}
        Some((b'{', _)) => {
            if let Ok(vector) = str::from_utf8(input)
                .map_err(drop)
                .and_then(|line| Vector::parse(line).map_err(drop))
            {
                let _ = vector.run();
            }
        }
        Some((b'd', rest)) => declared(rest),
        Some((number, rest)) => preset(*number, rest),
    }
}

fn declared(input: &[u8]) {
    let (lines, request) = halves(input);
    let mut declaration = Declaration::default();
    for line in String::from_utf8_lossy(lines).lines() {
        if let Some((key, value)) = line.split_once(' ')
            && let Some(place) = declaration.value_mut(key)
        {
            *place = Some(value.to_owned());
        }
    }
    // Both must take or refuse it; what they refuse they must be able to explain.
    if let Err(faults) = Scheme::insecure(&declaration) {
        assert!(!faults.is_empty());
    }
    match Scheme::declare(&declaration) {
        Ok(scheme) => {
            let _ = verify(&scheme, request);
        }
        Err(faults) => assert!(!faults.is_empty()),
    }
}

fn preset(number: u8, input: &[u8]) {
    let all = Preset::all().count();
    let (more, request) = input.split_first().map_or((0, input), |(more, rest)| (*more, rest));
    let index = (usize::from(number) << 8 | usize::from(more)) % all;
    let Some(preset) = Preset::all().nth(index) else { return };
    let params = preset.params.iter().map(|name| {
        let value = if *name == "algorithm" { "hmac-sha256" } else { "a-parameter" };
        (name.trim_end_matches('?').to_owned(), value.to_owned())
    });
    let Ok(scheme) = preset.scheme(&params.collect()) else { return };
    // Netlify's tokens and the like need a signature, and so does everything else.
    assert!(!verify(&scheme, request), "{}: made up and taken", preset.name);
}

/// Whether the request passes for signed. Its first line is the query, those after it headers; the
/// body comes behind an empty line.
fn verify(scheme: &Scheme, request: &[u8]) -> bool {
    let (head, body) = halves(request);
    let mut lines = head.split(|byte| *byte == b'\n');
    let query = lines.next().map(|line| String::from_utf8_lossy(line).into_owned());
    let header = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8_lossy(&line[..at]).to_ascii_lowercase();
        Some((name, line[at + 1..].to_vec()))
    };
    let url = query.as_ref().map(|query| format!("https://hooks.example.com/in?{query}"));
    let request = Incoming {
        method: "POST".to_owned(),
        path: "/in".to_owned(),
        query,
        url,
        headers: lines.filter_map(header).collect(),
        body: body.to_vec().into(),
        decode: None,
    };
    let source: SourceName = "fuzz".parse().unwrap_or_else(|_| unreachable!("a good name"));
    let secrets: Vec<_> = scheme.secret(SECRET).map(Secret::new).into_iter().collect();
    let now = Timestamp::from_secs(1_768_425_954);
    let _ = scheme.handshake(&source, &secrets, &request, now);
    let _ = scheme.explain(&source, &secrets, &request, now).to_string();
    scheme.verify(&source, &secrets, request, now).is_ok()
}

fn halves(input: &[u8]) -> (&[u8], &[u8]) {
    match input.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&input[..at], &input[at + 2..]),
        None => (input, &[]),
    }
}
