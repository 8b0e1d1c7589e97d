//! `--add-host`: names and addresses that a container is given.

use super::host_config::HostConfig;
use crate::engine::error::{Error, Result};
use crate::network::extra_host;

pub(super) fn check(host: &HostConfig) -> Result<()> {
    let mut all = host.extra_hosts.iter().flatten();
    all.try_for_each(|text| extra_host(text).map(drop).map_err(Error::Invalid))
}
