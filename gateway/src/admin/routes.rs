//! The routes, and with each its description and the scope that it wants: none can be added without.
//! What is described is what is enforced: scopes, and which parameters there are.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{Method, Response},
    middleware::{Next, from_fn_with_state},
    response::IntoResponse as _,
    routing::Router,
};
use utoipa::openapi::{
    Content, ContentBuilder, Header, OpenApi, Ref, RefOr, ResponseBuilder,
    path::{Operation, ParameterIn, PathItem},
    schema::{ObjectBuilder, Type},
    security::SecurityRequirement,
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::{
    Caller, Desk, asked,
    document::{self, TOKEN},
    fault::Fault,
};
use crate::config::Scope;

/// The routes so far.
pub(super) struct Routes(OpenApiRouter<Desk>);

/// One operation, as far as it is enforced.
#[derive(Debug)]
struct Operated {
    method: Method,
    scope: Scope,
    /// Its parameters in the query.
    parameters: Vec<String>,
}

impl Routes {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(OpenApiRouter::with_openapi(document::head()))
    }

    /// Adds the routes of one path, for who has this scope.
    pub(super) fn add(self, scope: Scope, routes: UtoipaMethodRouter<Desk>) -> Self {
        let (schemas, mut paths, methods) = routes;
        let mut operated = Vec::new();
        for item in paths.paths.values_mut() {
            for (method, operation) in operations(item) {
                describe(operation, scope);
                let parameters = parameters(operation);
                operated.push(Operated { method, scope, parameters });
            }
        }
        let pass = from_fn_with_state(Arc::<[_]>::from(operated), pass);
        Self(self.0.routes((schemas, paths, methods.route_layer(pass))))
    }

    /// The router, and what it is described by.
    pub(super) fn split(self) -> (Router<Desk>, OpenApi) {
        self.0.split_for_parts()
    }
}

/// Lets through who may do what is asked, and only what is described.
async fn pass(
    State(operated): State<Arc<[Operated]>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    match admit(&operated, request).await {
        Ok(request) => next.run(request).await,
        Err(fault) => fault.into_response(),
    }
}

async fn admit(operated: &[Operated], request: Request) -> Result<Request, Fault> {
    // Whoever may GET may ask for the head alone.
    let asked = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let operated = operated.iter().find(|operated| operated.method == *asked);
    let caller = request.extensions().get::<Caller>();
    let (Some(operated), Some(caller)) = (operated, caller) else {
        return Err(Fault::forbidden(Scope::Admin));
    };
    if caller.scope < operated.scope {
        let (path, needs) = (request.uri().path(), operated.scope);
        tracing::warn!(who = caller.who, client = %caller.client, path, %needs, "refused by the admin API");
        return Err(Fault::forbidden(operated.scope));
    }
    let query = request.uri().query().unwrap_or_default();
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        if !operated.parameters.iter().any(|known| *known == name) {
            return Err(Fault::bad(format_args!("there is no parameter `{name}`")));
        }
    }
    if operated.method == Method::GET {
        return Ok(request);
    }
    let (parts, body) = asked::collect(request).await?;
    Ok(Request::from_parts(parts, Body::from(body)))
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

/// Adds what every operation has: the scope, and the refusals that come before it.
fn describe(operation: &mut Operation, scope: Scope) {
    operation.security = Some(vec![SecurityRequirement::new(TOKEN, [scope.as_str()])]);
    let needs = format!("The token's scope is less than `{scope}`.");
    let mut refusals = vec![
        ("400", "The path, a parameter or the body is none that this takes."),
        ("401", "There is no token, or one that is not known."),
        ("403", needs.as_str()),
        ("421", "The `Host` is no name of this gateway's."),
        ("429", "Too many requests of this address were refused."),
    ];
    if operation.request_body.is_some() {
        refusals.push(("413", "The body is too large."));
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
        "429" => response.header("Retry-After", header(Type::Integer, "Seconds.")).build(),
        _ => response.build(),
    }
}
