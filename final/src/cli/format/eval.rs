//! Running a template.

use serde_json::Value;

use super::TemplateError;
use super::functions::{call, is_true, text};
use super::parse::{Expr, Node};

pub(super) fn render(
    nodes: &[Node],
    data: &Value,
) -> Result<String, TemplateError> {
    let mut state = State {
        out: String::new(),
        // `$` is the data the whole template was given.
        variables: vec![(String::new(), data.clone())],
    };
    state.all(nodes, data)?;
    Ok(state.out)
}

struct State {
    out: String,
    /// Innermost last.
    variables: Vec<(String, Value)>,
}

impl State {
    fn all(
        &mut self,
        nodes: &[Node],
        dot: &Value,
    ) -> Result<(), TemplateError> {
        // A variable lives until the end of its block.
        let outer = self.variables.len();
        for node in nodes {
            self.one(node, dot)?;
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn one(&mut self, node: &Node, dot: &Value) -> Result<(), TemplateError> {
        match node {
            Node::Text(it) => self.out.push_str(it),
            Node::Print(None, expr) => {
                let value = self.value(expr, dot)?;
                self.out.push_str(&text(&value));
            }
            Node::Print(Some(name), expr) => {
                let value = self.value(expr, dot)?;
                self.variables.push((name.clone(), value));
            }
            Node::If(expr, then, otherwise) => {
                let yes = is_true(&self.value(expr, dot)?);
                self.all(if yes { then } else { otherwise }, dot)?;
            }
            Node::With(name, expr, then, otherwise) => {
                let value = self.value(expr, dot)?;
                if !is_true(&value) {
                    return self.all(otherwise, dot);
                }
                let outer = self.variables.len();
                if let Some(name) = name {
                    self.variables.push((name.clone(), value.clone()));
                }
                self.all(then, &value)?;
                self.variables.truncate(outer);
            }
            Node::Range(names, expr, body, otherwise) => {
                let over = self.value(expr, dot)?;
                self.range(names, &over, body, otherwise, dot)?;
            }
        }
        Ok(())
    }

    fn range(
        &mut self,
        names: &[String],
        over: &Value,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<(), TemplateError> {
        let items = items(over)?;
        if items.is_empty() {
            return self.all(otherwise, dot);
        }
        let outer = self.variables.len();
        for (key, value) in items {
            match names {
                [] => {}
                [one] => self.variables.push((one.clone(), value.clone())),
                [first, second, ..] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), value.clone()));
                }
            }
            self.all(body, &value)?;
            self.variables.truncate(outer);
        }
        Ok(())
    }

    fn value(&self, expr: &Expr, dot: &Value) -> Result<Value, TemplateError> {
        match expr {
            Expr::Literal(value) => Ok(value.clone()),
            Expr::Field(path) => walk(dot, path),
            Expr::Variable(name, path) => {
                let found = self.variables.iter().rev();
                let (_, value) = found
                    .clone()
                    .find(|(it, _)| it == name)
                    .ok_or_else(|| {
                        TemplateError::new(format!(
                            ":1: undefined variable \"${name}\""
                        ))
                    })?;
                walk(value, path)
            }
            Expr::Of(inner, path) => walk(&self.value(inner, dot)?, path),
            Expr::Method(path, arguments) => {
                let arguments = self.values(arguments, dot)?;
                method(dot, path, &arguments)
            }
            Expr::Call(name, arguments) => {
                call(name, &self.values(arguments, dot)?)
            }
        }
    }

    fn values(
        &self,
        all: &[Expr],
        dot: &Value,
    ) -> Result<Vec<Value>, TemplateError> {
        all.iter().map(|it| self.value(it, dot)).collect()
    }
}

/// What `range` walks over: keys (or positions) and values.
fn items(over: &Value) -> Result<Vec<(Value, Value)>, TemplateError> {
    Ok(match over {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, it)| (Value::from(at), it.clone()))
            .collect(),
        Value::Object(fields) => {
            // Go walks over a map in the order of its keys.
            let mut all: Vec<_> = fields
                .iter()
                .map(|(key, it)| (Value::from(key.clone()), it.clone()))
                .collect();
            all.sort_by_key(|(key, _)| text(key));
            all
        }
        Value::Null => Vec::new(),
        other => {
            return Err(TemplateError::new(format!(
                ":1: range can't iterate over {}",
                text(other)
            )));
        }
    })
}

/// People know some fields by the names they have in Docker's Go code:
/// `.ID`, `.Server.APIVersion`. In JSON these are `Id` and `ApiVersion`.
fn json_name(field: &str) -> String {
    field.replace("ID", "Id").replace("API", "Api")
}

/// What Go prints for a key that a map does not have, while a field that a
/// struct does not have is a mistake. JSON does not tell them apart, so
/// these are the maps that people look into.
fn no_value(field: &str) -> Option<&'static Value> {
    const MAPS: [&str; 8] = [
        "Labels",
        "Options",
        "Annotations",
        "Sysctls",
        "Ports",
        "Networks",
        "ExposedPorts",
        "PortBindings",
    ];
    // Printed as `<no value>`, and false to `if`, `with` and `or`.
    MAPS.contains(&field).then_some(&Value::Null)
}

fn walk(from: &Value, path: &[String]) -> Result<Value, TemplateError> {
    let mut value = from;
    for (depth, field) in path.iter().enumerate() {
        let shown = path[..=depth].join(".");
        let missing = || {
            TemplateError::new(format!(
                ":1:2: executing \"\" at <.{shown}>: map has no entry for key \
                 {field:?}"
            ))
        };
        value = match value {
            Value::Object(fields) => fields
                .get(field)
                .or_else(|| fields.get(&json_name(field)))
                .or_else(|| path[..depth].last().and_then(|it| no_value(it)))
                .ok_or_else(missing)?,
            Value::Null => return Ok(Value::Null),
            _ => {
                return Err(TemplateError::new(format!(
                    ":1:2: executing \"\" at <.{shown}>: can't evaluate field \
                     {field} of {}",
                    text(value)
                )));
            }
        };
    }
    Ok(value.clone())
}

/// The one field of Docker's rows that takes an argument: `.Label "key"`,
/// looked up in `Labels`, which is `a=b,c=d`.
fn method(
    dot: &Value,
    path: &[String],
    arguments: &[Value],
) -> Result<Value, TemplateError> {
    if let ([name], [Value::String(key)]) = (path, arguments)
        && name == "Label"
    {
        let labels = walk(dot, &["Labels".to_owned()])?;
        let found = text(&labels)
            .split(',')
            .filter_map(|it| it.split_once('='))
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.to_owned());
        return Ok(found.unwrap_or_default().into());
    }
    Err(TemplateError::new(format!(
        ":1: {} has arguments but is no method",
        path.join(".")
    )))
}
