//! The function below an attribute: whether it can be exported at all. Its types are the compiler's to
//! check; what it would say badly is said here.

use proc_macro2::{Ident, TokenStream as Tokens};
use quote::{quote, quote_spanned};
use syn::{FnArg, ItemFn, ReturnType, Safety, Signature, Type, spanned::Spanned};

/// What a function is to be exported as.
pub(crate) struct Role {
    /// The attribute.
    attribute: &'static str,
    /// What it has to look like.
    shape: &'static str,
    /// What it takes, by value.
    takes: &'static str,
    /// What it returns.
    returns: &'static str,
    /// What in `hookweir_sdk::signature` asks that of its types.
    expects: [Option<&'static str>; 2],
}

pub(crate) const PLUGIN: Role = Role {
    attribute: "plugin",
    shape: "a plugin's function is `fn handle(event: Event) -> Result<Outputs, Failure>`",
    takes: "one event",
    returns: "outputs or a failure",
    expects: [Some("takes_event"), Some("returns_outputs")],
};

pub(crate) const API: Role = Role {
    attribute: "api",
    shape: "an api's function is `fn respond(request: Request) -> Result<Response, Failure>`",
    takes: "one request",
    returns: "a response or a failure",
    expects: [Some("takes_request"), Some("returns_response")],
};

pub(crate) const VERIFIER: Role = Role {
    attribute: "verifier",
    shape: "a verifier's function is `fn verify(request: Request) -> Result<Verified, String>`",
    takes: "one request",
    returns: "what is verified, or why it is refused",
    expects: [Some("takes_request"), Some("returns_verified")],
};

pub(crate) const INIT: Role = Role {
    attribute: "init",
    shape: "an init's function is `fn init(config: Config) -> Result<(), String>`, with a type of yours \
            that serde can read",
    takes: "the plugin's config",
    returns: "nothing, or why this version can't go live",
    expects: [None, Some("returns_nothing")],
};

impl Role {
    /// The function, if it has the shape for it.
    pub(crate) fn parse(&self, item: Tokens) -> syn::Result<ItemFn> {
        let span = item.span();
        let Ok(function) = syn::parse2::<ItemFn>(item) else {
            let Self { attribute, shape, .. } = self;
            return Err(syn::Error::new(
                span,
                format!("`#[{attribute}]` goes on a function; {shape}"),
            ));
        };
        self.check(&function.sig)?;
        Ok(function)
    }

    /// That the attribute says nothing: what is granted is said in the gateway's config.
    pub(crate) fn without_arguments(&self, arguments: &Tokens) -> syn::Result<()> {
        if arguments.is_empty() {
            return Ok(());
        }
        let Self { attribute, .. } = self;
        let fault = format!(
            "`#[{attribute}]` takes nothing in brackets: what it may do is said in the gateway's config"
        );
        Err(syn::Error::new(arguments.span(), fault))
    }

    /// Has the compiler ask for the right types, each where it is written.
    pub(crate) fn expectations(&self, signature: &Signature) -> Tokens {
        let takes = signature.inputs.iter().find_map(|argument| match argument {
            FnArg::Typed(typed) => Some(&*typed.ty),
            FnArg::Receiver(_) => None,
        });
        let returns = match &signature.output {
            ReturnType::Type(_, returned) => Some(&**returned),
            ReturnType::Default => None,
        };
        let expects = self.expects.iter().zip([takes, returns]);
        let expects = expects.filter_map(|(expects, found)| {
            let (expects, found) = ((*expects)?, found?);
            let expects = Ident::new(expects, found.span());
            Some(quote_spanned!(found.span()=> ::hookweir_sdk::signature::#expects::<#found>();))
        });
        quote!(const _: () = { #(#expects)* };)
    }

    fn check(&self, signature: &Signature) -> syn::Result<()> {
        let Self { shape, takes, returns, .. } = self;
        let fault = |span: proc_macro2::Span, why: &str| {
            Err(syn::Error::new(span, format!("{why}; {shape}")))
        };
        if let Safety::Unsafe(keyword) = &signature.safety {
            return fault(keyword.span(), "not `unsafe`: what it is given is safe");
        }
        if let Some(keyword) = &signature.asyncness {
            return fault(keyword.span(), "not `async`: an attempt runs from start to end");
        }
        if !signature.generics.params.is_empty() {
            return fault(signature.generics.span(), "no generic parameters");
        }
        let by_value = |argument: &FnArg| match argument {
            FnArg::Typed(typed) => !matches!(*typed.ty, Type::Reference(_)),
            FnArg::Receiver(_) => false,
        };
        if signature.inputs.len() != 1 || !signature.inputs.iter().all(by_value) {
            let why = format!("it takes {takes}, by value");
            return fault(signature.paren_token.span.join(), &why);
        }
        if matches!(signature.output, ReturnType::Default) {
            return fault(signature.ident.span(), &format!("it returns {returns}"));
        }
        Ok(())
    }
}
