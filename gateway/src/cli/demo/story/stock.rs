//! Stock levels: exact, whatever comes twice, late or in another order.

use serde_json::{Value, json};

use super::Chapter;
use crate::cli::demo::{
    ending::done,
    outside::Outside,
    page::{Page, same},
    sender::Webhook,
    stage::Stage,
};

/// What the warehouse counts, and where.
pub(super) const ITEM: &str = "IPOD2008PINK";
const PLACE: &str = "north";
/// How many were counted, at which of the warehouse's numbers.
const COUNTED: i64 = 40;
const AT: i64 = 17;
/// What came and went behind that, in the order in which it is told: two late, and one twice.
const MOVES: [(i64, i64); 4] = [(20, 5), (18, -2), (19, -1), (20, 5)];
/// What is left by that.
pub(super) const LEFT: i64 = 42;

/// A warehouse of one's own, and Shopify's levels.
pub(super) struct Stock;

impl Chapter for Stock {
    const TITLE: &'static str = "Stock: exact under duplicates and disorder";
    const PLUGINS: &'static [&'static str] = &["inventory"];

    fn config(_: &Outside) -> String {
        r#"
[plugins.inventory]
api = "public"
config = { low = 5 }
backoff = "500ms"    # what a bad version fails has attempts left when the good one serves again
"#
        .to_owned()
    }

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let changed = || vec![("stock.changed", vec![])];
        let count =
            json!({ "item": ITEM, "location": PLACE, "sequence": AT, "available": COUNTED });
        let count = Webhook::new("warehouse", "stock.counted", "", &count);
        let answer = stage.sender.send(&count).await?;
        page.tell(format_args!("The warehouse, a system of one's own, sent a count, signed: {COUNTED}, its message {AT}. {answer}."));
        page.expect("a count", &answer, vec![done("inventory")], changed())?;
        stage.settled().await?;
        for (told, (sequence, by)) in MOVES.into_iter().enumerate() {
            let body = moved(sequence, by, told);
            let answer =
                stage.sender.send(&Webhook::new("warehouse", "stock.moved", "", &body)).await?;
            let is_twice = MOVES[..told].contains(&(sequence, by));
            let outputs = if is_twice { vec![] } else { changed() };
            page.expect("a move", &answer, vec![done("inventory")], outputs)?;
        }
        let told = MOVES.map(|(sequence, by)| format!("{by:+} (message {sequence})"));
        page.tell(format_args!(
            "Then it told moves, two of them late and one twice: {}.",
            told.join(", ")
        ));
        let level = levels(stage, page).await?;
        stage.settle(page).await?;

        let (status, stock) = look(stage).await?;
        page.tell(format_args!("GET /api/inventory/warehouse/{ITEM} said {status}: {stock}"));
        let (status, shopify) = stage.ask(&format!("inventory/shopify/{level}")).await?;
        page.tell(format_args!("GET /api/inventory/shopify/{level} said {status}: {shopify}"));
        let what = format!("{COUNTED} - 2 - 1 + 5 = {LEFT}: each move counts once");
        page.check(what, same(&stock["available"], &json!(LEFT)));
        let what = "of Shopify's two levels the newer one holds, though it came first";
        page.check(what, same(&shopify["available"], &json!(8)));
        Ok(())
    }
}

/// A move, told for the `told`th time: a warehouse that tells it again has another message with the same move.
pub(super) fn moved(sequence: i64, by: i64, told: usize) -> Value {
    let id = format!("mv-{sequence}");
    json!({ "id": id, "item": ITEM, "location": PLACE, "sequence": sequence, "by": by, "told": told })
}

/// What the warehouse has.
pub(super) async fn look(stage: &Stage) -> Result<(u16, Value), String> {
    stage.ask(&format!("inventory/warehouse/{ITEM}")).await
}

/// Two levels of Shopify's, the older one late. Answers the item.
async fn levels(stage: &Stage, page: &mut Page) -> Result<u64, String> {
    let new = stage.sender.body("inventory", "inventory_levels.update.json")?;
    let mut old = new.clone();
    old["available"] = json!(9);
    old["updated_at"] = json!("2024-08-07T18:56:10-04:00");
    for (id, level, what) in
        [("demo-level-2", &new, "a level"), ("demo-level-1", &old, "an older level, late")]
    {
        let webhook = Webhook::new("shopify", "inventory_levels/update", id, level);
        let answer = stage.sender.send(&webhook).await?;
        let is_news = id == "demo-level-2";
        let outputs = if is_news { vec![("stock.changed", vec![])] } else { vec![] };
        page.expect(what, &answer, vec![done("inventory")], outputs)?;
        stage.settled().await?;
    }
    page.tell("Shopify sent two levels, signed, 8 and then an older one, 9.");
    new["inventory_item_id"].as_u64().ok_or_else(|| "the sample names no item".to_owned())
}
