//! Which execs a container remembers: all that run, and of the others as
//! many as anybody may still ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::exec::Exec;
use super::{Container, lock};

/// How many that have ended are remembered, and how many that were never
/// started.
const REMEMBERED: usize = 256;

impl Container {
    pub(super) fn remember(&self, exec: &Arc<Exec>) {
        let mut execs = lock(&self.execs);
        make_room(&mut execs, Exec::is_over);
        make_room(&mut execs, |exec| !exec.is_started());
        execs.insert(exec.id.clone(), exec.clone());
    }

    /// The IDs of those that have not ended; `None` if there are none, as
    /// `inspect` shows it.
    pub(super) fn exec_ids(&self) -> Option<Vec<String>> {
        let execs = lock(&self.execs);
        let ids: Vec<_> = execs
            .values()
            .filter(|exec| !exec.is_over())
            .map(|exec| exec.id.clone())
            .collect();
        Some(ids).filter(|ids| !ids.is_empty())
    }

    /// The container has ended, and with it all that ran in it.
    pub(super) fn end_execs(&self) {
        for exec in lock(&self.execs).values() {
            if exec.give_up() {
                exec.forget();
            }
        }
    }
}

/// Drops the oldest of a kind until there is room for one more. A
/// client asks how its exec has ended right after the end, so what counts is
/// not how long ago it began.
fn make_room(
    execs: &mut BTreeMap<String, Arc<Exec>>,
    is_of_kind: fn(&Exec) -> bool,
) {
    let of_kind = execs.values().filter(|exec| is_of_kind(exec));
    let mut all: Vec<_> = of_kind.cloned().collect();
    let Some(more) = (all.len() + 1).checked_sub(REMEMBERED) else { return };
    all.sort_by_key(|exec| exec.last_seen());
    for oldest in all.iter().take(more) {
        execs.remove(&oldest.id);
        oldest.forget();
    }
}

#[cfg(test)]
mod tests {
    use cli_api::id;

    use super::*;
    use crate::engine::containers::create::{Request, blank};
    use crate::engine::containers::exec::ExecConfig;

    fn container() -> Container {
        let (id, dir) = (id::hex64(), std::path::Path::new("/nowhere"));
        let record = blank(&id, "box", dir, Request::default());
        Container::new(dir.to_owned(), record)
    }

    fn remembered(container: &Container) -> Arc<Exec> {
        let config = ExecConfig::default();
        let exec = Arc::new(Exec::new(container, id::hex64(), config));
        container.remember(&exec);
        exec
    }

    fn knows(container: &Container, exec: &Exec) -> bool {
        lock(&container.execs).contains_key(&exec.id)
    }

    #[test]
    fn the_oldest_end_is_forgotten_first_and_what_runs_never() {
        let container = container();
        let [runs, long] = [(); 2].map(|()| remembered(&container));
        runs.runs(1);
        long.runs(2);
        let ended: Vec<_> = (0..REMEMBERED)
            .map(|_| {
                let exec = remembered(&container);
                exec.ended(0);
                exec
            })
            .collect();
        long.ended(3);
        let last = remembered(&container);
        for exec in [&runs, &long, &last, &ended[REMEMBERED - 1]] {
            assert!(knows(&container, exec));
        }
        let kept = ended.iter().filter(|it| knows(&container, it)).count();
        // With `long`, and room for the last one.
        assert_eq!(kept, REMEMBERED - 2);
        assert!(!knows(&container, &ended[1]));
    }

    #[test]
    fn of_those_that_nobody_starts_the_oldest_is_forgotten() {
        let container = container();
        let first = remembered(&container);
        let rest: Vec<_> =
            (0..REMEMBERED).map(|_| remembered(&container)).collect();
        assert!(!knows(&container, &first));
        assert!(rest.iter().all(|exec| knows(&container, exec)));
    }
}
