//! What a text means, and what is said of a wrong one.

use std::time::Duration;

use treelock_any::{Address, AnyLock, Error, EtcdAddress, Password};

fn etcd(endpoints: &[&str], with: impl FnOnce(&mut EtcdAddress)) -> Address {
    let mut address = EtcdAddress::new(endpoints.iter().copied());
    with(&mut address);
    Address::Etcd(address)
}

#[test]
fn good_texts_mean_what_they_say() {
    for (text, address) in [
        ("memory:", Address::Memory),
        ("dir:/var/lib/app/locks", Address::Dir("/var/lib/app/locks".into())),
        ("dir:locks", Address::Dir("locks".into())),
        ("dir:./a b?c=d%20#e@f", Address::Dir("./a b?c=d%20#e@f".into())),
        ("dir:///var/lib", Address::Dir("///var/lib".into())),
        ("etcd://a:2379", etcd(&["a:2379"], |_| {})),
        ("etcd://a:2379,b-1.example:80", etcd(&["a:2379", "b-1.example:80"], |_| {})),
        ("etcd://[::1]:2379", etcd(&["[::1]:2379"], |_| {})),
        (
            "etcd://https://a:2379,http://b:2379/builds",
            etcd(&["https://a:2379", "http://b:2379"], |it| it.namespace = Some("builds".into())),
        ),
        (
            "etcd://a:1/my%2Bns?ttl=2m",
            etcd(&["a:1"], |it| {
                it.namespace = Some("my+ns".into());
                it.ttl = Some(Duration::from_secs(120));
            }),
        ),
        (
            "etcd://a:1?ttl=15s&ca=/a/ca%20b.pem&cert=c&key=k",
            etcd(&["a:1"], |it| {
                it.ttl = Some(Duration::from_secs(15));
                it.ca_file = Some("/a/ca b.pem".into());
                it.cert_file = Some("c".into());
                it.key_file = Some("k".into());
            }),
        ),
        ("etcd://me@a:1", etcd(&["a:1"], |it| it.user = Some("me".into()))),
        (
            "etcd://m%40e:p%3Aw%2F%40%25:x%2Cy@a:1",
            etcd(&["a:1"], |it| {
                it.user = Some("m@e".into());
                it.password = Some(Password::Text("p:w/@%:x,y".into()));
            }),
        ),
        (
            "etcd://me@a:1?password-file=/run/secret",
            etcd(&["a:1"], |it| {
                it.user = Some("me".into());
                it.password = Some(Password::File("/run/secret".into()));
            }),
        ),
        (
            "etcd://me@a:1/?password-env=SECRET",
            etcd(&["a:1"], |it| {
                it.user = Some("me".into());
                it.password = Some(Password::Variable("SECRET".into()));
            }),
        ),
    ] {
        assert_eq!(text.parse::<Address>().unwrap_or_else(|e| panic!("{text}: {e}")), address);
        // What is printed is read again, but for the password.
        let again: Address = address.to_string().parse().unwrap();
        let without = |address: &Address| match address.clone() {
            Address::Etcd(mut etcd) => {
                etcd.password = etcd.password.filter(|it| !matches!(it, Password::Text(_)));
                Address::Etcd(etcd)
            }
            other => other,
        };
        assert_eq!(again, without(&address), "{address}");
    }
}

