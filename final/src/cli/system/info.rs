//! `info` and `version`.

use clap::Args;
use cli_api::human;
use serde_json::{Value, json};

use crate::cli::context::{Context, NEWEST};
use crate::cli::format::Template;

/// `--format`.
#[derive(Debug, Clone, Args)]
pub(crate) struct FormatArgs {
    /// Print by this template, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl FormatArgs {
    /// Prints `data` as asked; `false` if nothing was asked.
    fn print(&self, data: &Value) -> anyhow::Result<bool> {
        match self.format.as_deref() {
            None => return Ok(false),
            Some("json") => println!("{data}"),
            Some(text) => {
                println!("{}", Template::parse_or_64(text)?.render(data)?);
            }
        }
        Ok(true)
    }
}

/// `version`: ours, and the engine's.
pub(crate) async fn version(
    context: &Context,
    args: FormatArgs,
) -> anyhow::Result<u8> {
    let server: Value = context.client.get("/version").await?;
    let (major, minor) = NEWEST;
    let client = json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": format!("{major}.{minor}"),
        "Os": std::env::consts::OS,
        "Arch": architecture(),
    });
    let both = json!({ "Client": client, "Server": server });
    if args.print(&both)? {
        return Ok(0);
    }
    println!("Client: skiff");
    lines(&client, 1, PLAIN);
    println!("\nServer: {}", text(&server["Platform"]["Name"]));
    let Some(components) = server["Components"].as_array() else {
        lines(&server, 1, PLAIN);
        return Ok(0);
    };
    for part in components {
        println!(" {}:", text(&part["Name"]));
        lines(part, 2, &[("Version", "Version")]);
        lines(&part["Details"], 2, DETAILS);
    }
    Ok(0)
}

const PLAIN: &[(&str, &str)] = &[
    ("Version", "Version"),
    ("API version", "ApiVersion"),
    ("OS", "Os"),
    ("Architecture", "Arch"),
];

const DETAILS: &[(&str, &str)] = &[
    ("API version", "ApiVersion"),
    ("Minimum API", "MinAPIVersion"),
    ("Git commit", "GitCommit"),
    ("Built", "BuildTime"),
    ("OS", "Os"),
    ("Architecture", "Arch"),
    ("Kernel", "KernelVersion"),
];

/// Go's names for architectures, which Docker uses.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn text(it: &Value) -> &str {
    it.as_str().unwrap_or_default()
}

fn lines(from: &Value, indent: usize, fields: &[(&str, &str)]) {
    for (title, key) in fields {
        if let Some(value) = from[*key].as_str().filter(|it| !it.is_empty()) {
            let title = format!("{title}:");
            println!("{:indent$}{title:<18}{value}", "");
        }
    }
}

/// `info`.
pub(crate) async fn info(
    context: &Context,
    args: FormatArgs,
) -> anyhow::Result<u8> {
    let it: Value = context.client.get("/info").await?;
    if args.print(&it)? {
        return Ok(0);
    }
    println!("Client: skiff {}\n\nServer:", env!("CARGO_PKG_VERSION"));
    for (title, path) in FIELDS {
        let value = path.iter().fold(&it, |at, key| &at[*key]);
        let shown = match value {
            Value::Null => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(text).collect();
                items.join(" ")
            }
            Value::Object(fields) => {
                let names: Vec<_> = fields.keys().cloned().collect();
                names.join(" ")
            }
            other => other.to_string(),
        };
        println!(" {title}: {shown}");
        if *title == "Storage Driver" {
            for pair in it["DriverStatus"].as_array().into_iter().flatten() {
                println!("  {}: {}", text(&pair[0]), text(&pair[1]));
            }
        }
    }
    let memory = it["MemTotal"].as_f64().unwrap_or(0.0);
    println!(" Total Memory: {}", human::memory(memory));
    for warning in it["Warnings"].as_array().into_iter().flatten() {
        eprintln!("{}", text(warning));
    }
    Ok(0)
}

/// Titles, and where the values are in the answer.
const FIELDS: &[(&str, &[&str])] = &[
    ("Containers", &["Containers"]),
    ("  Running", &["ContainersRunning"]),
    ("  Paused", &["ContainersPaused"]),
    ("  Stopped", &["ContainersStopped"]),
    ("Images", &["Images"]),
    ("Server Version", &["ServerVersion"]),
    ("Storage Driver", &["Driver"]),
    ("Logging Driver", &["LoggingDriver"]),
    ("Cgroup Driver", &["CgroupDriver"]),
    ("Cgroup Version", &["CgroupVersion"]),
    ("Volume Plugins", &["Plugins", "Volume"]),
    ("Network Plugins", &["Plugins", "Network"]),
    ("Log Plugins", &["Plugins", "Log"]),
    ("Runtimes", &["Runtimes"]),
    ("Default Runtime", &["DefaultRuntime"]),
    ("Init Binary", &["InitBinary"]),
    ("Security Options", &["SecurityOptions"]),
    ("Kernel Version", &["KernelVersion"]),
    ("Operating System", &["OperatingSystem"]),
    ("OSType", &["OSType"]),
    ("Architecture", &["Architecture"]),
    ("CPUs", &["NCPU"]),
    ("Name", &["Name"]),
    ("ID", &["ID"]),
    ("Docker Root Dir", &["DockerRootDir"]),
    ("Debug Mode", &["Debug"]),
    ("Experimental", &["ExperimentalBuild"]),
    ("Registry Mirrors", &["RegistryConfig", "Mirrors"]),
    ("Insecure Registries", &["RegistryConfig", "InsecureRegistryCIDRs"]),
    ("Live Restore Enabled", &["LiveRestoreEnabled"]),
];
