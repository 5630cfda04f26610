//! The HTTP side: a drop-in for the server that `inference_sdk` talks to, and what a running process
//! tells about itself.
//!
//! One file per family of routes; each has a `routes()` that lists them, and the router, the
//! description (`/openapi.json`) and the page of routes (`/docs`) are made of these lists: there is
//! no route that they do not tell. A handler
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
mod schemas;
mod service;
pub mod streams;
mod table;
#[cfg(test)]
mod tests;
mod traffic;
mod webrtc;
mod workflows;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};

pub use app::{App, ServerSettings};
pub use body::BodyLimits;
pub use listener::{Listening, Server};
pub use process::{Process, RunningStream};
pub use rejection::Rejection;
use table::Description;
pub use table::Route;

/// All routes of a server of workflows, as it is set up.
fn routes(app: &Arc<App>) -> Vec<Route> {
    let settings = &app.settings;
    let mut all = service::routes();
    all.extend(table::with_state(operation::routes(), &app.process));
    all.extend(workflows::routes());
    all.extend(interfaces::routes());
    all.extend(blocks::routes());
    all.extend(infer::routes());
    all.extend(models::routes());
    all.extend(other_models::routes());
    all.extend(pipelines::routes(app.fleet.clone(), settings));
    all.extend(streams::routes(app.fleet.clone()));
    if settings.webrtc.enabled {
        all.extend(webrtc::routes());
    }
    if settings.builder {
        all.extend(builder::routes());
    }
    all.extend(infer::by_version());
    all
}

/// The router of a server of workflows.
pub fn router(app: Arc<App>) -> Router {
    let all = routes(&app);
    let description = Description::of(&all);
    table::router(all)
        .layer(Extension(description))
        .fallback(service::unknown)
        .method_not_allowed_fallback(service::unknown)
        .layer(from_fn_with_state(app.clone(), layers::workspaces))
        .layer(from_fn_with_state(app.clone(), layers::token))
        .layer(layers::browsers(&app.settings.origins))
        .layer(from_fn_with_state(app.clone(), layers::around))
        .with_state(app)
}
