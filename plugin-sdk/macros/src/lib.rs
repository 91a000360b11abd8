//! The attribute macros of `hookweir-sdk`, which re-exports and documents them. Each makes an export of
//! a function.
//!
//! `#[plugin]` checks at compile time what can be checked there: that its patterns are patterns and
//! that the function can be a handler. What it cannot know (which plugins and sources there are)
//! the gateway checks when it loads the plugin.
#![forbid(unsafe_code)]

mod handler;
mod pattern;
mod wants;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;

use crate::handler::{API, INIT, PLUGIN, Role, VERIFIER};

/// Makes a function the plugin's handler; see `hookweir_sdk::plugin`.
#[proc_macro_attribute]
pub fn plugin(arguments: TokenStream, item: TokenStream) -> TokenStream {
    or_fault(item, |item| expand(arguments.into(), item))
}

/// Makes a function the plugin's api; see `hookweir_sdk::api`.
#[proc_macro_attribute]
pub fn api(arguments: TokenStream, item: TokenStream) -> TokenStream {
    or_fault(item, |item| expand_plain(&API, &quote!(__export_api), &arguments.into(), item))
}

/// Makes a function the plugin's verifier; see `hookweir_sdk::verifier`.
#[proc_macro_attribute]
pub fn verifier(arguments: TokenStream, item: TokenStream) -> TokenStream {
    or_fault(item, |item| {
        expand_plain(&VERIFIER, &quote!(__export_verifier), &arguments.into(), item)
    })
}

/// Makes a function the plugin's init; see `hookweir_sdk::init`.
#[proc_macro_attribute]
pub fn init(arguments: TokenStream, item: TokenStream) -> TokenStream {
    or_fault(item, |item| expand_plain(&INIT, &quote!(__export_init), &arguments.into(), item))
}

fn or_fault(item: TokenStream, expand: impl FnOnce(Tokens) -> syn::Result<Tokens>) -> TokenStream {
    let item = Tokens::from(item);
    match expand(item.clone()) {
        Ok(tokens) => tokens.into(),
        // The function stays, so that its own faults are reported too.
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#item #error).into()
        }
    }
}

/// The function as it was, its export, and what it wants.
fn expand(arguments: Tokens, item: Tokens) -> syn::Result<Tokens> {
    let wants = syn::parse2::<wants::Wants>(arguments);
    let handler = PLUGIN.parse(item);
    let (wants, handler) = match (wants, handler) {
        (Ok(wants), Ok(handler)) => (wants, handler),
        (Err(mut first), Err(second)) => {
            first.combine(second);
            return Err(first);
        }
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let (name, expectations) = (&handler.sig.ident, PLUGIN.expectations(&handler.sig));
    let section = syn::LitByteStr::new(wants.to_json().as_bytes(), name.span());
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "the host hands the event over")]
        #handler

        #expectations
        ::hookweir_sdk::__export!(#name, #section);
    })
}

