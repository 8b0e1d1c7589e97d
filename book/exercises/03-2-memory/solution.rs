use std::fs;
use std::io;
use std::path::Path;

use exercises::Dialect;

/// `--memory M --memory-swap S`: as with Docker, `swap` is memory and swap
/// together. Nobody is in the group yet.
pub fn limit(
    dialect: Dialect,
    group: &Path,
    memory: u64,
    swap: u64,
) -> io::Result<()> {
    let write =
        |file: &str, bytes: u64| fs::write(group.join(file), bytes.to_string());
    // BEGIN
    match dialect {
        Dialect::V2 => {
            write("memory.max", memory)?;
            // Here it is swap alone.
            write("memory.swap.max", swap - memory)
        }
        Dialect::V1 => {
            // The sum may never be below the first, so that comes first.
            write("memory.limit_in_bytes", memory)?;
            write("memory.memsw.limit_in_bytes", swap)
        }
    }
    // STARTER
    //= match dialect {
    //=     Dialect::V2 => write("memory.high", memory.min(swap)),
    //=     Dialect::V1 => write("memory.soft_limit_in_bytes", memory),
    //= }
    // END
}
