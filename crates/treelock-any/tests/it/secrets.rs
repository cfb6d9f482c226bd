//! A password is in nothing that is printed.

use treelock_any::{Address, AnyLock, Error};

const SECRET: &str = "s3cret";

/// Texts with a password, right and wrong ones, as people might mistype them.
const TEXTS: [&str; 24] = [
    "etcd://me:s3cret@a:2379/builds",
    "etcd://me:s3cret@a:2379/builds?ttl=soon",
    "etcd://me:s3cret@a:2379/builds?no=such",
    "etcd://me:s3cret@a",
    "etcd://me:s3cret@",
    "etcd://me:s3cret",
    "etcd://me:s3cret/builds",
    "etcd://me:s3cret?ttl=15s",
    "etcd://me:s3cret/x@a:2379/builds",
    "etcd://me:s3cret?x@a:2379/builds",
    "etcd://me:s3cret#x@a:2379/builds",
    "etcd://me:s3cret@x@a:2379/builds",
    "etcd://me:s3cret%@a:2379/builds",
    "etcd://me:s3cret%ff@a:2379/builds",
    "etcd://me:s3cret%00@a:2379/builds",
    "etcd://:s3cret@a:2379",
    "etcd://a:2379,me:s3cret@b:2379",
    "etcd://http://me:s3cret@a:2379",
    "etcd:me:s3cret@a:2379",
    "etc://me:s3cret@a:2379",
    "http://me:s3cret@a:2379",
    "me:s3cret@a:2379",
    "etcd://a:2379?password=s3cret",
    "etcd://me:x@a:2379?password=s3cret",
];

#[test]
fn no_password_is_printed() {
    for text in TEXTS {
        let address = text.parse::<Address>();
        let opened = AnyLock::open(text);
        let printed = [
            format!("{address:?}"),
            address.map_or_else(|error| error.to_string(), |address| address.to_string()),
            format!("{opened:?}"),
            opened.map_or_else(sentences, |lock| lock.to_string()),
        ];
        for printed in printed {
            assert!(!printed.contains(SECRET), "{text}: {printed}");
        }
    }
}

/// What an error says, and its causes.
fn sentences(error: Error) -> String {
    let mut all = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        all += &error.to_string();
        cause = error.source();
    }
    all
}

#[cfg(feature = "etcd")]
#[test]
fn a_password_that_cannot_be_found_says_where_it_was_sought() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let empty = file("empty", " \n");
    let good = file("good", "s3cret\n");
    for (text, says) in [
        ("etcd://me@a:1".to_owned(), "password: user \"me\" has none; write USER:PASSWORD@"),
        ("etcd://me@a:1?password-file=/no/such".to_owned(), "\"/no/such\" cannot be read"),
        (format!("etcd://me@a:1?password-file={empty}"), "is empty; write the password into it"),
        (
            "etcd://me@a:1?password-env=NO_SUCH_VARIABLE".to_owned(),
            "the variable \"NO_SUCH_VARIABLE\" is empty or not set",
        ),
    ] {
        let error = AnyLock::open(&text).unwrap_err();
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
    let lock = AnyLock::open(&format!("etcd://me@a:1?password-file={good}")).unwrap();
    assert!(!format!("{lock:?} {lock}").contains(SECRET), "{lock}");
}
