//! Is it well?

use clap::Args;
use serde_json::{Map, Value, json};

use super::Body;
use crate::cli::units::nanoseconds;

/// Flags about the health check.
#[derive(Debug, Clone, Args)]
pub(crate) struct HealthFlags {
    /// Command that finds out
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two checks, as 30s
    #[arg(long, value_name = "TIME", value_parser = nanoseconds)]
    health_interval: Option<i64>,
    /// How long one check may take
    #[arg(long, value_name = "TIME", value_parser = nanoseconds)]
    health_timeout: Option<i64>,
    /// Time to start, in which failures do not count
    #[arg(long, value_name = "TIME", value_parser = nanoseconds)]
    health_start_period: Option<i64>,
    /// Time between two checks during the start
    #[arg(long, value_name = "TIME", value_parser = nanoseconds)]
    health_start_interval: Option<i64>,
    /// So many failures in a row mean unhealthy
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<i64>,
    /// Not even the image's check
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthFlags {
    pub(super) fn add(&self, body: &mut Body) -> anyhow::Result<()> {
        let mut check: Map<String, Value> = [
            ("Interval", self.health_interval),
            ("Timeout", self.health_timeout),
            ("StartPeriod", self.health_start_period),
            ("StartInterval", self.health_start_interval),
            ("Retries", self.health_retries),
        ]
        .into_iter()
        .filter_map(|(key, it)| Some((key.to_owned(), it?.into())))
        .collect();
        if let Some(command) = &self.health_cmd {
            check.insert("Test".into(), json!(["CMD-SHELL", command]));
        }
        for (flag, number) in [
            ("interval", self.health_interval),
            ("timeout", self.health_timeout),
            ("retries", self.health_retries),
            ("start-period", self.health_start_period),
            ("start-interval", self.health_start_interval),
        ] {
            anyhow::ensure!(
                number.is_none_or(|it| it >= 0),
                "--health-{flag} cannot be negative"
            );
        }
        if self.no_healthcheck {
            anyhow::ensure!(
                check.is_empty(),
                "--no-healthcheck conflicts with --health-* options"
            );
            check.insert("Test".into(), json!(["NONE"]));
        }
        if !check.is_empty() {
            body.config("Healthcheck", check);
        }
        Ok(())
    }
}
