mod check;
#[path = "solution.rs"]
mod learner;
