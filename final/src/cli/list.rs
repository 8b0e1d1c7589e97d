//! Lists: a table for people, IDs for scripts, or whatever `--format` says.

use clap::Args;
use cli_api::table::Table;
use serde_json::{Map, Value};

use super::format::Template;

/// The flags of every list.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ListFlags {
    /// Only IDs or names
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print rows by this template; `table …` gives it a header, `json`
    /// prints whole rows
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) format: Option<String>,
}

/// The fields of one row by the names that templates use.
pub(crate) type Row = Map<String, Value>;

/// Which fields there are: the name in templates, and its header. Fields
/// that no table shows by default have headers, too.
pub(crate) type Headers = &'static [(&'static str, &'static str)];

/// Makes a row out of pairs, in the order in which Go prints them as JSON.
pub(crate) fn row<const N: usize>(mut fields: [(&str, String); N]) -> Row {
    fields.sort_unstable_by_key(|(key, _)| *key);
    fields.into_iter().map(|(key, it)| (key.to_owned(), it.into())).collect()
}

/// Prints rows. `columns` are those of the table for people, the first of
/// which is all that `quiet` shows.
pub(crate) fn print(
    flags: &ListFlags,
    headers: Headers,
    columns: &[&str],
    rows: &[Row],
) -> anyhow::Result<()> {
    print!("{}", show(flags, headers, columns, rows)?);
    Ok(())
}

pub(crate) fn show(
    flags: &ListFlags,
    headers: Headers,
    columns: &[&str],
    rows: &[Row],
) -> anyhow::Result<String> {
    let format = flags.format.as_deref().unwrap_or("table");
    if flags.quiet && format == "table" {
        return Ok(rows
            .iter()
            .map(|row| format!("{}\n", cell(row, columns[0])))
            .collect());
    }
    if format == "json" {
        let line = |row: &Row| escaped(&Value::from(row.clone())) + "\n";
        return Ok(rows.iter().map(line).collect());
    }
    if format == "table" {
        let mut table =
            Table::new(columns.iter().map(|it| header(headers, it)));
        for row in rows {
            table.row(columns.iter().map(|it| cell(row, it)));
        }
        return Ok(table.to_string());
    }
    match format.strip_prefix("table ") {
        Some(template) => aligned(template, headers, rows),
        None => {
            let template = Template::parse(format)?;
            let mut out = String::new();
            for row in rows {
                out.push_str(&template.render(&row.clone().into())?);
                out.push('\n');
            }
            Ok(out)
        }
    }
}

/// `table {{.A}}\t{{.B}}`: the header is the template filled in with the
/// names of the columns; a tab begins a column.
fn aligned(
    template: &str,
    headers: Headers,
    rows: &[Row],
) -> anyhow::Result<String> {
    let template = Template::parse(template)?;
    let names: Map<String, Value> = headers
        .iter()
        .map(|(key, it)| ((*key).to_owned(), Value::from(*it)))
        .collect();
    let mut table = Table::default();
    for row in std::iter::once(&names).chain(rows) {
        let line = template.render(&row.clone().into())?;
        table.row(line.split('\t'));
    }
    Ok(table.to_string())
}

/// As Go writes JSON that may end up in a page of HTML.
pub(crate) fn escaped(json: &Value) -> String {
    let text = json.to_string();
    let text = text.replace('<', "\\u003c").replace('>', "\\u003e");
    text.replace('&', "\\u0026")
}

fn header(headers: Headers, column: &str) -> String {
    let found = headers.iter().find(|(key, _)| *key == column);
    found.map_or(column, |(_, header)| header).to_owned()
}

fn cell(row: &Row, column: &str) -> String {
    match row.get(column) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// Cuts a text in a table to `length` characters, with an ellipsis.
pub(crate) fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let kept: String = text.chars().take(length - 1).collect();
    format!("{kept}…")
}

/// `5 minutes ago`, for a time in RFC 3339 or in seconds since 1970.
pub(crate) fn ago(time: &Value) -> String {
    let time = match time {
        Value::String(text) => text.parse().ok(),
        Value::Number(it) => {
            it.as_i64().and_then(|it| jiff::Timestamp::from_second(it).ok())
        }
        _ => None,
    };
    match time {
        Some(time) => format!("{} ago", cli_api::human::since(time)),
        None => "N/A".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: Headers = &[("ID", "CONTAINER ID"), ("Names", "NAMES")];

    fn show_as(format: Option<&str>, quiet: bool) -> String {
        let rows = [
            row([("ID", "4f1c".to_owned()), ("Names", "web".to_owned())]),
            row([("ID", "5a".to_owned()), ("Names", "database".to_owned())]),
        ];
        let flags = ListFlags { quiet, format: format.map(str::to_owned) };
        show(&flags, HEADERS, &["ID", "Names"], &rows).unwrap()
    }

    #[test]
    fn lists_look_as_dockers_do() {
        insta::assert_snapshot!(show_as(None, false), @r"
        CONTAINER ID   NAMES
        4f1c           web
        5a             database
        ");
        insta::assert_snapshot!(show_as(None, true), @r"
        4f1c
        5a
        ");
        insta::assert_snapshot!(
            show_as(Some("table {{.Names}}\\t{{.ID}}"), false), @r"
        NAMES      CONTAINER ID
        web        4f1c
        database   5a
        ");
        insta::assert_snapshot!(show_as(Some("{{upper .Names}}"), false), @r"
        WEB
        DATABASE
        ");
        insta::assert_snapshot!(show_as(Some("json"), false), @r#"
        {"ID":"4f1c","Names":"web"}
        {"ID":"5a","Names":"database"}
        "#);
    }

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(ellipsis("abcdef", 4), "abc…");
        assert_eq!(ellipsis("abcd", 4), "abcd");
    }
}
