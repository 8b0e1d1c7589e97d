use super::*;

/// The help of a command, as it is printed 80 columns wide.
fn help(words: &[&str]) -> String {
    let mut command = Cli::command().term_width(80);
    command.build();
    let mut at = &mut command;
    for word in words {
        at = at.find_subcommand_mut(word).unwrap();
    }
    at.render_help().to_string()
}

#[test]
fn the_definitions_of_all_commands_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_shows_the_commands() {
    insta::assert_snapshot!(help(&[]));
}

#[test]
fn help_of_run_shows_its_flags() {
    insta::assert_snapshot!(help(&["run"]));
}

#[test]
fn help_of_groups_shows_their_verbs() {
    let groups = ["container", "image", "volume", "network", "system"];
    let all: Vec<_> = groups.iter().map(|it| help(&[it])).collect();
    insta::assert_snapshot!(all.join("\n"));
}

fn body(words: &[&str]) -> serde_json::Value {
    let all = ["skiff", "create"].iter().chain(words);
    let cli = Cli::parse_from(all);
    let Command::Container(verb) = cli.command else { panic!("no verb") };
    verb.create_body().unwrap().unwrap()
}

#[test]
fn flags_become_the_request_that_the_docker_command_sends() {
    let mut body = body(&[
        "--name=web",
        "-p",
        "127.0.0.1:8080:80",
        "-e",
        "A=b",
        "-v",
        "data:/data",
        "--memory=100m",
        "--cpus=0.5",
        "--restart",
        "on-failure:3",
        "--cap-drop",
        "net_raw",
        "--mount",
        "type=tmpfs,target=/run",
        "--network",
        "front",
        "--network-alias",
        "w",
        "--health-cmd",
        "true",
        "--ulimit",
        "nofile=64:128",
        "nginx",
        "-g",
        "daemon off;",
    ]);
    // It is that of the terminal in which the test runs.
    body["HostConfig"]["ConsoleSize"] = serde_json::Value::Null;
    insta::assert_json_snapshot!(body);
}

#[test]
fn nothing_behind_the_image_is_a_flag_of_ours() {
    let body = body(&["--entrypoint", "sh", "nginx", "-c", "ls", "--", "-h"]);
    assert_eq!(body["Image"], "nginx");
    assert_eq!(body["Cmd"], serde_json::json!(["-c", "ls", "--", "-h"]));
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let refused = |words: &[&str]| {
        let all = ["skiff", "create"].iter().chain(words);
        match Cli::try_parse_from(all) {
            Err(why) => why.to_string(),
            Ok(Cli { command: Command::Container(verb), .. }) => {
                verb.create_body().unwrap().unwrap_err().to_string()
            }
            Ok(_) => panic!("not a verb"),
        }
    };
    let all = [
        refused(&["--memory=lots", "x"]),
        refused(&["-p", "80:http", "x"]),
        refused(&["--network", "a", "--network", "a", "x"]),
        refused(&["--gpus", "all", "x"]),
        refused(&["--no-healthcheck", "--health-cmd", "a", "x"]),
        refused(&["--ulimit", "nofile=9:3", "x"]),
    ];
    insta::assert_snapshot!(all.join("\n---\n"));
}
