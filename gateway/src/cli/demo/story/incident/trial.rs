//! A fix, tried on what really came before it goes live.

use super::{Chapter, NEW_FIELD, OLD_FIELD, ORDERS, tell_command};
use crate::cli::demo::{
    module,
    page::{Page, same},
    stage::Stage,
};

/// A version of `fulfilment` with the field's new name.
pub(super) struct Trial;

/// Where the new version is until it is deployed.
pub(super) const FILE: &str = "fulfilment.wasm";

impl Chapter for Trial {
    const TITLE: &'static str = "A fix, tried on the orders that failed, before it goes live";
    const PLUGINS: &'static [&'static str] = &["fulfilment"];

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let fixed = module::reworded(&stage.read("fulfilment")?, OLD_FIELD, NEW_FIELD)?;
        let file = stage.house.aside(FILE);
        std::fs::write(&file, fixed).map_err(|error| format!("{}: {error}", file.display()))?;
        page.tell(format_args!(
            "The plugin's author renames the field: `{OLD_FIELD}` is now `{NEW_FIELD}`. (Here the word is replaced in the \
             built module; it is another version by its digest.)"
        ));
        page.tell(
            "What the live version sent then and was answered is recorded, so that it does again what it did. What the \
             warehouse would say to the new field is the operator's guess: answers.json says 201.",
        );
        let asked = stage.outside.warehouse.came().len();
        let file = file.to_string_lossy().into_owned();
        let args = ["plugin", "try", &file, "--match", "plugin.payments/order.paid", "--answers"];
        let answers = stage.house.aside("answers.json");
        let canned = serde_json::json!({
            format!("POST {}/v1/shipments", stage.outside.warehouse.origin()):
                { "status": 201, "body": { "shipment": "S-trial" } },
        });
        std::fs::write(&answers, canned.to_string()).map_err(|error| error.to_string())?;
        let answers = answers.to_string_lossy().into_owned();
        let (code, said, beside) = stage.hookweir(&[&args[..], &[&answers]].concat())?;
        let shown = [
            "plugin",
            "try",
            FILE,
            "--match",
            "plugin.payments/order.paid",
            "--answers",
            "answers.json",
        ];
        tell_command(page, &shown, &said, 14);

        let expected = [
            "0 not comparable".to_owned(),
            format!("outcome {ORDERS}"),
            "reject: answered with 422 -> done".to_owned(),
        ];
        let missing = expected.iter().find(|words| !said.contains(words.as_str()));
        let tells = match (code, missing) {
            (1, None) => Ok(()),
            _ => Err(format!("it ended with {code}, without {missing:?}:\n{said}\n{beside}")),
        };
        page.check(
            "it tells that every order that was refused would be done, and what would be sent otherwise",
            tells,
        );
        page.check(
            "and sent nothing to the warehouse",
            same(stage.outside.warehouse.came().len(), asked),
        );
        Ok(())
    }
}
