//! The HTTP side: a drop-in for the server that `inference_sdk` talks to, and what a running process
//! tells about itself.
//!
//! One file per family of routes; each has a `routes()` that lists them, and the router, the
//! description (`/openapi.json`) and the page of routes (`/docs`) are made of these lists. A handler
//! answers or refuses with a [`Rejection`], which knows status and body. Work that takes time runs in
//! threads of its own, as many at once as there are turns ([`App::work`]).
//!
//! Binds to the address it is given; nothing is bound unless asked for.

mod app;
mod blocks;
mod body;
mod builder;
mod caller;
mod fields;
mod images;
mod infer;
mod interfaces;
mod layers;
pub mod listener;
pub mod logs;
mod metrics;
mod models;
pub mod operation;
mod other_models;
mod picture;
pub mod pipelines;
mod plans;
mod process;
mod rejection;
mod service;
pub mod streams;
mod table;
mod traffic;
mod webrtc;
mod workflows;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;

pub use app::{App, ServerSettings};
pub use body::BodyLimits;
pub use listener::{Listening, Server};
pub use process::{Process, RunningStream};
pub use rejection::Rejection;
pub use table::Route;

/// All routes of a server of workflows.
pub fn routes() -> Vec<Route> {
    [
        service::routes(),
        workflows::routes(),
        interfaces::routes(),
        blocks::routes(),
        infer::routes(),
        models::routes(),
        other_models::routes(),
        webrtc::routes(),
        infer::by_version(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The router of a server of workflows.
pub fn router(app: Arc<App>) -> Router {
    let operation = operation::routes().with_state(app.process.clone());
    let pipelines = pipelines::routes(app.fleet.clone(), &app.settings);
    let shown = streams::routes(app.fleet.clone());
    let mut all = routes();
    if !app.settings.webrtc.enabled {
        all.retain(|route| route.tag != webrtc::TAG);
    }
    if app.settings.builder {
        all.extend(builder::routes());
    }
    table::router(all)
        .merge(operation)
        .merge(pipelines)
        .merge(shown)
        .fallback(service::unknown)
        .method_not_allowed_fallback(service::unknown)
        .layer(from_fn_with_state(app.clone(), layers::workspaces))
        .layer(from_fn_with_state(app.clone(), layers::token))
        .layer(layers::browsers(&app.settings.origins))
        .layer(from_fn_with_state(app.clone(), layers::around))
        .with_state(app)
}
