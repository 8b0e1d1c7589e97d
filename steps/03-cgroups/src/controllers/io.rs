//! Disk traffic: a weight against other groups, and hard rates a device.
//!
//! A rate holds even when the disk is idle; a weight only matters when it is
//! not, and only if the disk's I/O scheduler keeps weights at all.
//!
//! v1 only sees reads and direct writes here: what goes through the page
//! cache is written by the kernel later, in nobody's name. v2 charges that
//! to the group that made the page dirty.
//!
//! Kernel: `cgroup-v1/blkio-controller.rst`, `cgroup-v2.rst` "IO".

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::Dir;
use crate::{DeviceRate, Error, IoStats, Limits, Stats, file};

/// Name of a rate on v1 (file) and on v2 (key in `io.max`).
type Rate<'a> = (&'a [DeviceRate], &'static str, &'static str);

/// The four flags `--device-{read,write}-{bps,iops}`.
fn rates(limits: &Limits) -> [Rate<'_>; 4] {
    [
        (&limits.read_bps, "blkio.throttle.read_bps_device", "rbps"),
        (&limits.write_bps, "blkio.throttle.write_bps_device", "wbps"),
        (&limits.read_iops, "blkio.throttle.read_iops_device", "riops"),
        (&limits.write_iops, "blkio.throttle.write_iops_device", "wiops"),
    ]
}

pub(crate) fn asked(limits: &Limits) -> Option<&'static str> {
    if limits.blkio_weight.is_some_and(|weight| weight > 0) {
        return Some("--blkio-weight");
    }
    if !limits.blkio_weight_device.is_empty() {
        return Some("--blkio-weight-device");
    }
    let any = rates(limits).iter().any(|(list, ..)| !list.is_empty());
    any.then_some("--device-read-bps (or -write-, -iops)")
}

pub(crate) fn apply(dir: Dir<'_>, limits: &Limits) -> Result<(), Error> {
    let weight = limits.blkio_weight.filter(|weight| *weight > 0);
    if let Some(weight) = weight {
        write_weight(dir, None, weight)?;
    }
    for one in &limits.blkio_weight_device {
        let device = device_number(&one.path)?;
        write_weight(dir, Some(&device), one.weight)?;
    }
    for (list, v1, v2) in rates(limits) {
        for one in list {
            let device = device_number(&one.path)?;
            match dir {
                Dir::V1(dir) => file::write(
                    &dir.join(v1),
                    format!("{device} {}", one.rate),
                )?,
                // Keys that are not named keep their value.
                Dir::V2(dir) => file::write(
                    &dir.join("io.max"),
                    format!("{device} {v2}={}", one.rate),
                )?,
            }
        }
    }
    Ok(())
}

/// Weights are kept by an I/O scheduler, not by the controller, so the file
/// is only there with the right one: BFQ (both dialects, 1 to 1000, Docker's
/// own scale), CFQ (v1, before Linux 5.0) or iocost (v2, 1 to 10 000).
fn write_weight(
    dir: Dir<'_>,
    device: Option<&str>,
    weight: u16,
) -> Result<(), Error> {
    let weight = u32::from(weight);
    let (dir, names) = match dir {
        Dir::V1(dir) => {
            (dir, [("blkio.bfq.weight", weight), ("blkio.weight", weight)])
        }
        Dir::V2(dir) => {
            let iocost = 1 + (weight.max(10) - 10) * 9_999 / 990;
            (dir, [("io.bfq.weight", weight), ("io.weight", iocost)])
        }
    };
    for (name, weight) in names {
        let (name, value) = match (device, name) {
            (None, _) => (name.to_owned(), weight.to_string()),
            (Some(device), "blkio.bfq.weight" | "blkio.weight") => {
                (format!("{name}_device"), format!("{device} {weight}"))
            }
            (Some(device), _) => {
                (name.to_owned(), format!("{device} {weight}"))
            }
        };
        if file::write_opt(&dir.join(name), value)? {
            return Ok(());
        }
    }
    Err(Error::Invalid(format!(
        "--blkio-weight cannot be kept: {} has no weight file; it takes the \
         BFQ I/O scheduler (echo bfq > /sys/block/DISK/queue/scheduler)",
        dir.display()
    )))
}

