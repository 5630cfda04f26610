//! The table of routes, from which the router, `/openapi.json` and `/docs` are made.

use std::sync::Arc;

use axum::Router;
use axum::routing::MethodRouter;
use serde_json::{Map, Value, json};

use super::app::App;

/// A route.
pub struct Route {
    /// Family that it is shown under.
    pub tag: &'static str,
    /// Method.
    pub method: &'static str,
    /// Pattern of the path, as axum and OpenAPI write it.
    pub path: &'static str,
    /// What it is for, in a few words.
    pub summary: &'static str,
    handler: MethodRouter<Arc<App>>,
}

impl Route {
    /// A route.
    pub fn new(
        tag: &'static str,
        method: &'static str,
        path: &'static str,
        summary: &'static str,
        handler: MethodRouter<Arc<App>>,
    ) -> Self {
        Self {
            tag,
            method,
            path,
            summary,
            handler,
        }
    }
}

/// A router of these routes.
pub fn router(routes: Vec<Route>) -> Router<Arc<App>> {
    routes.into_iter().fold(Router::new(), |router, route| {
        router.route(route.path, route.handler)
    })
}

/// The description of these routes in the form of OpenAPI 3.1.
pub fn openapi(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let parameters: Vec<Value> = names(route.path)
            .map(|name| {
                json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
            })
            .collect();
        let mut operation = json!({
            "tags": [route.tag],
            "summary": route.summary,
            "operationId": operation_id(route),
            "parameters": parameters,
            "responses": {
                "200": {"description": "The answer", "content": {"application/json": {}}},
                "default": {
                    "description": "Why not",
                    "content": {"application/json": {"schema": {
                        "type": "object",
                        "properties": {"message": {"type": "string"}},
                    }}},
                },
            },
        });
        if route.method == "POST" {
            operation["requestBody"] =
                json!({"content": {"application/json": {"schema": {"type": "object"}}}});
        }
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        entry[route.method.to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Roboflow Inference Server",
            "description": "millrace: workflows on images over HTTP",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
    })
}

/// Names of the parameters of a pattern.
fn names(path: &str) -> impl Iterator<Item = &str> {
    let segments = path.split('/');
    segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn operation_id(route: &Route) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!("{}_{}", route.method.to_lowercase(), words.join("_"))
}

/// The page that lists these routes for people.
pub fn page(routes: &[Route]) -> String {
    let mut rows = String::new();
    let mut tag = "";
    for route in routes {
        if route.tag != tag {
            tag = route.tag;
            rows.push_str(&format!("<tr><th colspan=3>{tag}</th></tr>"));
        }
        rows.push_str(&format!(
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td></tr>",
            route.method, route.path, route.summary
        ));
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>millrace: routes</title>\
         <style>body{{font:16px system-ui;margin:2em auto;max-width:60em}}td,th{{padding:.2em 1em;\
         text-align:left}}th{{padding-top:1em}}</style><h1>millrace</h1>\
         <p>The same as JSON: <a href=/openapi.json>/openapi.json</a>.</p>\
         <table>{rows}</table>"
    )
}
