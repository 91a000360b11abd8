//! A new user: two systems are asked at the same time, and the one that fails is asked again alone.

use hookweir_event::EventId;

use super::{Chapter, reaching, short};
use crate::cli::demo::{
    ending::{done, done_after},
    outside::Outside,
    page::{Page, same, so},
    sender::Webhook,
    stage::{Stage, named},
    stand_in::Came,
};

/// How long the mail server wants to be left alone, in seconds.
const LEFT_ALONE: u64 = 1;

/// New users, of Clerk and of Shopify.
pub(super) struct Signup;

impl Chapter for Signup {
    const TITLE: &'static str =
        "A user signs up: account and mail at the same time, what fails is retried alone";
    const PLUGINS: &'static [&'static str] = &["user-signup"];

    fn config(outside: &Outside) -> String {
        let (accounts, mail) = (outside.accounts.origin(), outside.mail.origin());
        let reaching = reaching("https://accounts.example.com", &[accounts.clone(), mail.clone()]);
        format!(
            r#"
[plugins.user-signup]
{reaching}backoff = "100ms"
config = {{ accounts_url = "{accounts}/v1/users", mail_url = "{mail}/v1/send", mail_from = "hello@example.com" }}

[plugins.user-signup.secrets]   # the gateway puts them into requests; the plugin never sees them
ACCOUNTS_KEY = {{ env = "ACCOUNTS_KEY", hosts = ["{accounts}"] }}
MAIL_KEY = {{ env = "MAIL_KEY", hosts = ["{mail}"] }}
"#
        )
    }

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        stage.outside.mail.be_busy_once(LEFT_ALONE);
        let user = stage.sender.body("user-signup", "clerk.user.created.json")?;
        let user = Webhook::new("clerk", "user.created", "msg_demo_user", &user);
        let answer = stage.sender.send(&user).await?;
        page.tell(format_args!("Clerk sent user.created, signed: {answer}."));
        let again = vec![("mail.welcome", vec![done_after("user-signup", 2..=2)])];
        let signed_up =
            page.expect("a user of Clerk", &answer, vec![done("user-signup")], again)?;
        stage.settled().await?;
        tell_retry(stage, page, signed_up).await?;

        let customer = stage.sender.body("user-signup", "shopify.customers.create.json")?;
        let customer = Webhook::new("shopify", "customers/create", "demo-customer", &customer);
        let answer = stage.sender.send(&customer).await?;
        page.tell(format_args!(
            "Shopify sent customers/create, signed: {answer}. Both servers took it at once."
        ));
        page.expect("a customer of Shopify", &answer, vec![done("user-signup")], vec![])?;
        stage.settle(page).await?;

        let (accounts, mails) = (stage.outside.accounts.came(), stage.outside.mail.came());
        page.check("each of the two has one account", same(statuses(&accounts), vec![201, 201]));
        let retried = same(statuses(&mails), vec![503, 202, 202]).and_then(|()| retried(&mails));
        page.check(
            "the mail that failed was sent by itself, not before Retry-After, as the same request",
            retried,
        );
        let given = |came: &[Came], name: &str| {
            let wanted = format!("Bearer {}", stage.house.secret(name));
            came.iter().all(|came| came.header("authorization") == wanted)
        };
        let right = given(&accounts, "ACCOUNTS_KEY") && given(&mails, "MAIL_KEY");
        page.tell(
            "The plugin wrote no key into its requests, it has none: the gateway put them in.",
        );
        let right = so(right, || "another key, or none, came with a request".into());
        page.check("each server was shown its own key", right);
        Ok(())
    }
}

/// What the two servers said, and what became of that.
async fn tell_retry(stage: &Stage, page: &mut Page, signed_up: EventId) -> Result<(), String> {
    let (accounts, mails) = (stage.outside.accounts.came(), stage.outside.mail.came());
    let [account] = &accounts[..] else {
        return Err(format!("the account server was asked {} times", accounts.len()));
    };
    let [first, second] = &mails[..] else {
        return Err(format!("the mail server was asked {} times", mails.len()));
    };
    page.tell(format_args!(
        "The plugin asked two servers at the same time: the account server said {}, the mail server {}, \
         Retry-After: {LEFT_ALONE}.",
        account.answered, first.answered
    ));
    let outputs = stage.outputs(signed_up).await?;
    let left = outputs.first().ok_or("nothing was left to do")?;
    page.tell(format_args!(
        "The event is done all the same: what is left to do became an event of its own, {} {}.",
        named(left),
        short(left.event.id)
    ));
    page.tell(format_args!(
        "{} ms later the mail server was asked again, and said {}. The account server was not asked again.",
        second.at.since(first.at).as_millis(),
        second.answered
    ));
    Ok(())
}

/// Whether the second request is the first one once more, and came when it was let.
fn retried(mails: &[Came]) -> Result<(), String> {
    let (first, second) = (&mails[0], &mails[1]);
    let key = "idempotency-key";
    same(second.header(key), first.header(key))?;
    so(second.body == first.body, || "its body is another".into())?;
    let waited = second.at.since(first.at).as_millis();
    so(waited >= u128::from(LEFT_ALONE) * 1000, || format!("it came after {waited} ms"))
}

fn statuses(came: &[Came]) -> Vec<u16> {
    came.iter().map(|came| came.answered).collect()
}
