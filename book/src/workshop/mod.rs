//! The workshop: exercises that are checked against the kernel.
//!
//! An exercise is a directory of `book/exercises` ([`exercise`]). Its
//! solution is the only source: the learner's file is cut out of it
//! ([`source`]), and so are the page of answers ([`page`]) and the known
//! mistakes by which the tests prove that each hint names the right cause.
//! [`program`] compiles a learner's file together with the check, [`trial`]
//! runs both in a place where nothing can break, [`verbs`] is the command
//! line.

mod exercise;
mod files;
mod needs;
pub(crate) mod page;
mod program;
mod progress;
mod report;
mod source;
#[cfg(test)]
mod tests;
mod trial;
mod verbs;

pub(crate) use verbs::Verb;
