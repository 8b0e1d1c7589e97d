//! What templates can call: Go's own functions and Docker's additions.

use serde_json::{Map, Value};

use super::TemplateError;

/// More blanks than any screen has; a typo shall not fill the memory.
const WIDEST: i64 = 1000;

/// Calls a function by name.
pub(super) fn call(name: &str, all: &[Value]) -> Result<Value, TemplateError> {
    let wrong = |why: &str| failed(name, why);
    let one = || all.first().ok_or_else(|| wrong("it needs an argument"));
    let string = |at: usize| {
        all.get(at).map(text).ok_or_else(|| wrong("too few arguments"))
    };
    let number = |at: usize| {
        let value = all.get(at).and_then(Value::as_i64);
        value.ok_or_else(|| wrong("a number is missing"))
    };
    Ok(match name {
        "json" => one()?.to_string().into(),
        "upper" => string(0)?.to_uppercase().into(),
        "lower" => string(0)?.to_lowercase().into(),
        "title" => title(&string(0)?).into(),
        "join" => {
            let parts = one()?.as_array().cloned().unwrap_or_default();
            let parts: Vec<_> = parts.iter().map(text).collect();
            parts.join(&string(1)?).into()
        }
        "split" => {
            let (whole, by) = (string(0)?, string(1)?);
            whole.split(&by).map(Value::from).collect()
        }
        "pad" => {
            let blanks = |at| {
                number(at).map(|it| " ".repeat(it.clamp(0, WIDEST) as usize))
            };
            format!("{}{}{}", blanks(1)?, string(0)?, blanks(2)?).into()
        }
        "truncate" => {
            let length = number(1)?.max(0) as usize;
            string(0)?.chars().take(length).collect::<String>().into()
        }
        "println" => format!("{}\n", spaced(all)).into(),
        "print" => all.iter().map(text).collect::<String>().into(),
        "printf" => {
            let format = string(0)?;
            printf(&format, &all[1..]).into()
        }
        _ => return logic(name, all),
    })
}

/// Those that look, compare and decide.
fn logic(name: &str, all: &[Value]) -> Result<Value, TemplateError> {
    let wrong = |why: &str| failed(name, why);
    let one = || all.first().ok_or_else(|| wrong("it needs an argument"));
    Ok(match name {
        "len" => length(one()?).ok_or_else(|| wrong("it has none"))?.into(),
        "index" => index(all).map_err(|why| wrong(&why))?,
        "slice" => slice(all).map_err(|why| wrong(&why))?,
        "not" => (!is_true(one()?)).into(),
        "and" | "or" => and_or(name == "and", all),
        "eq" => {
            let first = one()?;
            all[1..].iter().any(|it| equal(first, it)).into()
        }
        "ne" => (!equal(one()?, all.get(1).unwrap_or(&Value::Null))).into(),
        "lt" | "le" | "gt" | "ge" => {
            compare(name, all).ok_or_else(|| wrong("incompatible types"))?
        }
        _ => {
            return Err(TemplateError::new(format!(
                ":1: function {name:?} not defined"
            )));
        }
    })
}

fn failed(name: &str, why: &str) -> TemplateError {
    TemplateError::new(format!(":1: error calling {name}: {why}"))
}

/// As Go prints values with `%v`.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(it) => it.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(text).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let mut all: Vec<_> = fields
                .iter()
                .map(|(key, it)| format!("{key}:{}", inner(it)))
                .collect();
            all.sort();
            format!("map[{}]", all.join(" "))
        }
        other => other.to_string(),
    }
}

/// A value inside a map. Docker's maps to nothing, such as the exposed
/// ports, have a Go struct without fields there, which prints as `{}`.
fn inner(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        other => text(other),
    }
}

/// Go's truth: not zero, not empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(it) => *it,
        Value::Number(it) => it.as_f64() != Some(0.0),
        other => length(other) != Some(0),
    }
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(it) => Some(it.len()),
        Value::Array(it) => Some(it.len()),
        Value::Object(it) => Some(it.len()),
        _ => None,
    }
}

fn title(words: &str) -> String {
    let mut start = true;
    let mut out = String::new();
    for it in words.chars() {
        match start {
            true => out.extend(it.to_uppercase()),
            false => out.push(it),
        }
        start = it.is_whitespace();
    }
    out
}