/// The function as it was, and its export by a macro of the SDK's.
fn expand_plain(
    role: &Role,
    export: &Tokens,
    arguments: &Tokens,
    item: Tokens,
) -> syn::Result<Tokens> {
    role.without_arguments(arguments)?;
    let function = role.parse(item)?;
    let (name, expectations) = (&function.sig.ident, role.expectations(&function.sig));
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "the host hands it over")]
        #function

        #expectations
        ::hookweir_sdk::#export!(#name);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler() -> Tokens {
        quote!(
            fn handle(event: Event) -> Result<Outputs, Failure> {
                Ok(outputs![])
            }
        )
    }

    /// All that the compiler would say, one line each.
    fn said(arguments: Tokens, item: Tokens) -> String {
        match expand(arguments, item) {
            Ok(_) => String::new(),
            Err(all) => all.into_iter().map(|e| e.to_string()).collect::<Vec<_>>().join("\n"),
        }
    }

    #[test]
    fn the_section_holds_what_was_asked_for() {
        let arguments = quote!(
            subscribe = ["stripe/payment_intent.*", "plugin.github/*"],
            http = ["https://api.example.com"],
            secrets = ["API_KEY"]
        );
        let wants: wants::Wants = syn::parse2(arguments.clone()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&wants.to_json()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "sdk": env!("CARGO_PKG_VERSION"),
                "subscribe": ["stripe/payment_intent.*", "plugin.github/*"],
                "http": ["https://api.example.com"],
                "secrets": ["API_KEY"],
            })
        );
        assert!(expand(arguments, handler()).unwrap().to_string().contains("__export"));
    }

    #[test]
    fn faults_in_the_arguments_say_what_to_do() {
        let cases = [
            (
                quote!(),
                "`subscribe` is missing: say which events this plugin handles, as in \
                 `#[plugin(subscribe = [\"github/push\"])]`",
            ),
            (
                quote!(subscribe = []),
                "`subscribe` is empty: name at least one pattern, such as \"github/push\"",
            ),
            (
                quote!(subscribe = "github/push"),
                "`subscribe` is a list of strings: write `subscribe = [\"…\"]`",
            ),
            (
                quote!(subscribe = ["a/b"], subscribe = ["a/c"]),
                "`subscribe` is given twice: put all of it into one list",
            ),
            (
                quote!(subscribe = ["a/b"], htp = ["https://x.example"]),
                "unknown key `htp`; did you mean `http`?",
            ),
            (
                quote!(subscribe = ["a/b"], colour = ["red"]),
                "unknown key `colour`; there are `subscribe`, `http` and `secrets`",
            ),
            (
                quote!(subscribe = ["a/b"], http = ["https://x.example/path"]),
                "`https://x.example/path` is not an origin: write `https://host` or \
                 `https://host:port`, without a path",
            ),
            (
                quote!("github/push"),
                "expected identifier: write what it wants as in `#[plugin(subscribe = [\"github/push\"])]`",
            ),
            (
                quote!(subscribe("github/push")),
                "expected `=`: write what it wants as in `#[plugin(subscribe = [\"github/push\"])]`",
            ),
            (
                quote!(subscribe = ["a/b"], my::http = ["https://x.example"]),
                "unknown key `my::http`; there are `subscribe`, `http` and `secrets`",
            ),
            (
                quote!(subscribe = ["a/b"], secrets = ["api key"]),
                "`api key` is not the name of a secret: use A-Z, a-z, 0-9, `_` and `-`",
            ),
        ];
        for (arguments, expected) in cases {
            assert_eq!(said(arguments, handler()), expected);
        }
    }

    #[test]
    fn all_faults_are_said_at_once() {
        let all = said(
            quote!(subscribe = ["push", "A/b"], nonsense = []),
            quote!(
                struct S;
            ),
        );
        assert_eq!(all.lines().count(), 4, "{all}");
    }

    #[test]
    fn faults_in_the_function_show_the_right_one() {
        let shape = "a plugin's function is `fn handle(event: Event) -> Result<Outputs, Failure>`";
        let cases = [
            (
                quote!(
                    struct S;
                ),
                format!("`#[plugin]` goes on a function; {shape}"),
            ),
            (
                quote!(
                    async fn handle(event: Event) -> Result<Outputs, Failure> {}
                ),
                format!("not `async`: an attempt runs from start to end; {shape}"),
            ),
            (
                // As text: code of this crate has no such word.
                "unsafe fn handle(event: Event) -> Result<Outputs, Failure> {}".parse().unwrap(),
                format!("not `unsafe`: what it is given is safe; {shape}"),
            ),
            (
                quote!(
                    fn handle<T>(event: Event) -> Result<Outputs, Failure> {}
                ),
                format!("no generic parameters; {shape}"),
            ),
            (
                quote!(
                    fn handle() -> Result<Outputs, Failure> {}
                ),
                format!("it takes one event, by value; {shape}"),
            ),
            (
                quote!(
                    fn handle(event: &Event) -> Result<Outputs, Failure> {}
                ),
                format!("it takes one event, by value; {shape}"),
            ),
            (
                quote!(
                    fn handle(event: Event) {}
                ),
                format!("it returns outputs or a failure; {shape}"),
            ),
        ];
        for (item, expected) in cases {
            assert_eq!(said(quote!(subscribe = ["a/b"]), item), expected);
        }
    }

    #[test]
    fn the_other_attributes_show_their_own_shape() {
        let said = |role: &Role, arguments: Tokens, item: Tokens| match expand_plain(
            role,
            &quote!(__export),
            &arguments,
            item,
        ) {
            Ok(tokens) => tokens.to_string(),
            Err(error) => error.to_string(),
        };
        let respond = quote!(
            fn respond(request: Request) -> Result<Response, Failure> {}
        );
        assert!(said(&API, quote!(), respond.clone()).contains("__export"));
        assert_eq!(
            said(&API, quote!(public), respond),
            "`#[api]` takes nothing in brackets: what it may do is said in the gateway's config"
        );
        let borrowed = quote!(
            fn verify(request: &Request) -> Result<Verified, String> {}
        );
        assert_eq!(
            said(&VERIFIER, quote!(), borrowed),
            "it takes one request, by value; a verifier's function is \
             `fn verify(request: Request) -> Result<Verified, String>`"
        );
        let silent = quote!(
            fn init(config: Config) {}
        );
        assert_eq!(
            said(&INIT, quote!(), silent),
            "it returns nothing, or why this version can't go live; an init's function is \
             `fn init(config: Config) -> Result<(), String>`, with a type of yours that serde can read"
        );
    }
}
