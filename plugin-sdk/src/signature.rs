//! What the attributes ask of a function's types, so that the compiler says what to write where one is another.
//! What can't be said of a type alone, the function's own use as an export checks.

use crate::{Event, Failure, Outputs, Request, Response, Verified};

macro_rules! expected {
    ($($name:ident, $function:ident: $type:ty, $message:literal, $label:literal;)*) => {
        $(
            #[diagnostic::on_unimplemented(message = $message, label = $label)]
            pub trait $name {}

            impl $name for $type {}

            pub const fn $function<T: $name>() {}
        )*
    };
}

expected! {
    TakesEvent, takes_event: Event,
        "a plugin's function takes an `Event`, and not `{Self}`", "write `event: Event`";
    TakesRequest, takes_request: Request,
        "this function takes a `Request`, and not `{Self}`", "write `request: Request`";
    ReturnsOutputs, returns_outputs: Result<Outputs, Failure>,
        "a plugin's function returns `Result<Outputs, Failure>`, and not `{Self}`",
        "write `Result<Outputs, Failure>`: outputs are made by `outputs![..]` or `vec![..].into()`, \
         and failures of errors by `.or_retry()?` or `.or_reject()?`";
    ReturnsResponse, returns_response: Result<Response, Failure>,
        "an api's function returns `Result<Response, Failure>`, and not `{Self}`",
        "write `Result<Response, Failure>`";
    ReturnsVerified, returns_verified: Result<Verified, String>,
        "a verifier's function returns `Result<Verified, String>`, and not `{Self}`",
        "write `Result<Verified, String>`";
    ReturnsNothing, returns_nothing: Result<(), String>,
        "an init's function returns `Result<(), String>`, and not `{Self}`",
        "write `Result<(), String>`";
}
