use std::time::Duration;

/// Docker's numbers.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// Who has run for so long is well again.
const WELL: Duration = Duration::from_secs(10);

/// `--restart on-failure:MOST`, or without a number.
pub struct Restarts {
    most: Option<u32>,
    count: u32,
    wait: Duration,
}

impl Restarts {
    pub fn new(most: Option<u32>) -> Restarts {
        Restarts { most, count: 0, wait: Duration::ZERO }
    }

    /// The container has ended with `code` after it has `run` for so long.
    /// How long to wait until it is started again? `None`: not again.
    pub fn ended(&mut self, code: i32, run: Duration) -> Option<Duration> {
        // BEGIN
        if code == 0 {
            return None;
        }
        if self.most.is_some_and(|most| self.count >= most) {
            return None;
        }
        self.wait = if run >= WELL || self.wait.is_zero() {
            FIRST
        } else {
            (self.wait * 2).min(LONGEST)
        };
        self.count += 1;
        Some(self.wait)
        // STARTER
        //= let _ = (code, run, self.most, self.count, LONGEST, WELL);
        //= self.wait += FIRST;
        //= Some(self.wait)
        // END
    }
}
