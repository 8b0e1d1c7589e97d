//! How much of Docker's API there is: every operation, and every field of a
//! new container, tried out. What comes of it is a page of the book.

mod fields;
mod operations;
mod page;