/// `major:minor` of a block device: cgroups know devices by number, for a
/// name may be another one's tomorrow.
fn device_number(path: &str) -> Result<String, Error> {
    let meta = fs::metadata(path)
        .map_err(|error| Error::read(Path::new(path), &error))?;
    if !meta.file_type().is_block_device() {
        return Err(Error::Invalid(format!(
            "{path} is not a block device; limits on disk traffic take a \
             whole disk, as in /dev/sda"
        )));
    }
    let number = meta.rdev();
    Ok(format!("{}:{}", libc::major(number), libc::minor(number)))
}

/// What went to and came from the disks themselves; what the page cache
/// answered is in none of these numbers.
pub(crate) fn stats(dir: Dir<'_>, stats: &mut Stats) -> Result<(), Error> {
    stats.io = match dir {
        Dir::V1(dir) => {
            let text = |name| {
                let text = file::read_opt(&dir.join(name))?;
                Ok::<_, Error>(text.unwrap_or_default())
            };
            parse_v1(
                &text("blkio.throttle.io_service_bytes_recursive")?,
                &text("blkio.throttle.io_serviced_recursive")?,
            )
        }
        Dir::V2(dir) => {
            let text = file::read_opt(&dir.join("io.stat"))?;
            parse_v2(&text.unwrap_or_default())
        }
    };
    Ok(())
}

/// `8:0 rbytes=90112 wbytes=0 rios=4 wios=0 dbytes=0 dios=0` a line.
fn parse_v2(text: &str) -> Vec<IoStats> {
    text.lines().filter_map(parse_v2_line).collect()
}

fn parse_v2_line(line: &str) -> Option<IoStats> {
    let mut words = line.split(' ');
    let (major, minor) = words.next()?.split_once(':')?;
    let mut io = IoStats {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        ..IoStats::default()
    };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let value = value.parse().ok()?;
        match key {
            "rbytes" => io.read_bytes = value,
            "wbytes" => io.write_bytes = value,
            "rios" => io.read_ops = value,
            "wios" => io.write_ops = value,
            _ => {}
        }
    }
    Some(io)
}

/// `8:0 Read 90112` a line, bytes in one file and operations in another.
fn parse_v1(bytes: &str, ops: &str) -> Vec<IoStats> {
    let mut found: BTreeMap<(u64, u64), IoStats> = BTreeMap::new();
    for (text, is_bytes) in [(bytes, true), (ops, false)] {
        for (device, op, value) in text.lines().filter_map(parse_v1_line) {
            let (major, minor) = device;
            let io = found.entry(device).or_insert_with(|| IoStats {
                major,
                minor,
                ..IoStats::default()
            });
            match (op, is_bytes) {
                ("Read", true) => io.read_bytes = value,
                ("Write", true) => io.write_bytes = value,
                ("Read", false) => io.read_ops = value,
                ("Write", false) => io.write_ops = value,
                _ => {}
            }
        }
    }
    found.into_values().collect()
}

/// The last line of each file, `Total 30`, has no device and is left out.
fn parse_v1_line(line: &str) -> Option<((u64, u64), &str, u64)> {
    let mut words = line.split(' ');
    let (major, minor) = words.next()?.split_once(':')?;
    let op = words.next()?;
    let value = words.next()?.parse().ok()?;
    Some(((major.parse().ok()?, minor.parse().ok()?), op, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects_tell_the_same_story() {
        let v2 = parse_v2("8:0 rbytes=10 wbytes=20 rios=1 wios=2 dios=0\n");
        let v1 = parse_v1(
            "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n",
            "8:0 Read 1\n8:0 Write 2\nTotal 3\n",
        );
        assert_eq!(v1, v2);
        assert_eq!(v2[0].write_ops, 2);
    }
}
