//! The SDK's page, followed as a reader would: its files are written, its commands typed one after another into
//! one shell, in an empty folder, and what it shows of their answers is what they answer.
//!
//! A comment before a block says which file it is. Blocks of Rust that are no file are run by the SDK's
//! documentation tests, and so are those that are, unless they are marked `ignore`.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use hookweir_tests::{
    guests::root,
    house::{PATIENCE, free_port},
};
use tempfile::TempDir;

use crate::running::target;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");
/// Ends what one command says; its exit code follows.
const MARK: &str = "@@ended";
const POLL: Duration = Duration::from_millis(50);

/// A fenced block.
#[derive(Debug, PartialEq)]
struct Block<'t> {
    /// The first word behind the fence, and the others.
    language: &'t str,
    marks: &'t str,
    file: Option<(How, &'t str)>,
    lines: Vec<&'t str>,
}

/// What a block is of a file.
#[derive(Debug, PartialEq)]
enum How {
    Whole,
    End,
    /// Lines of it, in their order.
    Some,
}

/// The blocks of a page, or what is wrong with it.
fn blocks(page: &str) -> Result<Vec<Block<'_>>, String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    let mut file = None;
    while let Some(line) = lines.next() {
        if let Some(comment) = line.strip_prefix("<!-- ") {
            file = Some(named(comment).ok_or_else(|| format!("no file is named by {line}"))?);
            continue;
        }
        let Some(fence) = line.strip_prefix("```") else {
            if file.is_some() {
                return Err(format!("there is no block behind the comment before {line:?}"));
            }
            continue;
        };
        let (language, marks) = fence.split_once(',').unwrap_or((fence, ""));
        let own = lines.by_ref().take_while(|line| *line != "```").collect();
        let block = Block { language, marks, file: file.take(), lines: own };
        allow(&block, blocks.last())?;
        blocks.push(block);
    }
    Ok(blocks)
}

fn named(comment: &str) -> Option<(How, &str)> {
    let (how, file) = comment.strip_suffix(" -->")?.split_once(": ")?;
    let how = match how {
        "file" => How::Whole,
        "add to" => How::End,
        "part of" => How::Some,
        _ => return None,
    };
    Some((how, file))
}

/// Whether a block is one that something runs.
fn allow(block: &Block<'_>, before: Option<&Block<'_>>) -> Result<(), String> {
    let is_run = match block.language {
        "rust" => !block.marks.contains("ignore") || block.file.is_some(),
        "toml" | "json" => block.file.is_some(),
        "sh" => block.file.is_none(),
        "text" => before.is_some_and(|before| before.language == "sh"),
        _ => false,
    };
    if is_run { Ok(()) } else { Err(format!("nothing runs this block: {block:#?}")) }
}

/// A shell, in which a reader types.
struct Shell {
    child: Child,
    typed: ChildStdin,
    said: Receiver<String>,
}

impl Shell {
    /// At home there is a clone of this repository, and `hookweir` is on the path.
    fn in_folder(folder: &Path, home: &Path) -> Self {
        fs::create_dir_all(home.join("bin")).unwrap();
        symlink(root(), home.join("hookweir")).unwrap();
        symlink(PROGRAM, home.join("bin/hookweir")).unwrap();
        let old = PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into()));
        let tools = |name: &str, below: &str| {
            env::var_os(name).map_or_else(|| old.join(below), PathBuf::from)
        };
        let path = env::var("PATH").unwrap_or_default();
        let mut child = Command::new("sh")
            .current_dir(folder)
            .env("HOME", home)
            .env("CARGO_HOME", tools("CARGO_HOME", ".cargo"))
            .env("RUSTUP_HOME", tools("RUSTUP_HOME", ".rustup"))
            .env("PATH", format!("{}:{path}", home.join("bin").display()))
            // Where the other tests' plugins are built, and with them the SDK.
            .env("CARGO_TARGET_DIR", target())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut typed = child.stdin.take().unwrap();
        writeln!(typed, "exec 2>&1").unwrap();
        let (sender, said) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, typed, said }
    }

    /// Types one command. Answers its exit code and what it said.
    #[track_caller]
    fn run(&mut self, command: &str) -> (i32, Vec<String>) {
        // What a command reads must not be what is typed next.
        writeln!(self.typed, "{{ {command}\n}} < /dev/null\necho {MARK} $?").unwrap();
        // It may be the compiler that is waited for, and all that the SDK stands on.
        let deadline = Instant::now() + 15 * PATIENCE;
        let mut lines = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.said.recv_timeout(left) else {
                panic!("`{command}` does not end:\n{}", lines.join("\n"));
            };
            match line.strip_prefix(MARK) {
                Some(code) => return (code.trim().parse().unwrap(), lines),
                None => lines.push(line),
            }
        }
    }

    #[track_caller]
    fn succeeds(&mut self, command: &str) -> Vec<String> {
        let (code, said) = self.run(command);
        assert_eq!(code, 0, "`{command}` failed:\n{}", said.join("\n"));
        said
    }

    /// A second terminal is slower than this: what is started in the background is there when it is asked.
    fn until_it_answers(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.run("hookweir plugin list").0 != 0 {
            assert!(Instant::now() < deadline, "{:?}", self.run("cat gateway.log"));
            thread::sleep(POLL);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The gateway, if the page did not come to its end. Errors mean that there is none any more.
        let _ = writeln!(self.typed, "kill $! 2> /dev/null; exit");
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        // A command that does not end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a line is as the page shows it, where `…` stands for anything, and white space for any of it.
fn is_like(line: &str, shown: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, shown) = (plain(line), plain(shown));
    let mut rest = line.as_str();
    shown.split('…').enumerate().all(|(nth, part)| {
        let part = if nth == 0 { part } else { part.trim_start() };
        let Some(at) = rest.find(part.trim_end()) else { return false };
        rest = &rest[at + part.trim_end().len()..];
        true
    })
}

/// The first of the shown lines that is not among those said, in their order.
fn missing<'s>(said: &[String], shown: &[&'s str]) -> Option<&'s str> {
    let mut said = said.iter();
    shown.iter().copied().find(|shown| !said.any(|line| is_like(line, shown)))
}

