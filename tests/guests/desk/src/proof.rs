//! How it verifies: who knows a secret sends it as `x-key`. No MAC, so that the test sees what the border does
//! and not what this does. `x-do` has it misbehave, before it has looked at anything.

use hookweir_sdk::prelude::*;

pub(crate) fn of(request: &Request) -> Result<Verified, String> {
    let header = |name| request.header(name);
    let mut verified = Verified::new(header("x-type").unwrap_or("order.paid"))
        .redact("header:x-key")
        .redact("query:key");
    match header("x-do") {
        Some("loop") => crate::endless(),
        Some("panic") => panic!("on purpose"),
        Some("spin") => crate::busy(30),
        Some("state") => {
            let written = state::set("written", "by a verifier");
            return Err(written.expect_err("a verifier has no state").message().to_owned());
        }
        Some("redact") => verified = verified.redact("somewhere"),
        _ => {}
    }
    if let Some(id) = header("x-id") {
        verified = verified.id(id);
    }
    let given = header("x-key").ok_or("no key")?;
    match request.secrets().any(|secret| secret == given) {
        true => Ok(verified),
        false => {
            let source = request.attribute("source").unwrap_or_default();
            Err(format!("no key of {source}"))
        }
    }
}