/// Each wrong text, the part that is wrong, and words of what would be right.
const WRONG: [(&str, &str, &str); 53] = [
    ("", "scheme", "the text is empty (an unset variable?); write memory:, dir:PATH or etcd://"),
    ("memory", "scheme", "it is missing; write memory:, dir:PATH or etcd://"),
    ("/var/lib/locks", "scheme", "write \"dir:/var/lib/locks\""),
    ("./locks", "scheme", "write \"dir:./locks\""),
    (":", "scheme", "it is missing"),
    ("a b:c", "scheme", "it is missing"),
    ("file:/var/lib", "scheme", "\"file\" is unknown; write memory:, dir:PATH or etcd://"),
    ("ETCD://a:1", "scheme", "\"ETCD\" is unknown"),
    ("a:2379", "scheme", "\"a\" is unknown"),
    ("http://a:2379", "scheme", "write etcd://http://HOST:PORT/NAMESPACE"),
    ("memory:x", "path", "remove the rest"),
    ("dir:", "path", "it is empty (an unset variable?)"),
    ("dir:a\0b", "path", "NUL"),
    ("dir:~/locks", "path", "only a shell expands `~`"),
    ("dir://host/locks", "path", "write one `/`"),
    ("etcd:a:2379", "endpoint", "`//` is missing"),
    ("etcd:/a:2379", "endpoint", "`//` is missing"),
    ("etcd://", "endpoint", "one is missing; write HOST:PORT"),
    ("etcd:///builds", "endpoint", "one is missing"),
    ("etcd://a:1,", "endpoint", "one is missing"),
    ("etcd://a:1,,b:1", "endpoint", "one is missing"),
    ("etcd://a", "endpoint", "\"a\" has no port; etcd's is 2379, as in a:2379"),
    ("etcd://a:", "endpoint", "the port of \"a\" is not a number from 1 to 65535"),
    ("etcd://a:0", "endpoint", "the port of \"a\""),
    ("etcd://a:65536", "endpoint", "the port of \"a\""),
    ("etcd://a:x", "endpoint", "the port of \"a\""),
    ("etcd://a:+1", "endpoint", "the port of \"a\""),
    ("etcd:// a:1", "endpoint", "\" a\" is not the name or address of a host"),
    ("etcd://a:1, b:1", "endpoint", "\" b\" is not the name"),
    ("etcd://:2379", "endpoint", "\"\" is not the name"),
    ("etcd://[::1]", "endpoint", "\"[::1]\" has no port"),
    ("etcd://[::1]x:1", "endpoint", "the port of \"[::1]\""),
    ("etcd://::1:2379", "endpoint", "[IPV6]:PORT"),
    ("etcd://[]:1", "endpoint", "\"[]\" is not the name"),
    ("etcd://ftp://a:1", "endpoint", "the port of \"ftp\""),
    ("etcd://a:1/b/c", "namespace", "\"b/c\" has a slash or a space; write one name"),
    ("etcd://a:1/b%20c", "namespace", "\"b c\" has a slash or a space"),
    ("etcd://a:1/b%zz", "namespace", "write %25 for `%` itself"),
    ("etcd://a:1/b%ff", "namespace", "it is not UTF-8"),
    ("etcd://a:1/b%00", "namespace", "it has a control character"),
    ("etcd://a:1/b#c", "parameter", "write %23"),
    ("etcd://a:1?ttl", "ttl", "it has no value; write ttl=VALUE"),
    ("etcd://a:1?ttl=15ms", "ttl", "\"15ms\" is not a duration; write whole seconds"),
    ("etcd://a:1?ttl=1s", "ttl", "write a duration from 2s to 24h"),
    ("etcd://a:1?ttl=99999999999999999999h", "ttl", "from 2s to 24h"),
    ("etcd://a:1?ttl=5s&ttl=6s", "ttl", "it is given twice"),
    ("etcd://a:1?tls=on", "parameter", "\"tls\" is unknown; the parameters are ttl, ca, cert"),
    ("etcd://a:1?password=x", "parameter", "write USER:PASSWORD@HOST:PORT"),
    ("etcd://a:1?cert=c", "key", "it is missing"),
    ("etcd://a:1?password-env=X", "user", "there is a password but no user"),
    ("etcd://a:2379,me:pw@b:2379/builds", "user", "write %2C"),
    ("etcd://me:pa]ss", "endpoint", "the port of \"me\" is not a number"),
    ("etcd://me:x@a:1?password-env=X", "password-env", "there are two passwords"),
];

#[test]
fn a_wrong_text_is_told_what_is_wrong_with_which_part() {
    for (text, part, says) in WRONG {
        let error = text.parse::<Address>().expect_err(text);
        assert_eq!(error.part(), part, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
        let opened = AnyLock::open(text).expect_err(text);
        assert!(matches!(&opened, Error::Address(same) if *same == error), "{opened:?}");
        assert_eq!(opened.to_string(), format!("the text does not name a lock: {error}"));
    }
}

#[test]
fn an_engine_that_is_not_built_in_says_how_to_get_it() {
    for (text, feature, is_in) in [
        ("dir:locks", "dir", cfg!(feature = "dir")),
        ("etcd://a:1", "etcd", cfg!(feature = "etcd")),
    ] {
        match AnyLock::open(text) {
            Ok(lock) => assert!(is_in, "{lock:?}"),
            Err(error) => {
                assert!(!is_in, "{error}");
                let says = format!("enable the feature `{feature}` of treelock-any");
                assert!(error.to_string().contains(&says), "{error}");
            }
        }
    }
}

#[test]
fn a_text_is_a_lock_by_all_conversions() {
    assert_eq!("memory:".parse::<AnyLock>().unwrap().to_string(), "memory:");
    assert_eq!(AnyLock::try_from("memory:").unwrap().to_string(), "memory:");
    assert_eq!(Address::try_from("memory:").unwrap(), Address::Memory);
    assert_eq!(format!("{:?}", AnyLock::open("memory:").unwrap()), "AnyLock(memory:)");
}
