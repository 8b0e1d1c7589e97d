//! What ADD can do and COPY cannot: URLs, and tars that unpack themselves.

use super::ignore::clean;
use super::remote::{self, Remote};
use super::tree::hex;
use crate::Result;
use crate::apply;
use crate::compress;
use crate::error::io_at;
use crate::registry::Cancel;
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// Fetches a URL into `room`; returns the file's name there.
pub(super) fn download(
    url: &str,
    checksum: Option<&str>,
    room: &Path,
    cancel: &Cancel,
) -> std::result::Result<String, String> {
    if Remote::of(url) == Some(Remote::Repository) {
        return Err(format!(
            "ADD of the git repository {url} is not supported: clone it in \
             a RUN, or ADD its tar archive's URL"
        ));
    }
    let plain = url.split(['?', '#']).next().unwrap_or(url);
    let after_host = plain.splitn(4, '/').nth(3).unwrap_or_default();
    let name = after_host.rsplit('/').find(|part| !part.is_empty());
    let Some(name) = name else {
        return Err(format!("cannot determine filename from url: {url}"));
    };
    let response = remote::get(url, cancel)?;
    let modified = response
        .headers()
        .get("last-modified")
        .and_then(|value| http_time(value.to_str().ok()?));
    let path = room.join(name);
    let mut body = response.into_body().into_reader();
    let digest =
        save(&mut body, &path).map_err(|error| remote::failed(url, &error))?;
    if let Some(want) = checksum
        && want != digest
    {
        return Err(format!(
            "digest mismatch {digest}: {want} (of {url}): the file there is \
             not the one that --checksum asks for"
        ));
    }
    // Docker gives remote files this mode and their server's time.
    finish(&path, 0o600, modified.unwrap_or(SystemTime::UNIX_EPOCH))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(name.to_owned())
}

/// Hashes while writing: a checksum is checked against what is on the disk and
/// not against a second download.
fn save(body: &mut dyn Read, path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::create(path)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = body.read(&mut buffer)?;
        if length == 0 {
            return Ok(format!("sha256:{}", hex(&hash.finalize())));
        }
        hash.update(&buffer[..length]);
        file.write_all(&buffer[..length])?;
    }
}

/// The server's time of a file is the file's time, so that two builds on two
/// days give the same layer.
fn http_time(text: &str) -> Option<SystemTime> {
    let time = jiff::fmt::rfc2822::parse(text).ok()?;
    let seconds = u64::try_from(time.timestamp().as_second()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Writes a file that looks the same whenever it is written.
pub(super) fn write_fixed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)?;
    finish(path, 0o644, SystemTime::UNIX_EPOCH)
}

/// Mode and time by hand: neither the umask nor the clock may decide about a
/// layer.
fn finish(path: &Path, mode: u32, time: SystemTime) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    File::options().write(true).open(path)?.set_modified(time)
}

/// Whether a file is a tar, perhaps compressed. An unpacked one is told by
/// the checksum of its first header, for old tars have no magic number.
pub(super) fn is_archive(path: &Path) -> Result<bool> {
    let mut tar = opened(path)?;
    let mut block = [0; 512];
    if tar.read_exact(&mut block).is_err() {
        return Ok(false);
    }
    let header = tar::Header::from_byte_slice(&block);
    // Each byte of the checksum field itself counts as a blank (tar(5)).
    let sum = block.iter().enumerate().map(|(index, byte)| match index {
        148..156 => 32,
        _ => u32::from(*byte),
    });
    Ok(header.cksum().is_ok_and(|want| want == sum.sum::<u32>()))
}

