//! Passwords in the environment. A command under a lock need not be able to break all locks, so it does
//! not inherit them.

use std::{env, os::unix::ffi::OsStrExt as _, process::Command};

const PASSWORD: &str = "ETCDCTL_PASSWORD";
const USER: &str = "ETCDCTL_USER";

/// Removes what is secret from a command's environment.
pub(crate) fn hide_from(command: &mut Command) {
    command.env_remove(PASSWORD);
    if env::var_os(USER).is_some_and(|user| user.as_bytes().contains(&b':')) {
        command.env_remove(USER);
    }
}
