//! The query language in schemas: the definitions that operations and statements refer to, and the
//! list of operations and operators.

use serde_json::{Map, Value as Json, json};

use super::query_operators::{COMPARATORS, Operator, TESTS};
use super::query_tables::{Nesting, OPERATIONS, Operation};
use super::{kinds, schema};
use crate::blocks::{Field, Ty};
use crate::values::kind;

/// A list of operations.
pub(super) fn chain() -> Json {
    let names = OPERATIONS.iter().map(|op| (op.name, op.name));
    json!({"items": tagged_union(names), "type": "array"})
}

/// One of several definitions, told apart by the `type` of the object: pairs of a type and its
/// definition.
fn tagged_union(variants: impl Iterator<Item = (&'static str, &'static str)>) -> Json {
    let mut mapping = Map::new();
    let mut definitions: Vec<&str> = Vec::new();
    for (tag, definition) in variants {
        let target = format!("{}{definition}", schema::DEFINITIONS);
        mapping.insert(tag.to_owned(), target.into());
        if !definitions.contains(&definition) {
            definitions.push(definition);
        }
    }
    mapping.sort_keys();
    json!({
        "discriminator": {"mapping": mapping, "propertyName": "type"},
        "oneOf": definitions.into_iter().map(schema::to).collect::<Vec<_>>(),
    })
}

