//! The routes, and with each its description and the scope that it wants: none can be added without.
//! What is described is what is enforced: scopes, and which parameters there are.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{Method, Response, Uri},
    middleware::{Next, from_fn_with_state},
    response::IntoResponse as _,
    routing::Router,
};
use hookweir_event::REDACTED;
use serde_json::{Map, Value};
use utoipa::openapi::{
    Content, ContentBuilder, Header, Object, OpenApi, Ref, RefOr, Required, ResponseBuilder,
    Schema,
    path::{Operation, ParameterIn, PathItem},
    request_body::RequestBody,
    schema::{ObjectBuilder, Type},
    security::SecurityRequirement,
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::{
    Caller, Desk, asked,
    audit::{Audit, Begun, Wish, brief, brief_text},
    document::{self, TOKEN},
    fault::{Code, Fault},
};
use crate::config::Scope;

/// The routes so far.
pub(super) struct Routes {
    router: OpenApiRouter<Desk>,
    audit: Audit,
}

/// Who stands before the routes of one path.
#[derive(Debug)]
struct Gate {
    /// The path, with the places of its names.
    path: String,
    operated: Vec<Operated>,
    audit: Audit,
}

/// One operation, as far as it is enforced.
#[derive(Debug)]
struct Operated {
    method: Method,
    scope: Scope,
    /// What it is called.
    verb: String,
    /// Its parameters in the query.
    parameters: Vec<String>,
    /// The fields of its body that the audit log may have.
    fields: Vec<String>,
    /// Whether its body has others, which are secret.
    has_secrets: bool,
}

/// On a request whose body has secrets: what is wrong with it is said without quoting it.
#[derive(Debug, Clone, Copy)]
pub(super) struct HasSecrets;

impl Routes {
    /// None yet.
    pub(super) fn new(audit: Audit) -> Self {
        Self { router: OpenApiRouter::with_openapi(document::head()), audit }
    }

    /// Adds the routes of one path, for who has this scope.
    pub(super) fn add(self, scope: Scope, routes: UtoipaMethodRouter<Desk>) -> Self {
        let (schemas, mut paths, methods) = routes;
        let path = paths.paths.keys().next().cloned().unwrap_or_default();
        let mut gate = Gate { path, operated: Vec::new(), audit: self.audit.clone() };
        for item in paths.paths.values_mut() {
            for (method, operation) in operations(item) {
                describe(operation, &method, scope);
                // Nothing is as good as an object of which nothing is required.
                let optional = bodies(operation, &schemas).all(|object| object.required.is_empty());
                if let (true, Some(RefOr::T(body))) = (optional, &mut operation.request_body) {
                    body.required = Some(Required::False);
                }
                let verb = operation.operation_id.clone().unwrap_or_default();
                let parameters = parameters(operation);
                let (secrets, fields): (Vec<_>, _) =
                    fields(operation, &schemas).partition(|(_, is_secret)| *is_secret);
                gate.operated.push(Operated {
                    method,
                    scope,
                    verb,
                    parameters,
                    fields: fields.into_iter().map(|(name, _)| name).collect(),
                    has_secrets: !secrets.is_empty(),
                });
            }
        }
        let pass = from_fn_with_state(Arc::new(gate), pass);
        let router = self.router.routes((schemas, paths, methods.route_layer(pass)));
        Self { router, ..self }
    }

    /// The router, and what it is described by.
    pub(super) fn split(self) -> (Router<Desk>, OpenApi) {
        self.router.split_for_parts()
    }
}

/// Lets through who may do what is asked, and only what is described. A change is written down first, and
/// how it ended before that is answered.
async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response<Body> {
    match gate.admit(request).await {
        Ok((request, None)) => next.run(request).await,
        Ok((request, Some(begun))) => {
            let response = next.run(request).await;
            let code = response.extensions().get().map(|Code(code)| *code);
            gate.audit.end(begun, response.status().as_u16(), code).await;
            response
        }
        Err(fault) => fault.into_response(),
    }
}

impl Operated {
    /// Whether the audit log has what this field of its body says. Beside a secret it has no texts: one could
    /// have been meant for that.
    fn shows(&self, name: &str, value: &Value) -> bool {
        let is_plain = !(value.is_string() || value.is_array() || value.is_object());
        self.fields.iter().any(|field| field == name) && (is_plain || !self.has_secrets)
    }
}

impl Gate {
    async fn admit(&self, request: Request) -> Result<(Request, Option<Begun>), Fault> {
        // Whoever may GET may ask for the head alone.
        let head = request.method() == Method::HEAD;
        let asked = if head { &Method::GET } else { request.method() };
        let operated = self.operated.iter().find(|operated| operated.method == *asked);
        let caller = request.extensions().get::<Caller>().cloned();
        let (Some(operated), Some(caller)) = (operated, caller) else {
            return Err(Fault::forbidden(Scope::Admin));
        };
        if caller.scope < operated.scope {
            let (path, needs) = (request.uri().path(), operated.scope);
            let Caller { who, client, .. } = caller;
            tracing::warn!(who, %client, path, %needs, "refused by the admin API");
            return Err(Fault::forbidden(operated.scope));
        }
        let query = request.uri().query().unwrap_or_default();
        for (name, _) in form_urlencoded::parse(query.as_bytes()) {
            if !operated.parameters.iter().any(|known| *known == name) {
                return Err(Fault::bad(format_args!("there is no parameter `{name}`")));
            }
        }
        // What changes nothing is asked with POST as well, where it takes a body to ask.
        if operated.method == Method::GET || operated.scope == Scope::Read {
            return Ok((request, None));
        }
        let (mut parts, body) = asked::collect(request).await?;
        if operated.has_secrets {
            parts.extensions.insert(HasSecrets);
        }
        let begun = self.audit.begin(&caller, self.wish(operated, &parts.uri, &body)).await?;
        Ok((Request::from_parts(parts, Body::from(body)), Some(begun)))
    }

    /// What the audit log has of it. A body that can't be read is refused later, and is not quoted; nor is a field
    /// that is none: it could be a secret's, misspelt.
    fn wish(&self, operated: &Operated, uri: &Uri, body: &[u8]) -> Wish {
        let places = self.path.split('/').zip(uri.path().split('/'));
        let names = places.filter(|(place, _)| place.starts_with('{')).map(|(_, name)| name);
        let object = names.collect::<Vec<_>>().join("/");
        let mut said: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        for (name, value) in &mut said {
            if !operated.shows(name, value) {
                *value = REDACTED.into();
            }
        }
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            said.insert(name.into_owned(), value.into_owned().into());
        }
        let parameters = brief(said);
        let object = Some(brief_text(&object)).filter(|object| !object.is_empty());
        Wish { verb: operated.verb.clone(), object, parameters }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let all = [
        (Method::GET, get),
        (Method::PUT, put),
        (Method::POST, post),
        (Method::DELETE, delete),
        (Method::PATCH, patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn parameters(operation: &Operation) -> Vec<String> {
    let all = operation.parameters.iter().flatten();
    let name = |parameter: &RefOr<_>| match parameter {
        RefOr::T(utoipa::openapi::path::Parameter { name, parameter_in, .. }) => {
            (*parameter_in == ParameterIn::Query).then(|| name.clone())
        }
        RefOr::Ref(_) => None,
    };
    all.filter_map(name).collect()
}

/// The objects that a body may be.
fn bodies<'s>(
    operation: &'s Operation,
    schemas: &'s [(String, RefOr<Schema>)],
) -> impl Iterator<Item = &'s Object> {
    let content = match &operation.request_body {
        Some(RefOr::T(RequestBody { content, .. })) => Some(content),
        _ => None,
    };
    let named = |reference: &Ref| {
        let name = reference.ref_location.rsplit('/').next()?;
        schemas.iter().find(|(known, _)| known == name).map(|(_, schema)| schema)
    };
    let schema = move |content: &'s RefOr<Content>| match content {
        RefOr::T(Content { schema: Some(RefOr::Ref(reference)), .. }) => named(reference),
        RefOr::T(Content { schema, .. }) => schema.as_ref(),
        RefOr::Ref(_) => None,
    };
    content.into_iter().flat_map(|content| content.values()).filter_map(schema).filter_map(
        |schema| match schema {
            RefOr::T(Schema::Object(object)) => Some(object),
            _ => None,
        },
    )
}

/// The fields of a body, and whether they are `#[schema(write_only)]`: what is given and never shown.
fn fields<'s>(
    operation: &'s Operation,
    schemas: &'s [(String, RefOr<Schema>)],
) -> impl Iterator<Item = (String, bool)> + use<'s> {
    let is_secret = |field: &RefOr<Schema>| match field {
        RefOr::T(Schema::Object(object)) => object.write_only == Some(true),
        _ => false,
    };
    let fields = bodies(operation, schemas).flat_map(|object| &object.properties);
    fields.map(move |(name, field)| (name.clone(), is_secret(field)))
}

