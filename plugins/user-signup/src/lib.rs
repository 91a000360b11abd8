//! User signup: a new user gets an account and a welcome mail, both at the same time.
//!
//! The one that fails is tried again on its own: `http::send_each` makes an event of it, `account.create` or
//! `mail.welcome`, which comes back as `plugin.user-signup/…`. So a mail server that is down costs no second
//! account, and the other way round.

mod user;

use hookweir_sdk::prelude::*;
use serde::Deserialize;
use serde_json::json;

use user::User;

/// Where accounts are set up and mails sent.
#[derive(Deserialize)]
struct Config {
    accounts_url: String,
    mail_url: String,
    mail_from: String,
}

#[plugin(
    subscribe = ["clerk/user.created", "shopify/customers/create", "plugin.user-signup/*"],
    http = ["https://*"],
    secrets = ["ACCOUNTS_KEY", "MAIL_KEY"]
)]
fn handle(event: Event) -> Result<Outputs, Failure> {
    match event.event_type() {
        "user.created" => sign_up(&event, &User::of_clerk(&event)?),
        "customers/create" => sign_up(&event, &User::of_shopify(&event)?),
        _ => http::send_again(&event).map(|_| outputs![]),
    }
}

fn sign_up(event: &Event, user: &User) -> Result<Outputs, Failure> {
    let config: Config = config::all()?;
    let account = http::post(config.accounts_url).bearer("ACCOUNTS_KEY").json(user)?;
    let mail = http::post(config.mail_url).bearer("MAIL_KEY").json(&json!({
        "from": config.mail_from,
        "to": user.email,
        "subject": format!("Welcome, {}!", user.name),
        "template": "welcome",
    }))?;
    log::info!(user = user.id, "signing up");
    http::send_each(event, [("account.create", account), ("mail.welcome", mail)])
}

#[cfg(test)]
mod tests;