fn of_same_name(names: &[&'static str]) -> Json {
    tagged_union(names.iter().map(|name| (*name, *name)))
}

fn operators(table: &'static [Operator]) -> Json {
    let spelled = table
        .iter()
        .flat_map(|op| op.types.iter().map(|tag| (*tag, op.definition)));
    tagged_union(spelled)
}

/// A definition of the query language by its name.
pub(super) fn definition(name: &str) -> Option<Json> {
    if let Some(operation) = OPERATIONS.iter().find(|op| op.name == name) {
        return Some(operation_schema(operation));
    }
    let mut known = COMPARATORS.iter().chain(TESTS);
    if let Some(operator) = known.find(|op| op.definition == name) {
        return Some(operator_schema(operator));
    }
    statement(name).or_else(|| case(name)).or_else(|| set(name))
}

/// An object whose `type` is one of these, with parameters.
fn tagged(types: &[&str], parameters: Map<String, Json>, required: &[&str]) -> Json {
    let mut tag = schema::one_of(types);
    tag["title"] = "Type".into();
    let mut properties = Map::new();
    properties.insert("type".into(), tag);
    properties.extend(parameters);
    let required: Vec<&str> = ["type"].iter().chain(required).copied().collect();
    json!({"properties": properties, "required": required, "type": "object"})
}

fn with_fields(name: &'static str, fields: &[Field]) -> Json {
    let properties = fields
        .iter()
        .map(|field| (field.name.to_owned(), schema::property(field)))
        .collect();
    let needed = fields.iter().filter(|field| field.default.is_none());
    let required: Vec<&str> = needed.map(|field| field.name).collect();
    tagged(&[name], properties, &required)
}

fn operation_schema(operation: &Operation) -> Json {
    let mut schema = with_fields(operation.name, operation.parameters);
    schema["description"] = operation.about.into();
    schema["input_kind"] = kinds::describe_all(operation.takes);
    schema["output_kind"] = kinds::describe_all(operation.gives);
    match operation.nesting {
        Nesting::Unsaid => {}
        Nesting::Plain => schema["compound"] = false.into(),
        Nesting::Compound(takes, gives) => {
            schema["compound"] = true.into();
            schema["nested_operation_input_kind"] = kinds::describe_all(takes);
            schema["nested_operation_output_kind"] = kinds::describe_all(gives);
        }
    }
    schema
}

fn operator_schema(operator: &Operator) -> Json {
    let mut schema = tagged(operator.types, Map::new(), &[]);
    schema["description"] = operator.about.into();
    let kinds: Vec<Json> = operator
        .kinds
        .iter()
        .map(|of| kinds::describe_all(of))
        .collect();
    schema["operands_kinds"] = kinds.into();
    schema["operands_number"] = operator.operands.into();
    schema["output_kind"] = kinds::describe_all(&[kind::BOOLEAN]);
    schema
}

const OPERANDS: &[&str] = &["StaticOperand", "DynamicOperand"];
const RESULTS: &[&str] = &["StaticCaseResult", "DynamicCaseResult"];
const STATEMENTS: &[&str] = &["BinaryStatement", "UnaryStatement", "StatementGroup"];

/// Operations on an operand; none by default.
const OPERATIONS_FIELD: Field =
    Field::optional("operations", &[Ty::Operations], "[]").silent_default();

fn properties<const N: usize>(entries: [(&str, Json); N]) -> Map<String, Json> {
    entries
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

fn statement(name: &str) -> Option<Json> {
    let negate = || json!({"default": false, "title": "Negate", "type": "boolean"});
    Some(match name {
        "StatementGroup" => {
            let mut operator = schema::to("StatementsGroupsOperator");
            operator["default"] = "or".into();
            let statements =
                json!({"items": of_same_name(STATEMENTS), "minItems": 1, "type": "array"});
            let all = properties([("statements", statements), ("operator", operator)]);
            tagged(&["StatementGroup"], all, &["statements"])
        }
        "BinaryStatement" => {
            let all = properties([
                ("left_operand", of_same_name(OPERANDS)),
                ("comparator", operators(COMPARATORS)),
                ("right_operand", of_same_name(OPERANDS)),
                ("negate", negate()),
            ]);
            let required = ["left_operand", "comparator", "right_operand"];
            tagged(&["BinaryStatement"], all, &required)
        }
        "UnaryStatement" => {
            let all = properties([
                ("operand", of_same_name(OPERANDS)),
                ("operator", operators(TESTS)),
                ("negate", negate()),
            ]);
            tagged(&["UnaryStatement"], all, &["operand", "operator"])
        }
        "StaticOperand" => with_fields(
            "StaticOperand",
            &[Field::required("value", &[Ty::Any]), OPERATIONS_FIELD],
        ),
        "DynamicOperand" => with_fields(
            "DynamicOperand",
            &[
                OPERATIONS_FIELD,
                Field::optional("operand_name", &[Ty::Str], "\"_\""),
            ],
        ),
        _ => return None,
    })
}

fn case(name: &str) -> Option<Json> {
    Some(match name {
        "CasesDefinition" => {
            let cases = json!({"items": schema::to("CaseDefinition"), "type": "array"});
            let all = properties([("cases", cases), ("default", of_same_name(RESULTS))]);
            tagged(&["CasesDefinition"], all, &["cases", "default"])
        }
        "CaseDefinition" => {
            let all = properties([
                ("condition", schema::to("StatementGroup")),
                ("result", of_same_name(RESULTS)),
            ]);
            tagged(&["CaseDefinition"], all, &["condition", "result"])
        }
        "StaticCaseResult" => {
            with_fields("StaticCaseResult", &[Field::required("value", &[Ty::Any])])
        }
        "DynamicCaseResult" => with_fields(
            "DynamicCaseResult",
            &[
                Field::required("parameter_name", &[Ty::Str]),
                Field::optional("operations", &[Ty::Operations, Ty::Null], "null"),
            ],
        ),
        _ => return None,
    })
}

/// A set of texts that parameters name.
fn set(name: &str) -> Option<Json> {
    if name == "StatementsGroupsOperator" {
        return Some(schema::one_of(&["and", "or"]));
    }
    let parameters = OPERATIONS.iter().flat_map(|op| op.parameters);
    let mut types = parameters.flat_map(|field| field.types);
    types.find_map(|ty| match ty {
        Ty::NamedOneOf(known, names) if *known == name => Some(schema::one_of(names)),
        _ => None,
    })
}

/// Every operation and every operator with its kinds.
pub(super) fn description() -> Json {
    let operations = OPERATIONS.iter().map(|op| {
        let (compound, takes, gives) = match op.nesting {
            Nesting::Compound(takes, gives) => (true, Some(takes), Some(gives)),
            Nesting::Plain | Nesting::Unsaid => (false, None, None),
        };
        json!({
            "operation_type": op.name,
            "compound": compound,
            "input_kind": op.takes,
            "output_kind": op.gives,
            "nested_operation_input_kind": takes,
            "nested_operation_output_kind": gives,
            "description": op.about,
        })
    });
    let spelled = COMPARATORS.iter().chain(TESTS);
    let operators = spelled.flat_map(|op| {
        op.types.iter().map(|tag| {
            json!({
                "operator_type": tag,
                "operands_number": op.operands,
                "operands_kinds": op.kinds,
                "description": op.about,
            })
        })
    });
    json!({
        "operations_description": operations.collect::<Vec<_>>(),
        "operators_descriptions": operators.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::{parse_chain, parse_statement};

    /// A value that a parameter takes.
    fn example(field: &Field) -> Json {
        match &field.types[0] {
            Ty::NamedOneOf(_, names) => names[0].into(),
            Ty::Object | Ty::Map(_) => json!({"a": "b"}),
            Ty::Int => 1.into(),
            Ty::Str => "a".into(),
            Ty::Operations => json!([]),
            Ty::Statement => group(json!({"type": "UnaryStatement",
                "operand": {"type": "StaticOperand", "value": 1}, "operator": {"type": "Exists"}})),
            other => panic!("no example of {other:?}"),
        }
    }

    fn group(statement: Json) -> Json {
        json!({"type": "StatementGroup", "statements": [statement]})
    }

    fn call(op: &Operation, change: impl Fn(&mut Json)) -> Json {
        let mut call = json!({"type": op.name});
        for field in op.parameters.iter().filter(|f| f.default.is_none()) {
            call[field.name] = example(field);
        }
        change(&mut call);
        json!([call])
    }

    #[test]
    fn the_table_has_what_the_parser_takes() {
        for op in OPERATIONS {
            let whole = call(op, |_| ());
            assert!(parse_chain(&whole).is_ok(), "{whole}");
            for field in op.parameters.iter().filter(|f| f.default.is_none()) {
                let less = call(op, |c| {
                    c.as_object_mut().unwrap().remove(field.name);
                });
                assert!(parse_chain(&less).is_err(), "{less}");
            }
            for field in op.parameters {
                let Ty::NamedOneOf(_, names) = field.types[0] else {
                    continue;
                };
                for name in names {
                    let named = call(op, |c| c[field.name] = (*name).into());
                    assert!(parse_chain(&named).is_ok(), "{named}");
                }
            }
        }
        assert!(parse_chain(&json!([{"type": "Sum"}])).is_err());
        let operand = json!({"type": "DynamicOperand"});
        for tag in COMPARATORS.iter().flat_map(|op| op.types) {
            let statement = group(json!({"type": "BinaryStatement", "left_operand": operand,
                "comparator": {"type": tag}, "right_operand": operand}));
            assert!(parse_statement(&statement).is_ok(), "{tag}");
        }
        for tag in TESTS.iter().flat_map(|op| op.types) {
            let statement = group(json!({"type": "UnaryStatement", "operand": operand,
                "operator": {"type": tag}}));
            assert!(parse_statement(&statement).is_ok(), "{tag}");
        }
    }

    #[test]
    fn the_table_lists_operations_as_the_specification_does() {
        let all = description();
        let operations = all["operations_description"].as_array().unwrap();
        assert_eq!(operations.len(), 36);
        assert_eq!(operations[14]["operation_type"], "DetectionsFilter");
        assert_eq!(
            operations[14]["nested_operation_input_kind"],
            json!(["detection"])
        );
        assert_eq!(all["operators_descriptions"].as_array().unwrap().len(), 22);
    }
}
