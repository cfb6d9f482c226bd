//! The sub-commands. Each returns its exit code, or a failure to print.

pub(crate) mod r#break;
pub(crate) mod doctor;
pub(crate) mod generated;
pub(crate) mod hold;
pub(crate) mod ls;
pub(crate) mod release;
pub(crate) mod run;
pub(crate) mod stats;
pub(crate) mod who;
