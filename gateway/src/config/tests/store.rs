//! What the file says of where events are kept.

use hookweir_store::{Location, PostgresDatabase};

use super::*;

pub(super) const DATABASE_URL: &str =
    "postgres://hooks:a-pass-word@db.internal/hooks?sslmode=require";

#[test]
fn a_store_is_in_a_database_if_its_url_is_one() {
    let config = parse("[store]\nurl = \"postgres://hooks@db.internal/hooks\"\n").expect("good");
    let Location::Postgres(database) = config.store.location() else { panic!("it is a file") };
    assert_eq!(database, PostgresDatabase::new("postgres://hooks@db.internal/hooks"));
    assert_eq!(config.store.data_folder(), Path::new("/etc/hookweir/data"));
    assert_eq!(config.store.file(), None);
    let text = "[store]\nurl = { env = \"DATABASE_URL\" }\nschema = \"gate\"\nca = \"ca.pem\"\nin_flight = 8\n\
                allow_data_loss = true\ndir = \"here\"\nkeep_done = \"1d\"\n";
    let config = parse(text).expect("good");
    let Location::Postgres(database) = config.store.location() else { panic!("it is a file") };
    let wanted = PostgresDatabase {
        schema: "gate".to_owned(),
        ca: Some("/etc/hookweir/ca.pem".into()),
        in_flight: 8,
        may_lose: true,
        ..PostgresDatabase::new(DATABASE_URL)
    };
    assert_eq!(database, wanted);
    assert_eq!(config.store.data_folder(), Path::new("/etc/hookweir/here"));
    assert_eq!(config.store.retention.done.age, Duration::from_secs(24 * 3600));
}

#[test]
fn a_databases_password_is_never_shown() {
    let config = parse("[store]\nurl = { env = \"DATABASE_URL\" }\n").expect("good");
    let shown = config.shown();
    insta::assert_snapshot!(shown["store"], @r#"{"allow_data_loss":false,"ca":null,"dir":"/etc/hookweir/data","in_flight":4,"keep_dead":"30d","keep_dead_max":null,"keep_done":"7d","keep_done_max":null,"schema":"hookweir","url":"postgres://hooks@db.internal/hooks?sslmode=require"}"#);
    for said in [shown.to_string(), format!("{config:?}"), config.store.to_string()] {
        assert!(!said.contains("a-pass-word"), "{said}");
    }
    let bad = faults("[store]\nurl = \"postgres://hooks:a-pass-word@db.internal/hooks\"\n");
    insta::assert_snapshot!(bad, @r#"2:7: store.url: a password is no part of the config: url = { env = "NAME" }, { file = "path" } or { credential = "name" }"#);
}

#[test]
fn what_is_of_the_other_kind_of_store_is_a_fault() {
    let text = "[store]\nurl = \"sqlite:h.db\"\nschema = \"gate\"\nin_flight = 8\n";
    insta::assert_snapshot!(faults(text), @r#"
    3:10: store.schema: is of a store in PostgreSQL: url = "postgres://.."
    4:13: store.in_flight: is of a store in PostgreSQL: url = "postgres://.."
    "#);
    let text = "[store]\nurl = \"postgres://h/d\"\ndisk_free_min = \"1GiB\"\nin_flight = 65\nschema = \"Gate\"\n";
    insta::assert_snapshot!(faults(text), @r"
    3:17: store.disk_free_min: is of a store in a file: PostgreSQL's server has its own disk
    4:13: store.in_flight: 65 is not between 1 and 64
    5:10: store.schema: a schema's name is made of a-z, 0-9 and `_`, 63 at most, and begins with no digit
    ");
    insta::assert_snapshot!(faults("[store]\nurl = { env = \"SHORT\" }\n"), @"2:7: store.url: the database's address can't be used: it does not begin with postgres://");
    insta::assert_snapshot!(faults("[store]\nurl = \"postgres://h/d?sslmode=maybe\"\n"), @"2:7: store.url: the database's address can't be used: invalid connection string: invalid value for option `sslmode`");
    insta::assert_snapshot!(faults("[store]\nurl = \"mysql://h/d\"\n"), @r#"2:7: store.url: expected "sqlite:" and a path, such as "sqlite:data/hookweir.db", or "postgres://..""#);
}

#[test]
fn another_database_needs_a_restart() {
    let of = |lines: &str| parse(&format!("[store]\nurl = \"postgres://{lines}\n")).expect("good");
    let old = of("h/d\"");
    assert!(old.needs_restart(&of("h/d\"")).is_empty());
    let new = of("i/d\"\nschema = \"b\"\nkeep_done = \"1d\"");
    assert_eq!(old.needs_restart(&new), ["store.keep", "store.url", "store.schema"]);
    assert_eq!(old.needs_restart(&parse("").expect("good")), ["store.url"]);
}

#[test]
fn versions_are_shared_by_gateways_at_one_database_only() {
    let shared = "[store]\nurl = \"postgres://h/d\"\n[host]\nversions = \"store\"\n";
    let config = parse(shared).expect("good");
    assert_eq!(config.host.versions, Versions::Store);
    assert_eq!(config.shown()["host"]["versions"], "store");
    let own = parse(&shared.replace("\"store\"", "\"folder\"")).expect("good");
    assert_eq!(config.needs_restart(&own), ["host"]);
    assert_eq!(parse("").expect("good").host.versions, Versions::Folder);
    insta::assert_snapshot!(faults("[host]\nversions = \"store\"\n"), @r#"2:12: host.versions: a store in a file is one gateway's alone, which has nobody to share with: leave it out, or set store.url = "postgres://..""#);
    insta::assert_snapshot!(faults("[host]\nversions = \"both\"\n"), @r#"2:12: host.versions: expected "folder" or "store""#);
}
