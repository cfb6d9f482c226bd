//! Tests of the real command: many processes, signals, terminals. Each test has a lock table of its own and
//! waits for conditions, never for a time.

mod breaking;
mod codes;
mod command;
mod exclusion;
mod generated;
mod killed;
mod names;
mod paths;
mod readme;
mod scene;
mod schema;
mod shown;
mod signals;
mod terminal;
mod timeless;
mod users;
