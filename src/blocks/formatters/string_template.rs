//! Puts values into a text with placeholders.
//!
//! # Inputs and outputs
//! `template` in the manner of Python's `str.format`, names only (see [`template`]); `data`, each
//! value changed by its chain in `data_operations` if it has one → `output`, the text.
//!
//! # State
//! None; a literal template is read once.
//!
//! # Edge cases
//! A literal template that cannot be read or uses undeclared names is refused when the definition
//! is compiled; one that comes from a parameter fails the step. So do specs that do not suit a
//! value, numbers above 10,000 in a spec, and results of more than a million characters.

mod template;

use std::sync::Arc;

use template::Template;

use crate::blocks::query::{Chain, step as query_step};
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::row;
use crate::values::{Dict, kind};

/// `roboflow_core/string_template@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/string_template@v1"],
    name: "String Template",
    family: Family::Formatter,
    stateless: true,
    about: "Puts values into a text with placeholders.",
    fields: &[
        Field::required("template", &[Ty::Selector(&[kind::STRING]), Ty::Str])
            .about("The text, with placeholders such as {name} or {name:.2f}."),
        Field::optional(
            "data",
            &[Ty::Map(&[
                Ty::Selector(&[kind::WILDCARD]),
                Ty::Str,
                Ty::Int,
                Ty::Float,
                Ty::Bool,
            ])],
            "{}",
        )
        .about("The values by name."),
        Field::optional("data_operations", &[Ty::Map(&[Ty::Operations])], "{}")
            .about("Chains that change named values first."),
    ],
    outputs: &[output("output", &[kind::STRING])],
    check: Some(check),
    literal_check: Some(check_template),
    build: |step, _| {
        Ok(Box::new(StringTemplate {
            prepare: query_step::chains(step, "data_operations")?,
            literal: step
                .text("template")
                .and_then(|text| Template::parse(text).ok()),
        }))
    },
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    let declared = query_step::declared(step, "data");
    query_step::chain_problems(step, "data_operations", &declared)
}

fn check_template(step: &Step) -> Vec<StepProblem> {
    let declared = query_step::declared(step, "data");
    let literal = step.text("template").map(Template::parse);
    let checked = literal.map(|parsed| parsed.and_then(|t| t.check_names(&declared)));
    let problem = checked.and_then(Result::err).map(|message| StepProblem {
        field: Some("template"),
        message,
    });
    problem.into_iter().collect()
}

struct StringTemplate {
    prepare: Vec<(Arc<str>, Chain)>,
    literal: Option<Template>,
}

impl Block for StringTemplate {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let none = Dict::new();
        let given = inputs.value("data").as_dict().unwrap_or(&none);
        let data = query_step::prepared(given, &self.prepare, cx)?;
        let rendered = match &self.literal {
            Some(template) => template.render(&data),
            None => Template::parse(inputs.text("template")?).and_then(|template| {
                let declared: Vec<&str> = data.keys().map(|name| &**name).collect();
                template.check_names(&declared)?;
                template.render(&data)
            }),
        };
        Ok(Output::One(row![rendered.map_err(BlockError::Failed)?]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{Host, problems, step, values};
    use crate::values::{Value, python};
    use serde_json::{Value as Json, json};

    fn rendered(text: &str, data: Json) -> Result<String, String> {
        let host = Host::default();
        let fields = json!({"template": "$inputs.t", "data": data});
        let mut block = (BLOCK.build)(&step(&BLOCK, fields), &host.services).unwrap();
        let given = [("template", text.into()), ("data", Value::from_json(&data))];
        let values = values(&BLOCK, &given);
        match block.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default())) {
            Ok(Output::One(row)) => Ok(python::to_str(&row[0])),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn placeholders_are_laid_out_by_their_specs() {
        // Recorded case string_template_format_specs.
        let text = "{s:>{w}}|{s:*^{w}}|{s:.2}|{s:5}|{s:<{w}.1}";
        assert_eq!(
            rendered(text, json!({"s": "abc", "w": 9})).unwrap(),
            "      abc|***abc***|ab|abc  |a        "
        );
        let text = "v={v}, {{literal}} {flag} <{v!r:>5}> {u!a}";
        assert_eq!(
            rendered(text, json!({"v": "x", "flag": true, "u": "é"})).unwrap(),
            "v=x, {literal} True <  'x'> '\\xe9'"
        );
        assert_eq!(rendered("", json!({})).unwrap(), "");
    }

    #[test]
    fn bad_templates_fail_the_step() {
        // Recorded case string_template_error_templates.
        for (text, why) in [
            ("{", "single '{'"),
            ("}", "single '}'"),
            ("{v", "'}' is missing"),
            ("{}", "need names"),
            ("{0}", "need names"),
            ("{v.real}", "attribute or an index"),
            ("{v[0]}", "attribute or an index"),
            ("{u}", "`u`, not declared"),
            ("{v:d}", "Unknown format code 'd' for object of type 'str'"),
            ("{v:99999}", "99999"),
            ("{v!x}", "unknown conversion"),
            ("{v:{w}}", "`w`, not declared"),
        ] {
            let error = rendered(text, json!({"v": "text"})).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let long = rendered(&"{v:10000}".repeat(101), json!({"v": 1})).unwrap_err();
        assert!(long.contains("at most 1000000"), "{long}");
    }

    #[test]
    fn mistakes_of_the_definition_are_found_before_a_frame_runs() {
        let of = |template: &str, operations: Json| {
            problems(
                &BLOCK,
                json!({"template": template, "data": {"v": "$inputs.v"},
                       "data_operations": operations}),
            )
        };
        assert!(of("{v}", json!({"v": [{"type": "ToString"}]})).is_empty());
        assert!(of("{v}", json!({"u": [{"type": "ToString"}]}))[0].contains("`u`"));
        let literal = |template: &str| {
            let fields = json!({"template": template, "data": {"v": "$inputs.v"}});
            check_template(&step(&BLOCK, fields))
                .pop()
                .map(|problem| problem.message)
        };
        assert!(literal("{v}").is_none());
        assert!(literal("{w}").unwrap().contains("`w`"));
        assert!(literal("{").unwrap().contains("cannot be read"));
    }

    #[test]
    fn values_are_changed_first() {
        let host = Host::default();
        let fields = json!({"template": "{v} {n}", "data": {"v": "$inputs.v", "n": 1},
                            "data_operations": {"v": [{"type": "SequenceJoin", "separator": " or "}]}});
        let mut block = (BLOCK.build)(&step(&BLOCK, fields), &host.services).unwrap();
        let data = Value::from_json(&json!({"v": ["tea", "milk"], "n": 1}));
        let values = values(&BLOCK, &[("template", "{v} {n}".into()), ("data", data)]);
        let output = block.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default()));
        match output {
            Ok(Output::One(row)) => assert_eq!(row[0].as_str(), Some("tea or milk 1")),
            other => panic!("{other:?}"),
        }
    }
}
