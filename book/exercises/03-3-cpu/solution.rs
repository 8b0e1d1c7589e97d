use std::fs;
use std::io;
use std::path::Path;

use exercises::Dialect;

/// The period in which the scheduler counts, in microseconds; Docker's.
const PERIOD: u32 = 100_000;

/// `--cpus`, as in 0.5: a processor for half of each period.
pub fn limit(dialect: Dialect, group: &Path, cpus: f64) -> io::Result<()> {
    // BEGIN
    let quota = (cpus * f64::from(PERIOD)).round();
    match dialect {
        Dialect::V2 => {
            fs::write(group.join("cpu.max"), format!("{quota} {PERIOD}"))
        }
        Dialect::V1 => {
            let period = group.join("cpu.cfs_period_us");
            fs::write(period, PERIOD.to_string())?;
            fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())
        }
    }
    // STARTER
    //= todo!("{cpus} of {PERIOD} µs, for {dialect:?} in {}", group.display())
    // END
}
