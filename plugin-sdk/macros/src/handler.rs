//! The function below `#[plugin]`: whether it can be a handler at all. Its types are the compiler's
//! to check; what it would say badly is said here.

use proc_macro2::TokenStream as Tokens;
use syn::{FnArg, ItemFn, ReturnType, Signature, Type, spanned::Spanned};

const SHAPE: &str = "a plugin's function is `fn handle(event: Event) -> Result<Outputs, Failure>`";

/// The function, if it has the shape of a handler.
pub(crate) fn parse(item: Tokens) -> syn::Result<ItemFn> {
    let span = item.span();
    let Ok(function) = syn::parse2::<ItemFn>(item) else {
        return Err(syn::Error::new(span, format!("`#[plugin]` goes on a function; {SHAPE}")));
    };
    check(&function.sig)?;
    Ok(function)
}

fn check(signature: &Signature) -> syn::Result<()> {
    let fault =
        |span: proc_macro2::Span, why: &str| Err(syn::Error::new(span, format!("{why}; {SHAPE}")));
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
        return fault(signature.paren_token.span.join(), "it takes one event, by value");
    }
    if matches!(signature.output, ReturnType::Default) {
        return fault(signature.ident.span(), "it returns outputs or a failure");
    }
    Ok(())
}
