//! Texts that nobody would write: none panics, and what is read is printed and read again.

use proptest::prelude::*;
use treelock_any::Address;

/// Pieces of texts, good and bad, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "memory:",
            "dir:",
            "etcd:",
            "//",
            "/",
            "etcd://",
            "http://",
            "https://",
            "a",
            "b:2379",
            ":",
            "@",
            "me:pw@",
            ",",
            "?",
            "&",
            "=",
            "#",
            "%",
            "%2",
            "%41",
            "%ff",
            "[::1]",
            "]",
            "[",
            "ttl=",
            "15s",
            "ca=",
            "cert=c",
            "key=k",
            "password-file=",
            "password-env=X",
            "~",
            "..",
            " ",
            "\0",
            "é",
            "\u{202e}",
            "\n",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let Ok(address) = text.parse::<Address>() else { return Ok(()) };
    let printed = address.to_string();
    let again = printed.parse::<Address>();
    prop_assert_eq!(again.map(|again| again.to_string()), Ok(printed), "{}", text);
    Ok(())
}

proptest! {
    #[test]
    fn any_pieces(text in pieces()) {
        check(&text)?;
    }

    #[test]
    fn any_pieces_of_a_cluster(text in pieces()) {
        check(&format!("etcd://a:2379{text}"))?;
        check(&format!("etcd://{text}@a:2379/builds"))?;
    }
}
