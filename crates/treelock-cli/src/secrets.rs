//! Passwords in the environment. A command under a lock need not be able to break all locks, so it
//! does not inherit them.

use std::{env, os::unix::ffi::OsStrExt as _, process::Command};

use treelock_any::{Address, EtcdAddress, Password};

const PASSWORD: &str = "ETCDCTL_PASSWORD";
const USER: &str = "ETCDCTL_USER";
const URL: &str = "TREELOCK_URL";

/// Removes what is secret from a command's environment. A URL stays, without its password: a
/// treelock that the command starts must not fall back to another lock in silence.
pub(crate) fn hide_from(command: &mut Command) {
    command.env_remove(PASSWORD);
    if env::var_os(USER).is_some_and(|user| user.as_bytes().contains(&b':')) {
        command.env_remove(USER);
    }
    let url = env::var(URL).ok().and_then(|url| url.parse::<Address>().ok());
    if let Some(Address::Etcd(EtcdAddress { password: Some(password), .. })) = &url {
        match password {
            Password::Variable(name) => {
                command.env_remove(name);
            }
            Password::File(_) => {}
            _ => {
                let without_password = url.iter().map(ToString::to_string).collect::<String>();
                command.env(URL, without_password);
            }
        }
    }
}
