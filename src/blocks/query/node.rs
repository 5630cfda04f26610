//! Reading of the JSON of chains and statements, every problem with its path.

use std::cell::RefCell;
use std::fmt;

use serde_json::Value as Json;

use crate::definition::coerce;
use crate::values::Value;

/// Chains and groups may be nested this deep; deeper ones are refused before they can exhaust the
/// stack. JSON texts stop at 128 levels, which is less than this with two levels per group.
const MAX_NESTING: usize = 100;

/// One thing that is wrong with the JSON of a chain or a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseProblem {
    /// Where, such as `[0].filter_operation.statements[1].comparator.type`; empty for the root.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ParseProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "`{path}`: {}", self.message),
        }
    }
}

/// Marks a part that could not be read; its problem is already noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

pub(super) type Read<T> = Result<T, Broken>;

/// A part of the JSON together with its place.
pub(super) struct Node<'a> {
    pub(super) json: &'a Json,
    parent: Option<&'a Node<'a>>,
    place: Place<'a>,
    nesting: usize,
    problems: &'a RefCell<Vec<ParseProblem>>,
}

enum Place<'a> {
    Root,
    Key(&'a str),
    Item(usize),
}

/// Reads a whole JSON value with `read` and returns either the result or all problems.
pub(super) fn read_whole<T>(
    json: &Json,
    read: impl FnOnce(&Node<'_>) -> Read<T>,
) -> Result<T, Vec<ParseProblem>> {
    let problems = RefCell::new(Vec::new());
    let root = Node {
        json,
        parent: None,
        place: Place::Root,
        nesting: 0,
        problems: &problems,
    };
    let result = read(&root);
    let problems = problems.into_inner();
    match result {
        Ok(value) if problems.is_empty() => Ok(value),
        _ => Err(problems),
    }
}

impl<'a> Node<'a> {
    fn child<'b>(&'b self, json: &'b Json, place: Place<'b>) -> Node<'b> {
        Node {
            json,
            parent: Some(self),
            place,
            nesting: self.nesting,
            problems: self.problems,
        }
    }

    /// The same node one level of nesting deeper.
    pub(super) fn nested(&self) -> Read<Node<'_>> {
        if self.nesting >= MAX_NESTING {
            return Err(self.broken(format!("nested deeper than {MAX_NESTING} levels")));
        }
        Ok(Node {
            json: self.json,
            parent: self.parent,
            place: match self.place {
                Place::Root => Place::Root,
                Place::Key(name) => Place::Key(name),
                Place::Item(i) => Place::Item(i),
            },
            nesting: self.nesting + 1,
            problems: self.problems,
        })
    }

    fn write_path(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.write_path(out);
        }
        match self.place {
            Place::Root => {}
            Place::Key(name) if out.is_empty() => out.push_str(name),
            Place::Key(name) => {
                out.push('.');
                out.push_str(name);
            }
            Place::Item(i) => out.push_str(&format!("[{i}]")),
        }
    }

    /// Notes a problem with this part.
    pub(super) fn broken(&self, message: impl Into<String>) -> Broken {
        let mut path = String::new();
        self.write_path(&mut path);
        self.problems.borrow_mut().push(ParseProblem {
            path,
            message: message.into(),
        });
        Broken
    }

    fn wrong(&self, wanted: &str) -> Broken {
        let got = match self.json {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::String(_) => "text",
            Json::Array(_) => "a list",
            Json::Object(_) => "an object",
        };
        self.broken(format!("must be {wanted}, got {got}"))
    }

    /// The field, if it is there.
    pub(super) fn field<'b>(&'b self, name: &'b str) -> Option<Node<'b>> {
        let json = self.json.as_object()?.get(name)?;
        Some(self.child(json, Place::Key(name)))
    }

    /// The field, which must be there.
    pub(super) fn need<'b>(&'b self, name: &'b str) -> Read<Node<'b>> {
        match self.json {
            Json::Object(_) => self.field(name).ok_or_else(|| {
                self.child(&Json::Null, Place::Key(name))
                    .broken("field required")
            }),
            _ => Err(self.wrong("an object")),
        }
    }

    /// Text of the field `type`.
    pub(super) fn tag(&self) -> Read<&'a str> {
        match self.json.get("type") {
            Some(Json::String(text)) => Ok(text),
            _ => Err(self.need("type")?.wrong("text")),
        }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Read<Vec<Node<'_>>> {
        match self.json {
            Json::Array(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(i, json)| self.child(json, Place::Item(i)))
                .collect()),
            _ => Err(self.wrong("a list")),
        }
    }

    /// A whole number; `2.0`, `"2"`, `"2.0"` and booleans count as ones.
    pub(super) fn int(&self) -> Read<i64> {
        coerce::int(self.json).map_err(|_| self.wrong("a whole number"))
    }

    /// A number; numeric text and booleans count as ones.
    pub(super) fn float(&self) -> Read<f64> {
        let number = match self.json {
            Json::Bool(b) => Some(f64::from(u8::from(*b))),
            Json::Number(n) => n.as_f64(),
            Json::String(text) => coerce::parse_float(text),
            _ => None,
        };
        number.ok_or_else(|| self.wrong("a number"))
    }

    /// A whole or other number, kept as what it is; whatever else counts as a number becomes one
    /// with a fraction.
    pub(super) fn number(&self) -> Read<Value> {
        match self.json {
            Json::Number(_) => Ok(Value::from_json(self.json)),
            // Text and flags become whole numbers where they can.
            json => match coerce::int(json) {
                Ok(whole) => Ok(Value::Int(whole)),
                Err(_) => self.float().map(Value::Float),
            },
        }
    }

    /// A boolean; 0, 1 and the usual words count as ones.
    pub(super) fn flag(&self) -> Read<bool> {
        coerce::bool(self.json).map_err(|_| self.wrong("true or false"))
    }

    /// Text.
    pub(super) fn text(&self) -> Read<&'a str> {
        self.json.as_str().ok_or_else(|| self.wrong("text"))
    }

    /// An object, as a value.
    pub(super) fn object(&self) -> Read<Value> {
        match self.json {
            Json::Object(_) => Ok(Value::from_json(self.json)),
            _ => Err(self.wrong("an object")),
        }
    }

    /// One of several words, each standing for a value.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Read<T> {
        let text = self.text()?;
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                self.broken(format!("`{text}` is none of {}", known.join(", ")))
            })
    }

    /// What `read` makes of a field, or `default` if the field is not there.
    pub(super) fn or<T>(
        &self,
        name: &str,
        default: T,
        read: impl FnOnce(&Node<'_>) -> Read<T>,
    ) -> Read<T> {
        self.field(name).map_or(Ok(default), |field| read(&field))
    }
}
