//! Which addresses may come: lists that are written out, lists of files, and what a balancer says by the PROXY
//! protocol.

use std::{fs, net::SocketAddr};

use hookweir_tests::{
    bounded,
    house::House,
    wire::{Wire, statuses},
};

fn house(sections: &str) -> House {
    House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), sections)
}

/// What a request that the proxy `127.0.0.1` says is from this address is answered with.
async fn from(house: &House, path: &str, address: &str) -> u16 {
    let client = bounded::client();
    let asking = client.post(format!("http://{}{path}", house.public)).body("{}");
    asking.header("x-forwarded-for", address).send().await.unwrap().status().as_u16()
}

const LISTS: &str = "server.trusted_proxies = [\"127.0.0.1\"]\nserver.deny = [\"203.0.113.0/24\"]\n\
    [sources.listed]\npath = \"/listed\"\nscheme = \"github\"\nsecrets = [{ env = \"TEST_SECRET\" }]\n\
    allow = [\"198.51.100.0/24\", { file = \"hooks.txt\" }, { file = \"meta.json\", pointer = \"/hooks\" }]\n\
    deny = [\"198.51.100.66\"]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_of_the_config_and_of_files_and_deny_wins() {
    let house = house(LISTS);
    let folder = house.config().parent().unwrap().to_owned();
    fs::write(folder.join("hooks.txt"), "# ours\n192.0.2.0/28 # a few\n\n2001:db8::/32\n").unwrap();
    fs::write(
        folder.join("meta.json"),
        r#"{"hooks": ["192.0.2.128/28"], "web": ["192.0.2.0/24"]}"#,
    )
    .unwrap();
    let gateway = house.start().await;
    for (address, status) in [
        ("198.51.100.1", 401),
        ("198.51.100.66", 403),
        ("192.0.2.15", 401),
        ("192.0.2.16", 403),
        ("192.0.2.130", 401),
        ("2001:db8::1", 401),
        ("2001:db9::1", 403),
        ("203.0.113.9", 403),
    ] {
        assert_eq!(from(&house, "/listed", address).await, status, "{address}");
    }
    // The whole server's list is for every path, and tells nothing of which there are.
    for path in ["/webhooks/github", "/nowhere", "/api/x"] {
        assert_eq!(from(&house, path, "203.0.113.9").await, 403, "{path}");
    }
    assert_eq!(from(&house, "/nowhere", "192.0.2.200").await, 404);

    // The files are followed; a bad one is reported, and what was read before it stays in force.
    let said = house.log().len();
    fs::write(folder.join("hooks.txt"), "192.0.2.0/28\nnonsense\n").unwrap();
    house.until_log(said, &["config not reloaded"]).await;
    house.until_log(said, &["hooks.txt", "line 2"]).await;
    assert_eq!(from(&house, "/listed", "192.0.2.15").await, 401);
    let said = house.log().len();
    fs::write(folder.join("hooks.txt"), "").unwrap();
    house.until_log(said, &["hooks.txt", "no address blocks"]).await;
    assert_eq!(from(&house, "/listed", "192.0.2.200").await, 403, "an empty list is not for all");
    let said = house.log().len();
    fs::write(folder.join("hooks.txt"), "192.0.2.192/28\n").unwrap();
    house.until_log(said, &["config reloaded"]).await;
    assert_eq!(from(&house, "/listed", "192.0.2.200").await, 401);
    assert_eq!(from(&house, "/listed", "192.0.2.15").await, 403);
    let shown = house.admin("config").await;
    let allow =
        shown.pointer("/sources/listed/allow").or(shown.pointer("/config/sources/listed/allow"));
    let allow = allow.unwrap_or_else(|| panic!("{shown:#}"));
    assert_eq!(allow[0], "198.51.100.0/24");
    assert_eq!(allow[1]["blocks"], 1);
    assert_eq!(allow[2]["pointer"], "/hooks");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_denied_itself_gets_no_answer() {
    let get = b"GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let deny = "server.deny = [\"127.0.0.0/8\"]\n";
    // Behind a proxy it is the client that is denied, and a proxy that trusts itself is told.
    let trusted = "server.trusted_proxies = [\"127.0.0.1\"]\n";
    let house = house("server.allow = [\"192.0.2.0/24\"]\n");
    let gateway = house.start().await;
    let (mut found, mut said) = (Vec::new(), house.log().len());
    for sections in ["", deny, &format!("{deny}{trusted}")] {
        if !sections.is_empty() {
            house.write_config(sections);
            house.until_log(said, &["config reloaded"]).await;
            said = house.log().len();
        }
        found.push(statuses(answer(house.public, get).await.as_bytes()));
    }
    assert_eq!(found, [vec![403], vec![], vec![403]]);
    let page = house.metrics().await;
    let away = page.value("hookweir_connections_turned_away_total", &[("reason", "denied")]);
    assert_eq!(away, 1.0);
    assert!(gateway.stop().await.success());
}

/// A header of version 2 for a client over IPv4.
fn v2(client: [u8; 4]) -> Vec<u8> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f";
    [&signature[..], &client, &[10, 0, 0, 1, 0x12, 0x34, 0, 80], &[4, 0, 0]].concat()
}

