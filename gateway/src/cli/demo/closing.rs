//! What to try, as long as the demo's gateway is up.

use super::{stage::Stage, story};
use crate::cli::tell;

/// Leaves the gateway running until Ctrl-C. `ok`: nothing is left to be looked into.
pub(super) async fn stay_up(stage: &Stage, ok: bool) {
    tell(text(stage));
    let folder = if ok { "removes its folder" } else { "leaves its folder" };
    tell(format_args!(
        "The gateway's log is {}. Ctrl-C ends it all and {folder}.",
        stage.house.log().display()
    ));
    let _ = tokio::signal::ctrl_c().await;
}

fn text(stage: &Stage) -> String {
    let house = &stage.house;
    let folder = house.folder();
    let folder = folder.display();
    let curls = story::lookups(stage).iter().map(|it| format!("  curl {it}\n")).collect::<String>();
    format!(
        "The gateway and the stand-ins stay up. From another terminal, in this folder:

  . {}                 # the secrets
  hookweir() {{ cargo run -q -- \"$@\" --config {}; }}

  hookweir send github --type push --body plugins/github/samples/push.json   # signed as GitHub would
  hookweir events list --state dead         # or --source stripe, --plugin github, ..
  hookweir events show ID                   # the request, its attempts, each with its error and its log
  hookweir dead list                        # the payment of no order
  hookweir dead retry --all
  hookweir plugin list                      # versions: live, earlier, turned away
  hookweir plugin rollback payments
  hookweir source list                      # what came from whom since the restart, and what was refused

{}
  cp your-own.wasm {folder}/      # live at once; see plugin-sdk/README.md

The examples in JavaScript and Python need Node.js and Python; `--install` brings them through apt, as root:

  cargo run -q -- plugin build plugins/py-takings --install --out {folder}
  cargo run -q -- plugin build plugins/js-labels --install --out {folder}    # waits for its grants: plugin list
",
        house.environment().display(),
        house.config().display(),
        curls,
    )
}
