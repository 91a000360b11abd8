//! One Rust file as the rules want it: the text, the code without comments and literals, and the code
//! that ships, which is the code without tests.

/// A source file.
pub(crate) struct Source {
    /// From the workspace's folder, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The code, line by line; what stood in comments and literals is blank.
    pub(crate) code: Vec<String>,
    /// The same without items under `#[cfg(test)]`; nothing, if the whole file is a test's.
    pub(crate) shipped: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code: Vec<String> = blank(text).lines().map(str::to_owned).collect();
        let shipped = if is_test(path) { Vec::new() } else { without_tests(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped }
    }

    /// The module of the gateway's own crate that this file belongs to.
    pub(crate) fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("gateway/src/")?;
        Some(inside.split(['/', '.']).next().unwrap_or_default())
    }

    pub(crate) fn fault(&self, line: usize, what: &str) -> super::Fault {
        format!("{}:{}: {what}", self.path, line + 1)
    }

    /// The numbered lines of code that ship.
    pub(crate) fn shipped_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.shipped.iter().enumerate().map(|(i, line)| (i, line.as_str()))
    }
}

/// Whether a whole file is there for tests, benchmarks or examples only.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || ["/tests/", "/examples/", "/benches/"].iter().any(|folder| path.contains(folder))
        || path.ends_with("/tests.rs")
}

/// Whether `word` stands in `line` as a word of its own.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

pub(crate) fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Blanks each item that stands under `#[cfg(test)]`: up to the first `}` with its indent, or to the
/// end of the line if the item ends there.
fn without_tests(code: &[String]) -> Vec<String> {
    let mut shipped = code.to_vec();
    let mut i = 0;
    while i < code.len() {
        if code[i].trim() == "#[cfg(test)]" {
            let depth = indent(&code[i]);
            let ends = |line: &String| {
                indent(line) == depth
                    && (line.trim_end().ends_with(';') || line.trim_start().starts_with('}'))
            };
            let length = code[i..].iter().position(ends).map_or(code.len() - i, |n| n + 1);
            shipped[i..i + length].fill(String::new());
            i += length;
        } else {
            i += 1;
        }
    }
    shipped
}

/// Blanks comments and literals; lines and columns stay.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let length = comment(rest).or_else(|| literal(rest, before));
        let taken = length.unwrap_or(first.len_utf8()).min(rest.len());
        let (piece, tail) = rest.split_at(taken);
        if length.is_some() {
            code.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            before = ' ';
        } else {
            code.push(first);
            before = first;
        }
        rest = tail;
    }
    code
}

/// The length of the comment that begins here.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    Some(text.len())
}

/// The length of the string or character that begins here, behind the character `before`.
fn literal(text: &str, before: char) -> Option<usize> {
    if before.is_alphanumeric() || before == '_' {
        return None;
    }
    let raw = ["br", "cr", "r"].iter().find_map(|prefix| text.strip_prefix(prefix));
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = text.len() - raw.len() + hashes + 1;
            let close = text[open..].find(&end).map_or(text.len(), |n| open + n + end.len());
            return Some(close);
        }
    }
    let plain = text.strip_prefix(['b', 'c']).unwrap_or(text);
    let prefix = text.len() - plain.len();
    if plain.starts_with('"') {
        return Some(prefix + quoted(plain, '"'));
    }
    // A character, not a lifetime: `'x'` or `'\…'`.
    let mut chars = plain.strip_prefix('\'')?.chars();
    let first = chars.next()?;
    (first == '\\' || chars.next() == Some('\'')).then(|| prefix + quoted(plain, '\''))
}

/// The length of the literal that begins and ends with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = "a(\"unsafe // \\\" b\"); // unsafe\n/* unsafe /* x */ unsafe */ c('\"', b'\\'', '\\u{7f}');\n\
                d::<'a>(r#\"unsafe \" \"#, br\"x\", \"\nunsafe\");\nr#type e\n";
    let code = blank(text);
    assert!(!code.contains("unsafe"), "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
    for kept in ["a(", "c(", "d::<'a>(", "r#type e"] {
        assert!(code.contains(kept), "{kept} is gone from {code}");
    }
}

#[test]
fn tests_do_not_ship() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nfn c() {}\n\
                impl D {\n    #[cfg(test)]\n    fn e() {\n        f();\n    }\n    fn g() {}\n}\n\
                #[cfg(test)]\nmod more;\nfn h() {}\n";
    let shipped = Source::new("gateway/src/a.rs", text).shipped.join("\n");
    for (name, ships) in [("fn a", true), ("fn b", false), ("fn c", true), ("fn e", false)] {
        assert_eq!(shipped.contains(name), ships, "{name}");
    }
    for (name, ships) in [("f();", false), ("fn g", true), ("mod more", false), ("fn h", true)] {
        assert_eq!(shipped.contains(name), ships, "{name}");
    }
    assert!(Source::new("gateway/store/tests/it/a.rs", text).shipped.is_empty());
}

#[test]
fn words_are_whole() {
    assert!(has_word("use axum::Router;", "axum"));
    assert!(!has_word("use axum_server::x;", "axum"));
    assert!(!has_word("let not_axum = 1;", "axum"));
}
