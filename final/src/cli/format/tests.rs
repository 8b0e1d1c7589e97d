use proptest::prelude::*;
use serde_json::json;

use super::*;

fn show(template: &str) -> String {
    let data = json!({
        "Name": "web", "Id": "4f1c", "Ports": ["80", "443"], "Empty": [],
        "State": {"Running": true, "Pid": 42, "Error": ""},
        "Labels": "a=b,c=d", "Annotations": {"a": "b"},
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
        "Nothing": null, "Exposed": {"80/tcp": {}},
    });
    Template::parse(template)
        .and_then(|it| it.render(&data))
        .unwrap_or_else(|why| why.to_string())
}

#[test]
fn what_people_type_works() {
    assert_eq!(show("{{.Name}}"), "web");
    assert_eq!(show("{{ .State.Pid }}\\t{{.Id}}"), "42\t4f1c");
    assert_eq!(show("{{json .Ports}}"), r#"["80","443"]"#);
    assert_eq!(
        show("{{.State | json}}"),
        r#"{"Running":true,"Pid":42,"Error":""}"#
    );
    assert_eq!(show("{{join .Ports \", \"}}"), "80, 443");
    assert_eq!(show("{{upper .Name}}{{len .Ports}}"), "WEB2");
    assert_eq!(show("{{.Label \"c\"}}"), "d");
    assert_eq!(show("{{range .Networks}}{{.IPAddress}}{{end}}"), "172.17.0.2");
    assert_eq!(
        show("{{range $k, $v := .Networks}}{{$k}}={{$v.IPAddress}}{{end}}"),
        "bridge=172.17.0.2"
    );
    assert_eq!(
        show("{{(index .Networks \"bridge\").IPAddress}}"),
        "172.17.0.2"
    );
    assert_eq!(show("{{index .Ports 1}}"), "443");
    assert_eq!(show("{{if .State.Running}}up{{else}}down{{end}}"), "up");
    assert_eq!(
        show("{{if eq .Name \"x\"}}1{{else if .Empty}}2{{else}}3{{end}}"),
        "3"
    );
    assert_eq!(show("{{with .State}}{{.Pid}} {{$.Name}}{{end}}"), "42 web");
    assert_eq!(show("{{$x := .Name}}{{$x}}!"), "web!");
    assert_eq!(show("a {{- /* not here */ -}} b {{- 1 -}} c"), "ab1c");
    assert_eq!(show("{{printf \"%-5s|%.1s|%d\" .Name .Id 7}}"), "web  |4|7");
    assert_eq!(show("{{printf \"%5.1f|%f\" 2.25 1}}"), "  2.2|1.000000");
    assert_eq!(show("{{index .Annotations \"zz\"}}|"), "|");
    assert_eq!(show("{{index .Networks \"zz\"}}"), "<no value>");
    assert_eq!(show("{{and true .Empty}}{{or .Empty .Name}}"), "[]web");
    assert_eq!(show("{{range .Empty}}x{{else}}none{{end}}"), "none");
    assert_eq!(show("{{.ID}}"), "4f1c");
    assert_eq!(show("{{.Exposed}}"), "map[80/tcp:{}]");
    assert_eq!(show("{{.}}").get(..9), Some("map[Annot"));
}

#[test]
fn a_key_that_a_map_does_not_have_is_false() {
    let foo = |how: &str| show(&how.replace("FOO", ".Networks.foo"));
    assert_eq!(foo("{{FOO}}"), "<no value>");
    assert_eq!(foo("{{if FOO}}yes{{else}}no{{end}}"), "no");
    assert_eq!(foo("{{with FOO}}{{.IPAddress}}{{else}}none{{end}}"), "none");
    assert_eq!(foo("{{or FOO \"dflt\"}}"), "dflt");
    assert_eq!(foo("{{json FOO}}"), "null");
}

#[test]
fn mistakes_are_named() {
    let all = [
        "{{.Nmae}}",
        "{{.Name",
        "{{foo .Name}}",
        "{{if .Name}}x",
        "{{end}}",
        "{{index .Ports 7}}",
        "{{.Name | 3}}",
    ];
    insta::assert_snapshot!(all.map(show).join("\n"));
}

proptest! {
    #[test]
    fn no_template_makes_us_panic(
        text in r#"(\{\{|\}\}|\.|\$|[a-z ]|"|`|\(|\)|\||-|if |end|range |eq |printf |slice |[0-9]){0,30}"#
    ) {
        let _ = show(&text);
        let _ = show(&format!("{{{{{text}}}}}"));
    }
}