fn spaced(all: &[Value]) -> String {
    all.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// `%s`, `%v`, `%d`, `%f`, `%q`, `%%`, with a width or a precision.
fn printf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut rest = format;
    let mut arguments = arguments.iter();
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end =
            rest.find(|it: char| !(it.is_ascii_digit() || "-.".contains(it)));
        let (width, verb) = rest.split_at(end.unwrap_or(rest.len()));
        let Some(kind) = verb.chars().next() else { break };
        rest = &verb[kind.len_utf8()..];
        if kind == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = arguments.next() else {
            out.push_str(&padded("%!(MISSING)", width));
            continue;
        };
        out.push_str(&match (kind, value.as_f64()) {
            ('q', _) => padded(&format!("{:?}", text(value)), width),
            ('f', Some(number)) => fraction(number, width),
            _ => padded(&text(value), width),
        });
    }
    out.push_str(rest);
    out
}

/// `%8.1f`: the precision counts digits behind the point, six if not given.
fn fraction(number: f64, width: &str) -> String {
    let (width, precision) = width.split_once('.').unwrap_or((width, "6"));
    let precision = bounded(precision);
    padded(&format!("{number:.precision$}"), width)
}

fn padded(value: &str, width: &str) -> String {
    let (width, precision) = width.split_once('.').unwrap_or((width, ""));
    let value: String = match precision.parse() {
        Ok(length) => value.chars().take(length).collect(),
        Err(_) => value.to_owned(),
    };
    match width.strip_prefix('-') {
        Some(width) => {
            let width = bounded(width);
            format!("{value:<width$}")
        }
        None => {
            let width = bounded(width);
            format!("{value:>width$}")
        }
    }
}

fn bounded(width: &str) -> usize {
    width.parse::<i64>().unwrap_or(0).clamp(0, WIDEST) as usize
}

fn index(all: &[Value]) -> Result<Value, String> {
    let (first, keys) = all.split_first().ok_or("it needs an argument")?;
    let mut value = first;
    for key in keys {
        value = match (value, key) {
            (Value::Array(items), Value::Number(at)) => at
                .as_u64()
                .and_then(|at| items.get(usize::try_from(at).ok()?))
                .ok_or_else(|| format!("index out of range: {at}"))?,
            (Value::Object(fields), Value::String(key)) => {
                fields.get(key).unwrap_or_else(|| nothing_of(fields))
            }
            (Value::Null, _) => &Value::Null,
            _ => return Err(format!("can't index {}", text(value))),
        };
    }
    Ok(value.clone())
}

/// As in Go, a key that a map does not have gives what is nothing for the
/// map's type: an empty text for labels and the like.
fn nothing_of(map: &Map<String, Value>) -> &'static Value {
    static NO_TEXT: Value = Value::String(String::new());
    match map.values().all(Value::is_string) {
        true => &NO_TEXT,
        false => &Value::Null,
    }
}

fn slice(all: &[Value]) -> Result<Value, String> {
    let bound = |at: usize, default: usize| {
        all.get(at).and_then(Value::as_u64).map_or(default, |it| it as usize)
    };
    match all.first() {
        Some(Value::String(whole)) => whole
            .get(bound(1, 0)..bound(2, whole.len()))
            .map(Value::from)
            .ok_or_else(|| "out of range".to_owned()),
        Some(Value::Array(items)) => items
            .get(bound(1, 0)..bound(2, items.len()))
            .map(|it| Value::from(it.to_vec()))
            .ok_or_else(|| "out of range".to_owned()),
        _ => Err("only lists and strings have slices".to_owned()),
    }
}

/// The first that decides, else the last.
fn and_or(and: bool, all: &[Value]) -> Value {
    let decides = |it: &&Value| is_true(it) != and;
    let found = all.iter().find(decides).or(all.last());
    found.cloned().unwrap_or(Value::Null)
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn compare(name: &str, all: &[Value]) -> Option<Value> {
    let (a, b) = (all.first()?, all.get(1)?);
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?)?,
    };
    Some(Value::from(match name {
        "lt" => order.is_lt(),
        "le" => order.is_le(),
        "gt" => order.is_gt(),
        _ => order.is_ge(),
    }))
}