/// Adds what every operation has: the scope, and the refusals that come before it.
fn describe(operation: &mut Operation, method: &Method, scope: Scope) {
    operation.security = Some(vec![SecurityRequirement::new(TOKEN, [scope.as_str()])]);
    let needs = format!("The token's scope is less than `{scope}`.");
    let mut refusals = vec![
        ("400", "The path, a parameter or the body is none that this takes."),
        ("401", "There is no token, or one that is not known."),
        ("403", needs.as_str()),
        ("421", "The `Host` is no name of this gateway's."),
        ("429", "Too many requests of this address were refused, and so is this one."),
    ];
    if operation.request_body.is_some() {
        refusals.push(("413", "The body is too large."));
    }
    if *method != Method::GET && scope != Scope::Read {
        refusals.push(("503", "The audit log can't be written, or the store can't be reached."));
    } else if operation.responses.responses.contains_key("500") {
        refusals.push(("503", "The store can't be reached."));
    }
    for (status, description) in refusals {
        let refusal = || RefOr::T(refusal(status, description));
        operation.responses.responses.entry(status.to_owned()).or_insert_with(refusal);
    }
}

fn refusal(status: &str, description: &str) -> utoipa::openapi::Response {
    let content: Content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Refused"))).build();
    let response = ResponseBuilder::new().description(description);
    let response = response.content("application/json", content);
    let header = |schema: Type, description: &str| {
        let mut header = Header::new(ObjectBuilder::new().schema_type(schema));
        header.description = Some(description.to_owned());
        header
    };
    match status {
        "401" => response.header("WWW-Authenticate", header(Type::String, "`Bearer`.")).build(),
        "429" | "503" => response.header("Retry-After", header(Type::Integer, "Seconds.")).build(),
        _ => response.build(),
    }
}
