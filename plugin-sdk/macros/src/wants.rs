//! The arguments of `#[plugin(…)]`: what the plugin wants, and the JSON in which it says so.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, ExprLit, Ident, Lit, LitStr, MetaNameValue, Token, punctuated::Punctuated};

use crate::pattern;

const KEYS: [&str; 3] = ["subscribe", "http", "secrets"];

/// What the plugin wants. What it gets is the operator's grant.
#[derive(Default)]
pub(crate) struct Wants {
    subscribe: Vec<String>,
    http: Vec<String>,
    secrets: Vec<String>,
}

impl Wants {
    /// The contents of the custom section `hookweir:wants`.
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!({
            "sdk": env!("CARGO_PKG_VERSION"),
            "subscribe": self.subscribe,
            "http": self.http,
            "secrets": self.secrets,
        })
        .to_string()
    }
}

impl Parse for Wants {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let arguments = Punctuated::<MetaNameValue, Token![,]>::parse_terminated(input);
        let arguments = arguments.map_err(|error| {
            let hint = "write what it wants as in `#[plugin(subscribe = [\"github/push\"])]`";
            syn::Error::new(error.span(), format!("{error}: {hint}"))
        })?;
        let mut faults = Faults::default();
        let mut wants = Self::default();
        let mut seen = Vec::new();
        for argument in &arguments {
            let Some(key) = argument.path.get_ident() else {
                let names = argument.path.segments.iter().map(|segment| segment.ident.to_string());
                let path = names.collect::<Vec<_>>().join("::");
                faults.add(syn::Error::new_spanned(&argument.path, unknown(&path)));
                continue;
            };
            let name = key.to_string();
            if seen.contains(&name) {
                faults.at(key, format!("`{name}` is given twice: put all of it into one list"));
                continue;
            }
            match name.as_str() {
                "subscribe" => wants.subscribe = faults.list(key, &argument.value, pattern::check),
                "http" => wants.http = faults.list(key, &argument.value, origin),
                "secrets" => wants.secrets = faults.list(key, &argument.value, secret),
                other => faults.at(key, unknown(other)),
            }
            if name == "subscribe" && wants.subscribe.is_empty() && faults.0.is_none() {
                faults.at(
                    key,
                    "`subscribe` is empty: name at least one pattern, such as \"github/push\"",
                );
            }
            seen.push(name);
        }
        if !seen.iter().any(|name| name == "subscribe") {
            faults.add(syn::Error::new(
                Span::call_site(),
                "`subscribe` is missing: say which events this plugin handles, as in \
                 `#[plugin(subscribe = [\"github/push\"])]`",
            ));
        }
        faults.0.map_or(Ok(wants), Err)
    }
}

/// All faults, so that one run of the compiler shows them all.
#[derive(Default)]
struct Faults(Option<syn::Error>);

impl Faults {
    fn add(&mut self, fault: syn::Error) {
        match &mut self.0 {
            Some(faults) => faults.combine(fault),
            None => self.0 = Some(fault),
        }
    }

    fn at(&mut self, place: &Ident, fault: impl Into<String>) {
        self.add(syn::Error::new(place.span(), fault.into()));
    }

    /// The strings of a list, each of them checked.
    fn list(
        &mut self,
        key: &Ident,
        value: &Expr,
        check: fn(&str) -> Result<(), String>,
    ) -> Vec<String> {
        let Some(strings) = strings(value) else {
            let fault = format!("`{key}` is a list of strings: write `{key} = [\"…\"]`");
            self.add(syn::Error::new_spanned(value, fault));
            return Vec::new();
        };
        for string in &strings {
            if let Err(fault) = check(&string.value()) {
                self.add(syn::Error::new(string.span(), fault));
            }
        }
        strings.iter().map(LitStr::value).collect()
    }
}

fn strings(value: &Expr) -> Option<Vec<LitStr>> {
    let Expr::Array(list) = value else { return None };
    let string = |element: &Expr| match element {
        Expr::Lit(ExprLit { lit: Lit::Str(string), .. }) => Some(string.clone()),
        _ => None,
    };
    list.elems.iter().map(string).collect()
}

fn unknown(key: &str) -> String {
    let near = KEYS.into_iter().find(|known| strsim::damerau_levenshtein(known, key) <= 2);
    match near {
        Some(known) => format!("unknown key `{key}`; did you mean `{known}`?"),
        None => format!("unknown key `{key}`; there are `subscribe`, `http` and `secrets`"),
    }
}

/// A scheme and a host, perhaps with a port: all that a grant can name. A star stands for any host, or
/// for those below a name.
fn origin(text: &str) -> Result<(), String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = host.map(|host| host.strip_prefix("*.").unwrap_or(host));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    match host {
        Some("*") => Ok(()),
        Some(host) if !host.is_empty() && host.chars().all(allowed) => Ok(()),
        _ => Err(format!(
            "`{text}` is not an origin: write `https://host` or `https://host:port`, without a path"
        )),
    }
}

fn secret(text: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !text.is_empty() && text.chars().all(allowed) {
        return Ok(());
    }
    Err(format!("`{text}` is not the name of a secret: use A-Z, a-z, 0-9, `_` and `-`"))
}
