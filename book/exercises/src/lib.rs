//! The exercises of the book, and what their checks are made of.
//!
//! Each directory beside `src/` is one exercise:
//!
//! | file            | what it is                                          |
//! |-----------------|-----------------------------------------------------|
//! | `exercise.toml` | title, task, hints, and the mistakes people make    |
//! | `solution.rs`   | the answer; the learner's file is generated from it |
//! | `check.rs`      | looks at what the learner's code does to the kernel |
//!
//! The book's tool compiles the learner's file and the check into one
//! program, of which [`run`] is the `main`. A check does not compare code
//! with code: it calls the learner's functions and reports what it
//! [`observed`], and the name of the cause leads to a hint.
//!
//! Checks are straight-line programs in a place of their own. Where the place
//! itself is not as it should be (no memory, a full disk) they panic, which
//! is told apart from a mistake of the learner.
#![deny(missing_docs)]

#[cfg(test)]
extern crate self as exercises;

mod fork;
mod group;
mod place;
mod report;
#[cfg(test)]
mod solutions;

pub use fork::{forked, forked_within, status_of, wait_until};
pub use group::{Dialect, Group, add_self, group};
pub use place::{link, scratch, tmpfs};
pub use report::{Observation, Verdict, decode, failed, observed, run};
