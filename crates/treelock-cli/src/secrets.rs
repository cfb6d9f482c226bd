//! Passwords in the environment. A command under a lock does not need the power to break all locks,
//! so it does not inherit them.

use std::{env, os::unix::ffi::OsStrExt as _, process::Command};

use treelock_any::{Address, AnyLock, EtcdAddress, Password};

const PASSWORD: &str = "ETCDCTL_PASSWORD";
const USER: &str = "ETCDCTL_USER";
const URL: &str = "TREELOCK_URL";

/// Removes secrets from a command's environment. A URL stays, without its password: a treelock that
/// the command starts must not silently fall back to another lock.
pub(crate) fn hide_from(command: &mut Command, lock: &AnyLock) {
    command.env_remove(PASSWORD);
    // The URL of the lock in use names the variable, wherever that URL came from.
    if let Ok(Address::Etcd(EtcdAddress { password: Some(Password::Variable(name)), .. })) =
        lock.to_string().parse()
    {
        command.env_remove(name);
    }
    if env::var_os(USER).is_some_and(|user| user.as_bytes().contains(&b':')) {
        command.env_remove(USER);
    }
    let url = env::var(URL).ok().and_then(|url| url.parse::<Address>().ok());
    if url.is_none() {
        // What cannot be read may contain a password.
        command.env_remove(URL);
    }
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
