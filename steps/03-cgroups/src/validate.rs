//! Limits that make no sense are refused before anything is made, in the
//! sentences that Docker users know.
//!
//! The kernel would refuse most of them as well, but with `EINVAL` and after
//! half of the group has been set up. It would also take some that cannot be
//! meant: with 4 KB of memory no process could even be started in the group.

use nix::unistd::{SysconfVar, sysconf};

use crate::{Error, Limits};

/// The least memory in which a container can start at all (Docker's figure).
const LEAST_MEMORY: u64 = 6 * 1024 * 1024;

impl Limits {
    /// Checks the values against each other and against this machine.
    ///
    /// # Errors
    /// [`Error::Invalid`] with Docker's sentence.
    pub fn validate(&self) -> Result<(), Error> {
        self.memory_problem()
            .or_else(|| self.cpu_problem())
            .or_else(|| self.io_problem())
            .map_or(Ok(()), |problem| Err(Error::Invalid(problem)))
    }

    /// Memory against swap, reservation and the least that works.
    fn memory_problem(&self) -> Option<String> {
        let memory = self.memory.filter(|bytes| *bytes > 0);
        let swap = self.memory_swap.filter(|bytes| *bytes > 0);
        if memory.is_some_and(|bytes| bytes < LEAST_MEMORY) {
            return Some("Minimum memory limit allowed is 6MB".into());
        }
        if let (Some(memory), Some(swap)) = (memory, swap)
            && u64::try_from(swap).is_ok_and(|swap| swap < memory)
        {
            return Some(
                "Minimum memoryswap limit should be larger than memory \
                 limit, see usage"
                    .into(),
            );
        }
        if self.memory == Some(0) && swap.is_some() {
            return Some(
                "You should always set the Memory limit when using \
                 Memoryswap limit, see usage"
                    .into(),
            );
        }
        self.swappiness_problem().or_else(|| self.reservation_problem())
    }

    /// A share in percent, as `vm.swappiness` of the whole machine was when
    /// this file was made.
    fn swappiness_problem(&self) -> Option<String> {
        let value = self.memory_swappiness.filter(|v| *v > 100)?;
        Some(format!(
            "Invalid value: {value}, valid memory swappiness range is 0-100"
        ))
    }

    /// What is kept for the group must fit into what it may have.
    fn reservation_problem(&self) -> Option<String> {
        let memory = self.memory.filter(|bytes| *bytes > 0);
        let reserved = self.memory_reservation.filter(|bytes| *bytes > 0);
        match (memory, reserved) {
            (Some(memory), Some(reserved)) if memory < reserved => Some(
                "Minimum memory limit can not be less than memory \
                 reservation limit, see usage"
                    .into(),
            ),
            (_, Some(reserved)) if reserved < LEAST_MEMORY => {
                Some("Minimum memory reservation allowed is 6MB".into())
            }
            _ => None,
        }
    }

    /// `--cpus` is short for a quota and a period, so it excludes both.
    fn cpu_problem(&self) -> Option<String> {
        let nano = self.nano_cpus.filter(|nano| *nano > 0);
        let quota = self.cpu_quota.filter(|quota| *quota > 0);
        let period = self.cpu_period.filter(|period| *period > 0);
        if nano.is_some() && period.is_some() {
            return Some(
                "Conflicting options: Nano CPUs and CPU Period cannot both \
                 be set"
                    .into(),
            );
        }
        if nano.is_some() && quota.is_some() {
            return Some(
                "Conflicting options: Nano CPUs and CPU Quota cannot both \
                 be set"
                    .into(),
            );
        }
        let cpus = cpus();
        if nano.is_some_and(|n| n < 10_000_000 || n > cpus * 1_000_000_000) {
            return Some(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only \
                 {cpus} CPUs available"
            ));
        }
        if period.is_some_and(|p| !(1_000..=1_000_000).contains(&p)) {
            return Some(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or \
                 larger than 1s (i.e. 1000000)"
                    .into(),
            );
        }
        if quota.is_some_and(|quota| quota < 1_000) {
            return Some(
                "CPU cfs quota can not be less than 1ms (i.e. 1000)".into(),
            );
        }
        None
    }

    /// The scale of weights is Docker's (and BFQ's), on v2 too.
    fn io_problem(&self) -> Option<String> {
        let weights = self.blkio_weight_device.iter().map(|d| d.weight);
        let mut all = weights.chain(self.blkio_weight.filter(|w| *w != 0));
        all.any(|weight| !(10..=1000).contains(&weight))
            .then(|| "Range of blkio weight is from 10 to 1000".into())
    }
}

/// CPUs of the machine that are switched on. Not those this process may use:
/// a container may be given others.
fn cpus() -> u64 {
    let count = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    count.and_then(|count| u64::try_from(count).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(limits: Limits) -> String {
        limits.validate().unwrap_err().to_string()
    }

    #[test]
    fn docker_users_read_the_sentences_they_know() {
        let none = Limits::default();
        assert!(none.validate().is_ok());
        let all = [
            problem(Limits { memory: Some(1024), ..none.clone() }),
            problem(Limits {
                memory: Some(64 << 20),
                memory_swap: Some(32 << 20),
                ..none.clone()
            }),
            problem(Limits {
                memory: Some(64 << 20),
                memory_reservation: Some(65 << 20),
                ..none.clone()
            }),
            problem(Limits { memory_swappiness: Some(101), ..none.clone() }),
            problem(Limits {
                nano_cpus: Some(1_000_000_000),
                cpu_quota: Some(5_000),
                ..none.clone()
            }),
            problem(Limits { cpu_period: Some(999), ..none.clone() }),
            problem(Limits { cpu_quota: Some(999), ..none.clone() }),
            problem(Limits { blkio_weight: Some(9), ..none.clone() }),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn more_cpus_than_the_machine_has_are_refused() {
        let nano = (cpus() + 1) * 1_000_000_000;
        let error =
            problem(Limits { nano_cpus: Some(nano), ..Limits::default() });
        assert!(error.contains("there are only"), "{error}");
    }
}
