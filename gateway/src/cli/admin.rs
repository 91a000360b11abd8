//! `hookweir admin token`: makes a token for the admin API. The config gets its digest; the token itself is printed
//! once and kept nowhere.

use hookweir_event::Digest;

use super::{Exit, say, tell};
use crate::{
    admin::new_token,
    chance::Chance,
    config::{Scope, token_name},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a token, and print it with the line that the config needs.
    Token {
        /// Whose it is: what the audit log calls who uses it.
        #[arg(value_parser = token_name)]
        name: String,
        /// What it is for: read looks at everything, operate has things tried again, admin does all.
        #[arg(long, value_name = "read|operate|admin")]
        scope: Scope,
        /// Print it as JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command) -> Exit {
    let Command::Token { name, scope, json } = command;
    let token = new_token(&Chance::system());
    let sha256 = Digest::of(token.as_bytes());
    if *json {
        say(serde_json::json!({
            "name": name, "scope": scope.as_str(), "token": token, "sha256": sha256.to_string(),
        }));
        return Exit::Ok;
    }
    say(&token);
    tell("that is the token; it is shown this once. What the config needs:\n");
    tell(format_args!("[admin.tokens.{name}]\nsha256 = \"{sha256}\"\nscope = \"{scope}\""));
    Exit::Ok
}