/// Opens a file and takes its compression off. What is rare in images and
/// common in downloads (xz, bzip2) is left to the program of that name.
fn opened(path: &Path) -> Result<Box<dyn Read + Send>> {
    let mut file = File::open(path).map_err(io_at("open", path))?;
    let mut magic = Vec::new();
    Read::by_ref(&mut file)
        .take(6)
        .read_to_end(&mut magic)
        .and_then(|_| file.rewind())
        .map_err(io_at("read", path))?;
    let program = match magic.as_slice() {
        b"\xfd7zXZ\0" => "xz",
        [b'B', b'Z', b'h', ..] => "bzip2",
        _ => {
            return compress::decoder(BufReader::new(file))
                .map_err(io_at("read", path));
        }
    };
    let child = Command::new(program)
        .args(["--decompress", "--stdout"])
        .stdin(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let child = child.map_err(|error| crate::Error::Document {
        what: path.display().to_string(),
        problem: format!(
            "it is compressed with {program}, and the program {program} \
             cannot be run here ({error}): install it, or compress the \
             archive with gzip or zstd"
        ),
    })?;
    Ok(Box::new(Piped(child)))
}

/// The output of a program, which ends with the value.
struct Piped(Child);

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.stdout.as_mut().map_or(Ok(0), |out| out.read(buffer))
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // It has ended, or nobody wants the rest.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Unpacks a tar into an empty directory.
pub(super) fn unpack(archive: &Path, room: &Path) -> Result<()> {
    let tar = opened(archive)?;
    let options = apply::Options::for_this_user();
    apply::apply(room, &mut BufReader::new(tar), &options).map(drop).map_err(
        |source| crate::Error::Tar {
            layer: archive.display().to_string(),
            source,
        },
    )
}

/// The directories that an archive has entries for, by their clean names.
pub(super) fn directories(archive: &Path) -> Result<HashSet<String>> {
    let mut tar = tar::Archive::new(opened(archive)?);
    let read = |entry: io::Result<tar::Entry<'_, _>>| {
        let entry = entry?;
        let name = clean(&entry.path()?.to_string_lossy());
        Ok(entry.header().entry_type().is_dir().then_some(name))
    };
    tar.entries()
        .and_then(|all| all.filter_map(|it| read(it).transpose()).collect())
        .map_err(io_at("read", archive))
}

/// The same tar with no time later than `epoch`.
pub(super) fn clamped(
    mut tar: impl Read,
    epoch: u64,
    scratch: &Path,
) -> Result<File> {
    let mut copy = || -> io::Result<File> {
        let mut out = tempfile::tempfile_in(scratch)?;
        let mut writer = io::BufWriter::new(&mut out);
        let mut header = tar::Header::new_old();
        // Block by block: header, data in whole blocks, and zeros at the end.
        loop {
            tar.read_exact(header.as_mut_bytes())?;
            if header.as_bytes().iter().all(|byte| *byte == 0) {
                writer.write_all(header.as_bytes())?;
                io::copy(&mut tar, &mut writer)?;
                break;
            }
            if header.mtime()? > epoch {
                header.set_mtime(epoch);
                header.set_cksum();
            }
            writer.write_all(header.as_bytes())?;
            let blocks = header.entry_size()?.div_ceil(512) * 512;
            io::copy(&mut tar.by_ref().take(blocks), &mut writer)?;
        }
        writer.flush()?;
        drop(writer);
        out.rewind()?;
        Ok(out)
    };
    copy().map_err(io_at("rewrite a tar in", scratch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_is_known_by_its_header_and_other_files_are_not() {
        let room = tempfile::tempdir().unwrap();
        let tar = room.path().join("a.tar");
        let mut builder = tar::Builder::new(File::create(&tar).unwrap());
        builder.append_path_with_name("/proc/version", "v").unwrap();
        builder.finish().unwrap();
        assert!(is_archive(&tar).unwrap());
        let text = room.path().join("text");
        fs::write(&text, "x".repeat(2000)).unwrap();
        assert!(!is_archive(&text).unwrap());
    }

    #[test]
    fn a_clamped_tar_has_no_later_time() {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, mtime) in [("old", 5), ("new", 5_000_000)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            header.set_mtime(mtime);
            builder.append_data(&mut header, name, &b"abc"[..]).unwrap();
        }
        let tar = builder.into_inner().unwrap();
        let out = clamped(&tar[..], 1000, &std::env::temp_dir()).unwrap();
        let mut archive = tar::Archive::new(out);
        let times: Vec<u64> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().header().mtime().unwrap())
            .collect();
        assert_eq!(times, [5, 1000]);
    }

    #[test]
    fn git_is_refused_by_name() {
        for url in ["git@example.org:a/b", "https://example.org/a/b.git"] {
            let (room, cancel) = (Path::new("/"), Cancel::default());
            let error = download(url, None, room, &cancel).unwrap_err();
            assert!(error.contains("not supported"), "{error}");
        }
    }
}
