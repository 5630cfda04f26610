//! Definitions that are named: the library is asked for them, and cannot lead astray.

use std::cell::RefCell;

use serde_json::{Value as Json, json};

use super::*;

/// A step that names one.
fn named(name: &str, workflow: &str) -> Json {
    let fields = json!({"workflow_workspace_id": "ws", "workflow_id": workflow, "parameter_bindings": {"b": "$inputs.b"}});
    step(name, BLOCK_TYPE, fields)
}

/// Gives definitions by their ids; notes what it was asked for.
#[derive(Default)]
struct Shelf {
    definitions: Vec<(&'static str, Json)>,
    asked: RefCell<Vec<String>>,
}

impl Shelf {
    fn parse(&self, definition: &Json) -> Result<Document, WorkflowError> {
        let host = InnerWorkflows {
            library: Some(self),
            limits: Limits::default(),
        };
        Document::parse_with(definition, &host)
    }
}

impl Library for Shelf {
    fn definition(&self, reference: &Reference) -> Result<Json, LibraryError> {
        self.asked.borrow_mut().push(reference.to_string());
        let mut known = self.definitions.iter();
        let found = known.find(|(name, _)| reference.workflow == *name);
        found
            .map(|(_, json)| json.clone())
            .ok_or(LibraryError::Failed {
                status: 404,
                reason: "no such workflow".into(),
            })
    }
}

#[test]
fn named_definitions_come_from_the_library() {
    let definition = workflow(
        &["b"],
        json!([named("s", "w"), named("t", "w")]),
        &[("o", "$steps.t.o")],
    );
    let error = refused(&definition);
    assert_eq!(error.class, ErrorClass::WorkflowEnvironmentConfiguration);
    assert_eq!(
        error.context,
        "workflow_compilation | inner_workflow_spec_resolution"
    );
    let shelf = Shelf {
        definitions: vec![("w", plain())],
        ..Shelf::default()
    };
    let document = shelf.parse(&definition).unwrap();
    assert_eq!(names(&document), ["s__e", "t__e"]);
    assert_eq!(shelf.asked.take(), ["ws/w"], "each name is asked for once");
    let of = &document.references[0];
    assert_eq!(
        (of.reference.to_string(), of.hash),
        ("ws/w".into(), DefinitionHash::of(&plain()))
    );
    let mut versioned = named("s", "gone");
    versioned["workflow_version_id"] = json!("3");
    let error = shelf.parse(&around(versioned)).err().unwrap();
    assert_eq!(
        (error.class, error.status()),
        (ErrorClass::WorkflowDefinition, 404)
    );
    assert!(error.message.contains("ws/gone@3"), "{error}");
}

#[test]
fn names_that_lead_back_are_cycles() {
    let shelf = Shelf {
        definitions: vec![
            ("self", around(named("s", "self"))),
            ("a", around(named("s", "b"))),
            ("b", around(named("s", "a"))),
        ],
        ..Shelf::default()
    };
    let root = |id: &str| around(named("s", id));
    let of = |definition: &Json| shelf.parse(definition).err().unwrap().class;
    let cycle = ErrorClass::InnerWorkflowCompositionCycle;
    assert_eq!(
        of(&root("self")),
        cycle,
        "the root is the very definition that it names"
    );
    let other = workflow(&["b"], json!([named("t", "a")]), &[]);
    assert_eq!(of(&other), cycle);
    assert!(shelf.asked.take().len() <= 3);
}

#[test]
fn a_library_cannot_lead_deeper_than_the_limits() {
    let levels = ["l0", "l1", "l2", "l3", "l4", "l5"];
    let mut definitions: Vec<(&'static str, Json)> = levels
        .windows(2)
        .map(|pair| {
            (
                pair[0],
                workflow(&["b"], json!([named(pair[0], pair[1])]), &[]),
            )
        })
        .collect();
    definitions.push(("l5", plain()));
    let shelf = Shelf {
        definitions,
        ..Shelf::default()
    };
    let error = shelf.parse(&around(named("s", "l0"))).err().unwrap();
    assert_eq!(error.class, ErrorClass::InnerWorkflowNestingDepth);
    assert_eq!(shelf.asked.take(), ["ws/l0", "ws/l1", "ws/l2", "ws/l3"]);
    let wide = workflow(
        &["b"],
        (0..8).map(|i| named(&format!("s{i}"), "x")).collect(),
        &[],
    );
    let shelf = Shelf {
        definitions: vec![("wide", wide), ("x", plain())],
        ..Shelf::default()
    };
    let wider = workflow(
        &["b"],
        (0..8).map(|i| named(&format!("s{i}"), "wide")).collect(),
        &[],
    );
    let error = shelf.parse(&wider).err().unwrap();
    assert_eq!(error.class, ErrorClass::InnerWorkflowTotalCount);
}
