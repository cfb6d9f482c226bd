//! What every type of the crate can be used for, pinned when it is compiled.

use treelock_any::{
    Acquire, Address, AddressError, AnyLock, EngineFailure, Error, EtcdAddress, Guard, Password,
};

fn is_shared<T: Send + Sync + Unpin + 'static>() {}
fn is_sent<T: Send + Unpin + 'static>() {}
fn is_shown<T: std::fmt::Debug>() {}
fn is_an_error<T: std::error::Error + Send + Sync + 'static>() {}

#[test]
fn types_cross_threads() {
    is_shared::<AnyLock>();
    is_shared::<Guard>();
    is_sent::<Acquire>();
    is_shared::<Error>();
    is_shared::<Address>();
    is_shared::<EtcdAddress>();
    is_shared::<Password>();
    is_shown::<AnyLock>();
    is_shown::<Guard>();
    is_shown::<Acquire>();
    is_an_error::<Error>();
    is_an_error::<EngineFailure>();
    is_an_error::<AddressError>();
}

/// Whatever its engine, a lock is one type: a list of them needs no generics.
#[test]
fn locks_of_all_engines_are_of_one_type() {
    let texts = ["memory:", "dir:locks"];
    let locks: Vec<AnyLock> =
        texts.into_iter().filter_map(|text| AnyLock::open(text).ok()).collect();
    assert!(!locks.is_empty());
}
