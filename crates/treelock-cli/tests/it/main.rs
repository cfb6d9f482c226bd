//! The command as its users start it: the real binary, many processes at once.

mod killed;
mod run;
