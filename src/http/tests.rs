//! The description of routes against the router itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value as Json;

use super::*;
use crate::blocks::Services;
use crate::clock::SystemClock;
use crate::definitions::{DefinitionStore, Settings};
use crate::fleet::{self, Fleet};
use crate::values::deserialise::InputOptions;

fn app(settings: ServerSettings) -> (Arc<App>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Settings::new("http://127.0.0.1:9".parse().unwrap(), folder.path());
    let clock = Arc::new(SystemClock::default());
    let store = Arc::new(DefinitionStore::open(store, clock.clone()).unwrap());
    let services = Services::default();
    let process = Process::new(clock, store.clone(), services.models.clone());
    let fleet = Fleet::start(services.clone(), store, fleet::Settings::default()).unwrap();
    let input = InputOptions::default();
    let app = App::new(
        Arc::new(process),
        services,
        input,
        Arc::new(fleet),
        settings,
    );
    (Arc::new(app), folder)
}

/// `METHOD path` of every route that a router has, as it shows itself to developers.
fn routed(router: &Router) -> BTreeSet<String> {
    let shown = format!("{router:?}");
    // A method router ends with the methods that it allows; paths come after all of them.
    let methods = Regex::new(r#"allow_header: Bytes\(b"([A-Z,]*)"\)"#).unwrap();
    let paths = Regex::new(r#"RouteId\((\d+)\): "([^"]+)""#).unwrap();
    let ids = Regex::new(r"RouteId\((\d+)\): MethodRouter\(").unwrap();
    let by_id = |id: &str| {
        let found = ids.captures_iter(&shown).find(|c| &c[1] == id).unwrap();
        let rest = &shown[found.get(0).unwrap().end()..];
        methods.captures(rest).unwrap()[1].to_owned()
    };
    let paths = paths.captures_iter(&shown);
    // The fallback has a path of axum's own.
    let own = paths.filter(|path| !path[2].contains("__private__"));
    let each = own.flat_map(|path| {
        let allowed = by_id(&path[1]);
        let own = allowed.split(',').filter(|method| *method != "HEAD");
        let own: Vec<String> = own.map(|method| format!("{method} {}", &path[2])).collect();
        own
    });
    each.collect()
}

/// The same of a description.
fn described(description: &Description) -> BTreeSet<String> {
    let told: Json = serde_json::from_str(&description.openapi).unwrap();
    let paths = told["paths"].as_object().unwrap();
    let each = paths.iter().flat_map(|(path, operations)| {
        let methods = operations.as_object().unwrap().keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    each.collect()
}

fn settings(builder: bool, webrtc: bool) -> ServerSettings {
    let mut settings = ServerSettings {
        builder,
        ..ServerSettings::default()
    };
    settings.webrtc.enabled = webrtc;
    settings
}

#[test]
fn every_route_is_described_and_every_description_is_routed() {
    for (builder, webrtc) in [(false, true), (true, true), (true, false)] {
        let (app, _folder) = app(settings(builder, webrtc));
        let description = Description::of(&routes(&app));
        let described = described(&description);
        assert_eq!(routed(&router(app)), described);
        let told: Json = serde_json::from_str(&description.openapi).unwrap();
        let operations = told["paths"].as_object().unwrap().values();
        let ids = operations.flat_map(|path| path.as_object().unwrap().values());
        let ids: BTreeSet<&str> = ids.map(|o| o["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), described.len(), "{ids:?}");
        for route in [
            "POST /workflows/run",
            "POST /definitions/refresh",
            "POST /inference_pipelines/initialise",
            "GET /inference_pipelines/{id}/consume",
            "DELETE /inference_pipelines/{id}/sources/{number}",
            "GET /streams",
            "GET /streams/{id}/preview",
            "GET /{project}/{version}",
        ] {
            assert!(described.contains(route), "{route}");
        }
        let has = |route: &str| described.contains(route);
        assert_eq!(has("POST /initialise_webrtc_worker"), webrtc);
        assert_eq!(has("DELETE /build/api/{id}"), builder);
        for route in &described {
            let (method, path) = route.split_once(' ').unwrap();
            let row = format!("<tr><td>{method}</td><td><code>{path}</code></td>");
            assert!(description.page.contains(&row), "{route}");
        }
    }
}

#[test]
fn pipelines_streams_and_sessions_are_told_with_what_they_take_and_give() {
    let (app, _folder) = app(settings(false, true));
    let description = Description::of(&routes(&app));
    let told: Json = serde_json::from_str(&description.openapi).unwrap();
    let body = |path: &str, method: &str| {
        told["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"].clone()
    };
    let answer = |path: &str| {
        let content = &told["paths"][path]["get"]["responses"]["200"]["content"];
        content.clone()
    };
    let initialise = body("/inference_pipelines/initialise", "post");
    let required = serde_json::json!(["video_configuration", "processing_configuration"]);
    assert_eq!(initialise["required"], required);
    let video = &initialise["properties"]["video_configuration"];
    let filling = &video["properties"]["source_buffer_filling_strategy"]["enum"];
    assert_eq!(filling[1], "DROP_OLDEST");
    let outputs = &initialise["properties"]["millrace"]["properties"]["outputs"]["properties"];
    assert!(outputs["mqtt"].is_object() && outputs["jsonl"].is_object());
    let consume = body("/inference_pipelines/{id}/consume", "get");
    assert!(consume["properties"]["excluded_fields"].is_object());
    let session = body("/initialise_webrtc_worker", "post");
    assert_eq!(session["required"][1], "webrtc_offer");
    let streams = answer("/streams");
    assert!(streams["text/html"].is_object());
    let stream = &streams["application/json"]["schema"]["properties"]["streams"]["items"];
    assert!(stream["properties"]["figures"].is_object());
    assert!(answer("/streams/{id}/picture.jpg")["image/jpeg"].is_object());
    let preview = &told["paths"]["/streams/{id}/preview"]["get"]["parameters"];
    let names = preview.as_array().unwrap().iter().map(|p| &p["name"]);
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["id", "source", "output", "width", "quality", "fps"]
    );
}

/// What a body has to have is what the schema says, and what it may have is read.
#[test]
fn schemas_of_bodies_are_those_that_are_read() {
    let required = schemas::pipeline()["required"].clone();
    let refused = fleet::request::initialise(&serde_json::Map::new(), None, None).unwrap_err();
    let (_, told) = refused.answer();
    for name in required.as_array().unwrap() {
        assert!(told.to_string().contains(name.as_str().unwrap()), "{told}");
    }
    let refused = fleet::request::source(&serde_json::Map::new()).unwrap_err();
    assert!(refused.answer().1.to_string().contains("video_reference"));
}
