//! `docker update` and `docker rename`: changes that need no restart.

use serde::Deserialize;
use serde_json::Value;

use super::discard::discard;
use super::host_config::{Resources, RestartPolicy, first_unknown};
use super::{create, limits, stop, validate};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::events::{Attributes, attributes};
use crate::engine::go_json::decode;

/// The body of `POST /containers/NAME/update`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Update {
    restart_policy: RestartPolicy,
    #[serde(flatten)]
    resources: Resources,
}

impl Engine {
    /// Changes limits and the restart policy; what is zero stays.
    ///
    /// # Errors
    /// [`Error::Invalid`] in Docker's words, or what the kernel says.
    pub fn update(&self, name: &str, body: Value) -> Result<Vec<String>> {
        let container = self.containers.find(name)?;
        let mut update: Update = decode(body)?;
        if let Some(key) = first_unknown(&update.resources.unknown) {
            return Err(Error::Invalid(format!(
                "{key} cannot be changed by an update"
            )));
        }
        let host = stop::hierarchy()?;
        let warnings = discard(&mut update.resources, host)?;
        let _verb = container.begin();
        let auto_remove = self.removes_itself(&container);
        validate::restart_policy(&update.restart_policy, auto_remove)?;
        validate::resources(&update.resources)?;
        let mut all = container.with(|it| it.host_config.resources.clone());
        let refused = format!("Cannot update container {}", container.id);
        agrees(&all, &update.resources).map_err(|it| it.context(&refused))?;
        merge(&mut all, &update.resources);
        let merged = limits::of_resources(&all)?;
        merged.validate().map_err(|it| Error::Invalid(it.to_string()))?;
        if container.status().has_process()
            && let Some(cgroup) = stop::cgroup(&container)?
        {
            cgroup.update(&merged).map_err(Error::internal)?;
        }
        container.change(|record| {
            record.host_config.resources = all;
            if !update.restart_policy.name.is_empty() {
                record.host_config.restart_policy = update.restart_policy;
            }
        })?;
        self.tell(&container, "update", Attributes::new());
        Ok(warnings)
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`Error::Conflict`] in Docker's words if somebody has it.
    pub fn rename(&self, name: &str, new: &str) -> Result<()> {
        let container = self.containers.find(name)?;
        let new = new.strip_prefix('/').unwrap_or(new);
        if new.is_empty() {
            return Err(Error::Invalid(
                "Neither old nor new names may be empty".to_owned(),
            ));
        }
        if !cli_api::id::is_name(new) {
            return Err(create::bad_name(new));
        }
        let _verb = container.begin();
        let old = container.with(|record| record.short_name().to_owned());
        if old == new {
            return Err(Error::Invalid(
                "Renaming a container with the same name as its current name"
                    .to_owned(),
            ));
        }
        self.containers.take_name(new, &container.id)?;
        container.change(|record| record.name = format!("/{new}"))?;
        self.containers.free_name(&old);
        if container.status().has_process() {
            self.networks.rename(&container.id, new)?;
        }
        let about = attributes([("oldName", &format!("/{old}"))]);
        self.tell(&container, "rename", about);
        Ok(())
    }
}

/// What cannot be changed without its other half, in Docker's words and with
/// Docker's statuses.
fn agrees(old: &Resources, new: &Resources) -> Result<()> {
    let conflicts = [
        (new.nano_cpus, old.cpu_period, "Nano CPUs", "CPU Period has"),
        (new.nano_cpus, old.cpu_quota, "Nano CPUs", "CPU Quota has"),
        (new.cpu_period, old.nano_cpus, "CPU Period", "NanoCPUs has"),
        (new.cpu_quota, old.nano_cpus, "CPU Quota", "NanoCPUs has"),
    ];
    for (changed, set, what, why) in conflicts {
        if changed > 0 && set > 0 {
            return Err(Error::Conflict(format!(
                "Conflicting options: {what} cannot be updated as {why} \
                 already been set"
            )));
        }
    }
    // Also where there is no limit for swap: as in Docker, both are given.
    if new.memory > old.memory_swap && new.memory_swap == 0 && new.memory != 0 {
        return Err(Error::Internal(
            "Memory limit should be smaller than already set memoryswap \
             limit, update the memoryswap at the same time"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Takes over what is set in `new`.
fn merge(old: &mut Resources, new: &Resources) {
    let unset = Resources::default();
    macro_rules! take {
        ($($field:ident)*) => {$(
            if new.$field != unset.$field {
                old.$field = new.$field.clone();
            }
        )*};
    }
    take!(cpu_shares memory nano_cpus blkio_weight cpu_period cpu_quota);
    take!(cpu_realtime_period cpu_realtime_runtime cpuset_cpus cpuset_mems);
    take!(memory_reservation memory_swap pids_limit);
    take!(blkio_weight_device blkio_device_read_bps blkio_device_write_bps);
    take!(blkio_device_read_iops blkio_device_write_iops);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(old: &str, new: &str) -> String {
        let read = |text| {
            let mut resources: Resources = serde_json::from_str(text).unwrap();
            resources.fill_in();
            resources
        };
        let new = serde_json::from_str(new).unwrap();
        let error = agrees(&read(old), &new).unwrap_err();
        format!("{} {error}", error.status().as_u16())
    }

    #[test]
    fn memory_beyond_the_swap_limit_needs_that_one_changed_too() {
        let want = "500 Memory limit should be smaller than already set \
                    memoryswap limit, update the memoryswap at the same time";
        let mb =
            |text: &str, many: i64| format!(r#"{{"{text}": {}}}"#, many << 20);
        let old = mb("Memory", 64);
        assert_eq!(refused(&old, &mb("Memory", 200)), want);
        assert_eq!(refused("{}", &mb("Memory", 200)), want);
        let old = serde_json::from_str(r#"{"MemorySwap": 134217728}"#).unwrap();
        let both = r#"{"Memory": 209715200, "MemorySwap": 419430400}"#;
        for new in [mb("Memory", 128), both.to_owned(), "{}".to_owned()] {
            let new = serde_json::from_str(&new).unwrap();
            assert!(agrees(&old, &new).is_ok());
        }
    }

    #[test]
    fn a_number_of_cpus_excludes_period_and_quota() {
        assert_eq!(
            refused(r#"{"NanoCpus": 1}"#, r#"{"CpuQuota": 5000}"#),
            "409 Conflicting options: CPU Quota cannot be updated as \
             NanoCPUs has already been set"
        );
        assert_eq!(
            refused(r#"{"CpuPeriod": 5000}"#, r#"{"NanoCpus": 1}"#),
            "409 Conflicting options: Nano CPUs cannot be updated as CPU \
             Period has already been set"
        );
    }
}
