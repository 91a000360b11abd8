//! A guest that gives back what it gets and does nothing else.

use hookweir_sdk::prelude::*;

#[plugin(subscribe = ["test/echo"])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    Ok(outputs![Output::new("echo", event.body())])
}
