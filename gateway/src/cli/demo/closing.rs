//! What to try, as long as the demo's gateway is up.

use tokio::signal::unix::Signal;

use super::stage::Stage;
use crate::cli::tell;

/// Leaves the gateway running until Ctrl-C. `ok`: nothing is left to be looked into.
pub(super) async fn stay_up(stage: &Stage, ok: bool, interrupts: &mut Signal) {
    tell(text(stage));
    let folder = if ok { "removes its folder" } else { "leaves its folder" };
    tell(format_args!(
        "The gateway's log is {}. Ctrl-C ends it all and {folder}.",
        stage.house.log().display()
    ));
    interrupts.recv().await;
}

fn text(stage: &Stage) -> String {
    let house = &stage.house;
    format!(
        "The gateway and the stand-ins stay up. From another terminal, in this folder:

  . {}                 # the secrets
  hookweir() {{ cargo run -q --bin hookweir -- \"$@\" --config {}; }}

{}",
        house.environment().display(),
        house.config().display(),
        house.story.to_try(stage),
    )
}