fn put(folder: &Path, (how, name): &(How, &str), text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match how {
        How::Whole => fs::write(&path, text).unwrap(),
        How::End => {
            let file = fs::OpenOptions::new().append(true).open(&path);
            file.unwrap().write_all(text.as_bytes()).unwrap();
        }
        How::Some => {
            let there = fs::read_to_string(&path).unwrap();
            let there: Vec<_> = there.lines().map(str::to_owned).collect();
            let shown: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
            assert_eq!(missing(&there, &shown), None, "{name} is\n{}", there.join("\n"));
        }
    }
}

fn page() -> String {
    fs::read_to_string(root().join("plugin-sdk/README.md")).unwrap()
}

/// The page with ports that are free here.
fn with_free_ports(page: &str) -> String {
    [8080, 8081].iter().fold(page.to_owned(), |page, shown| {
        page.replace(&format!("127.0.0.1:{shown}"), &free_port().to_string())
    })
}

#[test]
fn it_leads_from_nothing_to_a_plugin_in_production() {
    let page = with_free_ports(&page());
    let (folder, home) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut shell = Shell::in_folder(folder.path(), home.path());
    let (mut commands, mut said, mut last) = (0, Vec::new(), "");
    for block in blocks(&page).unwrap() {
        let text = block.lines.join("\n") + "\n";
        match (&block.file, block.language) {
            (Some(file), _) => put(folder.path(), file, &text),
            (None, "sh") => {
                said.clear();
                for command in block.lines.iter().copied().filter(|line| !line.is_empty()) {
                    commands += 1;
                    said.extend(shell.succeeds(command));
                    if command.ends_with('&') {
                        shell.until_it_answers();
                    }
                    if command.starts_with("hookweir plugin new") {
                        // The versions that this workspace is tested with.
                        let lock = folder.path().join("receipts/Cargo.lock");
                        fs::copy(root().join("Cargo.lock"), lock).unwrap();
                    }
                    last = command;
                }
            }
            (None, "text") => {
                // What a gateway does by itself takes it a moment; a reader asks again.
                let deadline = Instant::now() + PATIENCE;
                while let Some(line) = missing(&said, &block.lines) {
                    let said_so = said.join("\n");
                    assert!(
                        last.ends_with(" list") && Instant::now() < deadline,
                        "no {line:?} in what `{last}` says:\n{said_so}"
                    );
                    thread::sleep(POLL);
                    said = shell.succeeds(last);
                }
            }
            _ => {}
        }
    }
    assert!(commands > 30, "only {commands} commands were run");
    assert_eq!(shell.run("wait $!").0, 0, "the gateway ends calmly");
}

#[test]
fn nothing_on_it_is_run_by_nobody() {
    let runs = |page: &str| blocks(page).map(|blocks| blocks.len());
    assert!(runs(&page()).unwrap() > 40);
    assert_eq!(runs("```sh\nls\n```\n```text\na\n```\n"), Ok(2));
    assert_eq!(runs("<!-- file: a.rs -->\n```rust,ignore\nfn a() {}\n```\n"), Ok(1));
    for (fault, words) in [
        ("```rust,ignore\nfn a() {}\n```\n", "nothing runs"),
        ("```toml\na = 1\n```\n", "nothing runs"),
        ("```js\na()\n```\n", "nothing runs"),
        ("```\nls\n```\n", "nothing runs"),
        ("```text\na\n```\n", "nothing runs"),
        ("<!-- file: a.sh -->\n```sh\nls\n```\n", "nothing runs"),
        ("<!-- a.toml -->\n```toml\na = 1\n```\n", "no file is named"),
        ("<!-- file: a.toml -->\nIt is\n```toml\na = 1\n```\n", "no block behind"),
    ] {
        let said = runs(fault).unwrap_err();
        assert!(said.contains(words), "{fault} is said to be: {said}");
    }
}

#[test]
fn what_is_shown_is_looked_for() {
    let said = ["made 3 things".to_owned(), "in  12.5 ms".to_owned()];
    for shown in [&["made 3 things", "in … ms"][..], &["made … things"], &["in 12.5 …"], &["…"]]
    {
        assert_eq!(missing(&said, shown), None, "{shown:?}");
    }
    for (shown, line) in [
        (&["made 4 things"][..], "made 4 things"),
        (&["in … ms", "made … things"], "made … things"),
        (&["made … ms"], "made … ms"),
        (&["… s", "…", "…"], "…"),
    ] {
        assert_eq!(missing(&said, shown), Some(line), "{shown:?}");
    }
}
