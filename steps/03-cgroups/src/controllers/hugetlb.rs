//! Huge pages, a limit per page size. A process that goes beyond it gets
//! SIGBUS at the access, not at the mmap(2): `cgroup-v1/hugetlb.rst`.

use super::Dir;
use crate::{Error, Limits, file};

pub(crate) fn asked(limits: &Limits) -> Option<&'static str> {
    (!limits.hugetlb.is_empty()).then_some("a limit for huge pages")
}

pub(crate) fn apply(dir: Dir<'_>, limits: &Limits) -> Result<(), Error> {
    let (dir, suffix) = match dir {
        Dir::V1(dir) => (dir, "limit_in_bytes"),
        Dir::V2(dir) => (dir, "max"),
    };
    for one in &limits.hugetlb {
        // The size is part of a file name, so it must not be a path.
        if !one.page_size.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::Invalid(format!(
                "huge page size {:?} must be written as in 2MB",
                one.page_size
            )));
        }
        let name = format!("hugetlb.{}.{suffix}", one.page_size);
        file::write(&dir.join(name), one.limit)?;
    }
    Ok(())
}
