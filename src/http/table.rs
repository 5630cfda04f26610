//! The table of routes, from which the router, `/openapi.json` and `/docs` are made.

use std::sync::Arc;

use axum::Router;
use axum::routing::MethodRouter;
use serde_json::{Map, Value, json};

use super::app::App;

/// A parameter of a query: name, type of JSON, what it is for.
pub type Parameter = (&'static str, &'static str, &'static str);

/// What is told of a route.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Family that it is shown under.
    pub tag: &'static str,
    /// Method.
    pub method: &'static str,
    /// Pattern of the path, as axum and OpenAPI write it.
    pub path: &'static str,
    /// What it is for, in a few words.
    pub summary: &'static str,
    query: &'static [Parameter],
    body: Option<Value>,
    media: &'static [&'static str],
    answer: Value,
}

/// A route with what it takes as state.
pub struct Route<S = Arc<App>> {
    /// What is told of it.
    pub entry: Entry,
    handler: MethodRouter<S>,
}

impl<S: Clone> Route<S> {
    /// A route. It answers JSON of any form, and `POST` takes an object, unless it is said otherwise.
    pub fn new(
        tag: &'static str,
        method: &'static str,
        path: &'static str,
        summary: &'static str,
        handler: MethodRouter<S>,
    ) -> Self {
        let entry = Entry {
            tag,
            method,
            path,
            summary,
            query: &[],
            body: (method == "POST").then(|| json!({"type": "object"})),
            media: &["application/json"],
            answer: json!({}),
        };
        Self { entry, handler }
    }

    /// The same with these parameters of the query.
    #[must_use]
    pub fn asks(mut self, query: &'static [Parameter]) -> Self {
        self.entry.query = query;
        self
    }

    /// The same with a body of this schema.
    #[must_use]
    pub fn takes(mut self, schema: Value) -> Self {
        self.entry.body = Some(schema);
        self
    }

    /// The same with an answer of this schema.
    #[must_use]
    pub fn gives(mut self, schema: Value) -> Self {
        self.entry.answer = schema;
        self
    }

    /// The same with an answer of these media types.
    #[must_use]
    pub fn as_media(mut self, media: &'static [&'static str]) -> Self {
        self.entry.media = media;
        self
    }

    /// The same with its state, for a router that has another one.
    pub fn with_state<T>(self, state: S) -> Route<T>
    where
        S: Send + Sync + 'static,
    {
        Route {
            entry: self.entry,
            handler: self.handler.with_state(state),
        }
    }
}

/// These routes with their state.
pub fn with_state<S: Clone + Send + Sync + 'static, T>(
    routes: Vec<Route<S>>,
    state: &S,
) -> Vec<Route<T>> {
    let routes = routes.into_iter();
    routes
        .map(|route| route.with_state(state.clone()))
        .collect()
}

/// A router of these routes.
pub fn router<S: Clone + Send + Sync + 'static>(routes: Vec<Route<S>>) -> Router<S> {
    routes.into_iter().fold(Router::new(), |router, route| {
        router.route(route.entry.path, route.handler)
    })
}

/// What `/openapi.json` and `/docs` answer.
#[derive(Clone, Debug)]
pub struct Description {
    /// OpenAPI 3.1.
    pub openapi: Arc<str>,
    /// The page for people.
    pub page: Arc<str>,
}

impl Description {
    /// Describes routes in their order.
    pub fn of<S>(routes: &[Route<S>]) -> Self {
        let entries: Vec<&Entry> = routes.iter().map(|route| &route.entry).collect();
        Self {
            openapi: openapi(&entries).to_string().into(),
            page: page(&entries).into(),
        }
    }
}

impl Entry {
    fn operation(&self) -> Value {
        let in_path = names(self.path).map(
            |name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}),
        );
        let in_query = self.query.iter().map(|(name, kind, about)| {
            json!({"name": name, "in": "query", "description": about, "schema": {"type": kind}})
        });
        let media = self.media.iter().map(|media| {
            let content = match *media {
                "application/json" => json!({"schema": self.answer}),
                _ => json!({}),
            };
            ((*media).to_owned(), content)
        });
        let mut operation = json!({
            "tags": [self.tag],
            "summary": self.summary,
            "operationId": self.id(),
            "parameters": in_path.chain(in_query).collect::<Value>(),
            "responses": {
                "200": {"description": "The answer", "content": media.collect::<Map<_, _>>()},
                "default": {
                    "description": "Why not",
                    "content": {"application/json": {"schema": {
                        "type": "object",
                        "properties": {"message": {"type": "string"}},
                    }}},
                },
            },
        });
        if let Some(schema) = &self.body {
            operation["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
        }
        operation
    }

    fn id(&self) -> String {
        let words = self.path.split(|c: char| !c.is_ascii_alphanumeric());
        let mut words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        if words.is_empty() || self.path.ends_with('/') {
            words.push("slash");
        }
        format!("{}_{}", self.method.to_lowercase(), words.join("_"))
    }
}

/// The description of these routes in the form of OpenAPI 3.1.
fn openapi(entries: &[&Entry]) -> Value {
    let mut paths = Map::new();
    for entry in entries {
        let path = paths.entry(entry.path).or_insert_with(|| json!({}));
        path[entry.method.to_lowercase()] = entry.operation();
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

/// The page that lists these routes for people.
fn page(entries: &[&Entry]) -> String {
    let mut rows = String::new();
    let mut tag = "";
    for entry in entries {
        if entry.tag != tag {
            tag = entry.tag;
            rows.push_str(&format!("<tr><th colspan=3>{tag}</th></tr>"));
        }
        rows.push_str(&format!(
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td></tr>",
            entry.method, entry.path, entry.summary
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
