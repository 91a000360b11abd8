//! A lease under which nothing ran is given back until the store takes it: nobody else would run the delivery as long as the
//! gateway lives. The store here is a database, in which a test can refuse exactly that.

use hookweir_event::{EventId, Outcome};
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    house::{Gateway, House},
    load::payment,
    postgres::Postgres,
};
use serde_json::json;
use tokio_postgres::{Client, NoTls};

/// Has the database refuse that a lease is given back.
const REFUSE: &str = "
    CREATE FUNCTION hookweir.refuse() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RAISE EXCEPTION ''refused by the test''; END';
    CREATE TRIGGER refuse BEFORE UPDATE ON hookweir.deliveries FOR EACH ROW
        WHEN (OLD.boot IS NOT NULL AND NEW.boot IS NULL AND NEW.settled_at IS NULL)
        EXECUTE FUNCTION hookweir.refuse()";
const TAKE: &str = "DROP TRIGGER refuse ON hookweir.deliveries";
/// What the log says when it does.
const REFUSED: [&str; 2] = ["failed to give a lease back; trying again", "refused by the test"];

struct Ground {
    server: Postgres,
    house: House,
    gateway: Gateway,
}

impl Ground {
    async fn new() -> Self {
        let server = Postgres::durable();
        let program = env!("CARGO_BIN_EXE_hookweir-under-test");
        let house = House::in_database(program, "", server.url());
        house.put_guest("hostile");
        house.put_guest("payments");
        let gateway = house.start().await;
        server.ask(REFUSE);
        Self { server, house, gateway }
    }

    async fn send(&self, source: &str, event_type: &str, id: &str, body: &str) -> EventId {
        let sender = self.house.sender(source);
        let reply = sender.send(event_type, id, body.as_bytes()).await.unwrap();
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.id().unwrap()
    }

    /// It was refused, the lease is there still, and the driver goes on with others.
    async fn is_refused(&self, id: EventId) {
        let line = self.house.until_log(0, &REFUSED).await;
        assert!(line.contains(&id.to_string()), "{line}");
        let other = self.send("stripe", "payment_intent.succeeded", "1", &payment("1", "{}")).await;
        self.house.until_event(other, "what is another plugin's", is_done).await;
        let shown = self.house.reader().show(id).await.unwrap().unwrap();
        assert_eq!(shown.deliveries[0].state, DeliveryState::Leased);
    }

    /// It is done by the one attempt that ran, and no lease was lost on the way.
    async fn ends(self, id: EventId) {
        let shown = self.house.until_event(id, "what was given back", is_done).await;
        let attempts = &shown.deliveries[0].attempts;
        assert_eq!(attempts.len(), 1, "{shown:#?}");
        assert_eq!(attempts[0].attempt.outcome, Outcome::Done);
        assert_eq!(shown.deliveries[0].lost_leases, 0);
        assert!(self.gateway.stop().await.success());
    }
}

fn is_done(shown: &Shown) -> bool {
    shown.deliveries[0].state == DeliveryState::Done
}

/// Its plugin's state can't be read, so the plugin is not to blame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_could_not_run_is_given_back_until_the_store_takes_it() {
    let ground = Ground::new().await;
    ground.server.ask("ALTER TABLE hookweir.state RENAME TO mislaid");
    let id = ground.send("test", "state", "1", "get key").await;
    ground.house.until_log(0, &["not run; will be", &id.to_string()]).await;
    ground.server.ask("ALTER TABLE hookweir.mislaid RENAME TO state");
    ground.is_refused(id).await;
    ground.server.ask(TAKE);
    ground.ends(id).await;
}

/// Nobody can lease while this is held.
async fn hold_leases(server: &Postgres) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN; SELECT FROM hookweir.boots FOR UPDATE").await.unwrap();
    client
}

/// Between being planned for and leased it is paused: what it gets is not run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_leased_for_a_plugin_that_was_paused_meanwhile_is_given_back_until_the_store_takes_it()
 {
    let ground = Ground::new().await;
    // The one ask while none can be answered is the one that is for this delivery: gateways ask now and then for nothing.
    for plugin in ["hostile", "payments"] {
        ground.house.operate(&format!("plugins/{plugin}/pause"), &json!({})).await;
    }
    let id = ground.send("test", "nothing", "1", "").await;
    let held = hold_leases(&ground.server).await;
    ground.house.operate("plugins/hostile/resume", &json!({})).await;
    ground.server.until_held_up("FROM boots");
    ground.house.operate("plugins/hostile/pause", &json!({})).await;
    held.batch_execute("ROLLBACK").await.unwrap();
    ground.house.operate("plugins/payments/resume", &json!({})).await;
    ground.is_refused(id).await;
    ground.server.ask(TAKE);
    ground.house.until("what was given back", |counts| counts.due == 1).await;
    let shown = ground.house.reader().show(id).await.unwrap().unwrap();
    assert!(shown.deliveries[0].attempts.is_empty(), "it ran: {shown:#?}");
    ground.house.operate("plugins/hostile/resume", &json!({})).await;
    ground.ends(id).await;
}
