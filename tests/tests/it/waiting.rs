//! What commands do that ask a gateway again and again: they hear Ctrl-C while an answer is waited for, and do not
//! give up what they follow. The gateway is a stand-in that answers when a test says so.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use hookweir_tests::house::{House, PATIENCE, SECRET};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// A request that waits for its answer.
struct Asked {
    /// Method and path.
    what: String,
    stream: TcpStream,
}

impl Asked {
    fn answer(mut self, status: u16, body: &Value) {
        let body = body.to_string();
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} So\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        self.stream.write_all((head + &body).as_bytes()).unwrap();
    }
}

fn read(stream: TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0);
    lines.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", bytes)) => length = bytes.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    lines.read_exact(&mut vec![0; length]).ok()?;
    let what = first.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Some(Asked { what, stream })
}

/// A command, and the gateway that it asks.
struct Stage {
    /// Until it is waited for to its end.
    child: Option<Child>,
    asked: Receiver<Asked>,
    _house: House,
}

/// A test that fails leaves no command behind.
impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Stage {
    fn new(args: &[&str]) -> Self {
        let house = House::new(PROGRAM, "");
        let folder = house.config().parent().unwrap().to_owned();
        std::fs::write(folder.join("token"), "a-token-of-some-length").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, (send, asked)) = (listener.local_addr().unwrap(), channel());
        std::thread::spawn(move || serve(&listener, &send));
        let child = Command::new(PROGRAM)
            .args(args)
            .args(["--token-file", "token", "--url", &url(address)])
            .env("TEST_SECRET", SECRET)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child: Some(child), asked, _house: house }
    }

    /// The next request, which is this one.
    #[track_caller]
    fn next(&self, what: &str) -> Asked {
        let asked = self.asked.recv_timeout(PATIENCE).expect(what);
        assert!(asked.what.starts_with(what), "{} in place of {what}", asked.what);
        asked
    }

    fn interrupt(&self) {
        let id = self.child.as_ref().unwrap().id();
        let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
    }

    /// Waits for its end.
    fn over(mut self) -> Output {
        let deadline = Instant::now() + PATIENCE;
        while self.child.as_mut().unwrap().try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it goes on for ever");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.take().unwrap().wait_with_output().unwrap()
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Until nobody takes what is asked.
fn serve(listener: &TcpListener, send: &Sender<Asked>) {
    for stream in listener.incoming() {
        if let Some(asked) = read(stream.unwrap())
            && send.send(asked).is_err()
        {
            return;
        }
    }
}

fn news(items: &Value) -> Value {
    json!({ "items": items, "next": "1", "more": false })
}

#[test]
fn ctrl_c_ends_a_tail_that_waits_for_an_answer() {
    let stage = Stage::new(&["tail"]);
    for _ in 0..2 {
        stage.next("GET /v1/tail").answer(200, &news(&json!([])));
    }
    let _held = stage.next("GET /v1/tail");
    stage.interrupt();
    assert!(stage.over().status.success());
}

#[test]
fn ctrl_c_cancels_a_job_though_an_answer_is_waited_for() {
    let stage = Stage::new(&["dead", "retry", "--all"]);
    let job = |state: &str, ended: Value| json!({ "id": "j", "state": state, "endedAt": ended, "found": 3, "done": 0, "left": 3 });
    stage.next("POST /v1/jobs").answer(200, &job("searching", Value::Null));
    stage.next("GET /v1/jobs/j").answer(200, &job("running", Value::Null));
    let _held = stage.next("GET /v1/jobs/j");
    stage.interrupt();
    let over = job("cancelled", json!("2026-01-01T00:00:00Z"));
    stage.next("POST /v1/jobs/j/cancel").answer(200, &over);
    let said = stage.over();
    assert!(said.status.success());
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("cancelled: 3 are left"), "{said}");
}

#[test]
fn what_is_followed_is_given_up_when_it_is_gone_and_not_before() {
    let stage = Stage::new(&["tail"]);
    let event = |id: &str, state: &str, attempts: Value| {
        let delivery = json!({ "id": format!("{id}/0"), "plugin": "late", "state": state, "attempts": attempts });
        json!({ "id": id, "source": "shop", "type": "order.paid", "deliveries": [delivery] })
    };
    let due = json!([event("event-1", "due", json!([])), event("event-2", "due", json!([]))]);
    stage.next("GET /v1/tail").answer(200, &news(&json!([])));
    stage.next("GET /v1/tail").answer(200, &news(&due));
    // One can't be read for now, one is forgotten.
    stage
        .next("GET /v1/events/event-1")
        .answer(500, &json!({ "error": "a disk", "code": "store" }));
    stage.next("GET /v1/events/event-2").answer(404, &json!({ "error": "x", "code": "not_found" }));
    stage.next("GET /v1/tail").answer(200, &news(&json!([])));
    let attempts = json!([{ "outcome": "done", "wallMicros": 1500, "logs": [] }]);
    stage.next("GET /v1/events/event-1").answer(200, &event("event-1", "done", attempts));
    stage.next("GET /v1/tail").answer(200, &news(&json!([])));
    let _held = stage.next("GET /v1/tail");
    stage.interrupt();
    let said = stage.over();
    let (out, err) = (said.stdout, String::from_utf8(said.stderr).unwrap());
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("late") && out.contains("done"), "{out}");
    // A port may have these digits too.
    assert!(err.contains("a disk") && !err.contains(": 404"), "{err}");
}
