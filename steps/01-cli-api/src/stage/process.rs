//! Watching over one process: its output goes to a log, its end to a record.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rustix::pipe::PipeFlags;

use super::{Ended, Started, Stdio};
use crate::Error;
use crate::jsonlog::{Rotation, Stream, Writer};

/// How long after the end of a process its output may keep coming. A child
/// that it leaves behind holds the pipes open, maybe for ever.
const GRACE: Duration = Duration::from_millis(500);

/// Runs `start` on a thread of its own that stays until the process has
/// ended, writes the output to `log`, and tells `events` what happens.
///
/// A thread per process, not a pool: the parent-death signal
/// (PR_SET_PDEATHSIG) that a stage may set fires when the *thread* that
/// forked ends.
pub(crate) fn supervise(
    log: &Path,
    start: impl FnOnce(Stdio) -> anyhow::Result<Started> + Send + 'static,
    mut events: impl FnMut(Event) + Send + 'static,
) -> Result<(), Error> {
    let writer = Writer::open(log, Rotation::default())?;
    let writer = Arc::new(Mutex::new(writer));
    let failed = Error::write("make a pipe for", log);
    let pipe = || {
        // Close-on-exec: a process that is started at the same moment must
        // not inherit this one's output and keep it open.
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map_err(|it| failed(it.into()))
    };
    let (out, output) = pipe()?;
    let (err, errors) = pipe()?;
    let input =
        File::open("/dev/null").map_err(Error::read(Path::new("/dev/null")))?;
    let stdio = Stdio { input: input.into(), output, errors };
    // `stdio` moves into `start` and is closed when that returns. From then
    // on only the process holds the writing ends of the pipes, and their
    // end comes when it has ended.
    std::thread::spawn(move || {
        let started = match start(stdio) {
            Ok(started) => started,
            Err(why) => return events(Event::Failed(why)),
        };
        let copied = copy_both(out, err, writer);
        events(Event::Started(started.pid));
        let ended = (started.wait)();
        for _ in 0..2 {
            let _ = copied.recv_timeout(GRACE);
        }
        events(Event::Ended(ended));
    });
    Ok(())
}

/// What [`supervise`] reports: `Failed`, or `Started` and then `Ended`.
#[derive(Debug)]
pub(crate) enum Event {
    /// There is no process, and why.
    Failed(anyhow::Error),
    /// It runs, with this PID.
    Started(u32),
    /// It has ended, or could not be waited for.
    Ended(anyhow::Result<Ended>),
}

/// Copies both streams, each on a thread of its own; tells of each end.
fn copy_both(
    out: OwnedFd,
    err: OwnedFd,
    writer: Arc<Mutex<Writer>>,
) -> mpsc::Receiver<()> {
    let (done, both) = mpsc::channel();
    for (fd, stream) in [(out, Stream::Stdout), (err, Stream::Stderr)] {
        let (writer, done) = (writer.clone(), done.clone());
        std::thread::spawn(move || {
            copy(fd, stream, &writer);
            let _ = done.send(());
        });
    }
    both
}

/// Copies one stream to the log until nobody holds its writing end.
fn copy(from: OwnedFd, stream: Stream, writer: &Mutex<Writer>) {
    let mut from = File::from(from);
    let mut buffer = vec![0; 32 << 10];
    let write = |data: Option<&[u8]>| {
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match data {
            Some(data) => writer.push(stream, data),
            None => writer.finish(stream),
        };
        if let Err(why) = written {
            // Go on reading: a full pipe would stop the process.
            eprintln!("{why}");
        }
    };
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        write(Some(&buffer[..length]));
    }
    write(None);
}
