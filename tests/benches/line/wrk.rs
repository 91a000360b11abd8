//! The same load from wrk (<https://github.com/wg/wrk>), where it is installed: its two threads keep
//! up with 64 connections better than our one, and take more of the machine for it.

use std::{
    io::{BufWriter, Write as _},
    net::SocketAddr,
    process::Command,
    time::Duration,
};

use crate::load::{Answered, Plan, Stock};

const THREADS: usize = 2;

/// Each thread reads its requests, a length of four bytes before each, and begins anew at their end.
/// At the end of all: what was answered, and a thousand quantiles of the latency.
const SCRIPT: &str = r#"
local threads = 0
function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end
function init(args)
  local file = assert(io.open(args[1] .. "/" .. number, "rb"))
  stock = file:read("*a")
  file:close()
  at = 1
end
function request()
  if at > #stock then at = 1 end
  local a, b, c, d = stock:byte(at, at + 3)
  local first = at + 4
  at = first + a + 256 * (b + 256 * (c + 256 * d))
  return stock:sub(first, at - 1)
end
function done(summary, latency)
  local failed = summary.errors
  io.write("figures ", summary.requests, " ", summary.duration, " ",
    failed.status + failed.connect + failed.read + failed.write + failed.timeout)
  for nth = 1, 1000 do io.write(" ", latency:percentile(nth / 10)) end
  io.write("\n")
end
"#;

/// As [`drive`](crate::load::drive) does.
pub(crate) fn drive(address: SocketAddr, stock: &Stock, plan: Plan) -> Answered {
    let folder = tempfile::tempdir().unwrap();
    for thread in 0..THREADS {
        let file = std::fs::File::create(folder.path().join(thread.to_string())).unwrap();
        let mut file = BufWriter::new(file);
        for request in stock.iter().skip(thread).step_by(THREADS) {
            file.write_all(&u32::try_from(request.len()).unwrap().to_le_bytes()).unwrap();
            file.write_all(request).unwrap();
        }
        // Now, and not while the gateway syncs.
        file.into_inner().unwrap().sync_all().unwrap();
    }
    let script = folder.path().join("line.lua");
    std::fs::write(&script, SCRIPT).unwrap();
    let mut wrk = Command::new("wrk");
    wrk.arg("-t").arg(THREADS.to_string()).arg("-c").arg(plan.connections.to_string());
    wrk.arg("-d").arg(format!("{}s", plan.time.as_secs())).arg("-s").arg(&script);
    let ended = wrk.arg(format!("http://{address}")).arg("--").arg(folder.path()).output();
    let ended = ended.expect("wrk is installed");
    let said = String::from_utf8(ended.stdout).unwrap();
    let figures = said.lines().find_map(|line| line.strip_prefix("figures "));
    let figures = figures.unwrap_or_else(|| {
        panic!("wrk ended with {}\n{said}{}", ended.status, String::from_utf8_lossy(&ended.stderr))
    });
    let mut figures = figures.split(' ').map(|figure| figure.parse::<f64>().unwrap());
    let mut next = || figures.next().unwrap();
    let (requests, micros, refused) = (whole(next()), next(), whole(next()));
    Answered {
        accepted: requests - refused,
        refused,
        elapsed: Duration::from_secs_f64(micros / 1e6),
        latencies: figures.map(|latency| u32::try_from(whole(latency)).unwrap()).collect(),
    }
}

/// Lua has no other numbers.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and microseconds"
)]
fn whole(figure: f64) -> u64 {
    figure as u64
}