/// All that is answered to these bytes, until the connection is closed.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut wire = Wire::connect(address).await;
    wire.send(bytes).await;
    String::from_utf8_lossy(&wire.rest().await).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_nobody_chooses_an_address_by_what_the_proxy_passes_on() {
    let listed = "server.trusted_proxies = [\"127.0.0.1\"]\n\
                  [sources.listed]\npath = \"/listed\"\nscheme = \"github\"\n\
                  secrets = [{ env = \"TEST_SECRET\" }]\nallow = [\"127.0.0.0/8\", \"192.0.2.0/24\"]\n\
                  [sources.denied]\npath = \"/denied\"\nscheme = \"github\"\n\
                  secrets = [{ env = \"TEST_SECRET\" }]\ndeny = [\"203.0.113.0/24\"]\n";
    let house = house(listed);
    let gateway = house.start().await;
    // The proxy adds the right-most hop of X-Forwarded-For; all else is the sender's own.
    for (headers, listed, denied) in [
        (&b""[..], 401, 401),
        (b"x-forwarded-for: 192.0.2.7\r\n", 401, 401),
        (b"x-forwarded-for: 203.0.113.9\r\n", 403, 403),
        (b"x-forwarded-for: \xff, 203.0.113.9\r\n", 403, 403),
        (b"x-forwarded-for: \xff, 203.0.113.9\r\nforwarded: for=192.0.2.7\r\n", 403, 403),
        (b"x-forwarded-for: 203.0.113.9\r\nforwarded: for=192.0.2.7\r\n", 403, 403),
        (b"x-forwarded-for: 203.0.113.9\r\nforwarded: \xff\r\n", 403, 403),
    ] {
        for (path, status) in [("/listed", listed), ("/denied", denied), ("/webhooks/test", 401)] {
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
            let request = [head.as_bytes(), headers, b"content-length: 2\r\n\r\n{}"].concat();
            let answered = statuses(answer(house.public, &request).await.as_bytes());
            assert_eq!(answered, [status], "{path}: {}", String::from_utf8_lossy(headers));
        }
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_balancer_says_for_whom_it_speaks_and_nobody_else_does() {
    let get = b"GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let post = "POST /listed HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n";
    let listed = "[sources.listed]\npath = \"/listed\"\nscheme = \"github\"\nallow = [\"192.0.2.0/24\"]\n\
                  secrets = [{ env = \"TEST_SECRET\" }]\n";
    let proxied = "server.proxy_protocol = true\nserver.header_timeout = \"2s\"\n\
                   server.connections_per_address = 2\n";
    let trusting = format!("{proxied}server.trusted_proxies = [\"127.0.0.1\"]\n{listed}");
    let house = house(&trusting);
    let gateway = house.start().await;
    let listed = [post.as_bytes(), b"\r\n{}"].concat();
    let status = async |header: &[u8], request: &[u8]| {
        statuses(answer(house.public, &[header, request].concat()).await.as_bytes())
    };
    assert_eq!(status(&v2([192, 0, 2, 7]), &listed).await, [401]);
    assert_eq!(status(&v2([198, 51, 100, 7]), &listed).await, [403], "its address counts");
    assert_eq!(status(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 80\r\n", &listed).await, [401]);
    assert_eq!(status(b"PROXY TCP4 198.51.100.7 10.0.0.1 1 80\r\n", &listed).await, [403]);
    // The balancer's own look at whether we are there.
    assert_eq!(status(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", get).await, [404]);
    // Whom it names can't go on and name others.
    let named = [post.as_bytes(), b"x-forwarded-for: 192.0.2.7\r\n\r\n{}"].concat();
    assert_eq!(status(&v2([198, 51, 100, 7]), &named).await, [403]);
    // Without a header, with one that can't be read, or with half of one there is no answer.
    for bytes in [&get[..], b"PROXY TCP4 nonsense\r\n", &v2([192, 0, 2, 7])[..20], b""] {
        assert_eq!(answer(house.public, bytes).await, "", "{}", String::from_utf8_lossy(bytes));
    }
    // Connections are counted by whom they are of.
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::connect(house.public).await;
        wire.send(&[&v2([192, 0, 2, 7])[..], b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n"].concat())
            .await;
        use tokio::io::AsyncReadExt as _;
        assert_eq!(wire.0.read(&mut [0]).await.unwrap(), 1);
        open.push(wire);
    }
    assert_eq!(status(&v2([192, 0, 2, 7]), get).await, [0; 0]);
    assert_eq!(status(&v2([192, 0, 2, 8]), get).await, [404]);
    let page = house.metrics().await;
    let away = |reason| page.value("hookweir_connections_turned_away_total", &[("reason", reason)]);
    assert_eq!((away("proxy"), away("address")), (4.0, 1.0));

    // Live: from now on another balancer is trusted, and this one is a stranger.
    let said = house.log().len();
    house.write_config(&trusting.replace("127.0.0.1", "10.9.9.9"));
    house.until_log(said, &["config reloaded"]).await;
    assert_eq!(status(&v2([192, 0, 2, 7]), &listed).await, [0; 0]);
    assert!(gateway.stop().await.success());
}
