//! `skiff daemon`: opens the engine, listens, and leaves quietly.
//!
//! It may also leave without a word (SIGKILL): containers are held by their
//! shims, so the next daemon finds everything as it is.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Parser;
use cli_api::server::{ApiVersion, Identity, serve};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::activation;
use super::config::{Settings, claim_runtime_dir};
use super::{Engine, listen, logging};
use crate::api;
use crate::rootless;

/// The newest version of Docker's API that is spoken.
pub const API_VERSION: ApiVersion = ApiVersion(1, 51);
/// The oldest.
pub const MIN_API_VERSION: ApiVersion = ApiVersion(1, 24);

/// Runs the daemon until it is told to end. `arguments` are what follows
/// `skiff daemon`.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skiff daemon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    let name = OsString::from("skiff daemon");
    let flags = Settings::parse_from(std::iter::once(name).chain(arguments));
    let mut settings = flags.clone().with_file()?;
    if settings.validate {
        // To the same place as dockerd, whose scripts look there.
        eprintln!("configuration OK");
        return Ok(());
    }
    let log = logging::start(&settings)?;
    claim_runtime_dir()?;
    settings.settle().context("cannot tell the current directory")?;
    let root = settings.data_root();
    std::fs::create_dir_all(&root)
        .with_context(|| format!("cannot make {}", root.display()))?;
    let _lock = lock(&root)?;
    if !rustix::process::geteuid().is_root() {
        let mut rootless = rootless::enter(&root, &settings.exec_root())?;
        rootless.watch();
        settings.rootless = Some(Arc::new(rootless));
    }
    raise_descriptors();
    if let Some(path) = &settings.pidfile {
        let pid = std::process::id().to_string();
        std::fs::write(path, pid)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("skiff-api")
        // 200 clients may each wait in a blocking call.
        .max_blocking_threads(1024)
        .build()
        .context("cannot start the runtime")?;
    let pidfile = settings.pidfile.clone();
    let result = runtime.block_on(answer(settings, &flags, &log));
    if let Some(path) = pidfile {
        let _ = std::fs::remove_file(path);
    }
    // Threads that wait for containers would keep it for ever.
    runtime.shutdown_background();
    result
}

async fn answer(
    settings: Settings,
    flags: &Settings,
    log: &logging::Handle,
) -> anyhow::Result<()> {
    let hosts = settings.hosts();
    // Bound first: a client that started us waits for the socket, and its
    // request then waits in the backlog while the engine opens.
    let listeners = listen::on(&hosts, &settings).await?;
    let handle = tokio::runtime::Handle::current();
    let engine =
        tokio::task::spawn_blocking(move || Engine::open(settings, handle))
            .await??;
    let (stop, stopped) = watch::channel(false);
    let networks = engine.networks.clone();
    for warning in engine.warnings() {
        let warning = warning.trim_start_matches("WARNING: ");
        tracing::warn!("{warning}");
    }
    let identity = Identity {
        server: format!("skiff/{}", env!("CARGO_PKG_VERSION")),
        newest: API_VERSION,
        oldest: MIN_API_VERSION,
    };
    let mut servers = tokio::task::JoinSet::new();
    for listener in listeners {
        let mut stopped = stopped.clone();
        let router = api::router(engine.clone());
        let stop = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        servers.spawn(serve(listener, router, identity.clone(), stop));
    }
    tracing::info!("API listens on {}", hosts.join(", "));
    activation::tell_ready();
    until_the_end(&engine, flags, log).await?;
    stop.send_replace(true);
    // Streams that follow a log or events have no end of their own.
    let patience = std::time::Duration::from_millis(500);
    let _ = tokio::time::timeout(patience, servers.join_all()).await;
    for path in hosts.iter().filter_map(|it| it.strip_prefix("unix://")) {
        let _ = std::fs::remove_file(path);
    }
    // Bridges and rules make no sense while nothing runs.
    tokio::task::spawn_blocking(move || networks.close()).await??;
    Ok(())
}

/// A container can cost half a dozen descriptors (its resolver, its ports),
/// and the usual soft limit is 1024. The hard one is what the administrator
/// allows; a refusal leaves things as they are.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Two daemons on one data root would undo each other's work.
fn lock(root: &Path) -> anyhow::Result<File> {
    let path = root.join("daemon.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "another daemon uses {}; end it, or choose another place with \
             --data-root",
            root.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => Err(error)
            .with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// SIGHUP means "read the settings again", SIGTERM and SIGINT "go".
async fn until_the_end(
    engine: &Arc<Engine>,
    flags: &Settings,
    log: &logging::Handle,
) -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = int.recv() => return Ok(()),
            _ = hup.recv() => {
                if let Err(error) = reload(engine, flags, log) {
                    tracing::error!("{error:#}; all stays as it was");
                }
            }
        }
    }
}

fn reload(
    engine: &Engine,
    flags: &Settings,
    log: &logging::Handle,
) -> anyhow::Result<()> {
    let file = flags.file();
    tracing::info!(
        "Got signal to reload configuration, reloading from: {}",
        file.display()
    );
    let settings = engine.config().reloaded(flags)?;
    log.follow(&settings)?;
    engine.reconfigure(settings);
    tracing::info!("Reloaded configuration");
    Ok(())
}
