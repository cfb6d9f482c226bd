//! What is printed, without what differs from run to run.

/// Returns a text in which every age is `T`, every process number `N`, every fencing token `TOKEN`.
pub(crate) fn timeless(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        shown.push_str(before);
        let end = from.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(from.len());
        let (number, after) = from.split_at(from[..end].trim_end_matches('.').len());
        let follows = shown.ends_with(|c: char| c.is_alphanumeric() || "#-_".contains(c));
        let (kept, after) = match (&*shown, age_end(after)) {
            (before, _) if before.ends_with("pid ") || before.ends_with("\"pid\":") => ("N", after),
            // Several may be listed; one that ended in time is not.
            (before, _) if before.ends_with("SIGTERM to ") || before.ends_with("SIGKILL to ") => (
                "N",
                after.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',' || c == ' '),
            ),
            (before, _) if before.ends_with("\"age_seconds\":") => ("T", after),
            (_, Some(end)) if !follows => ("T", &after[end..]),
            _ if number.len() > 15 => ("TOKEN", after),
            _ => (number, after),
        };
        shown.push_str(kept);
        rest = after;
    }
    shown + rest
}

/// Where an age ends of which this follows the first number: `s`, `m 07s`, `h 05m`.
fn age_end(after: &str) -> Option<usize> {
    let bytes = after.as_bytes();
    let two_digits = bytes.len() > 4 && bytes[2..4].iter().all(u8::is_ascii_digit);
    let end = match bytes {
        [b's', ..] => 1,
        [b'm', b' ', _, _, b's', ..] | [b'h', b' ', _, _, b'm', ..] if two_digits => 5,
        _ => return None,
    };
    let goes_on = after[end..].starts_with(|c: char| c.is_alphanumeric());
    (!goes_on).then_some(end)
}

#[test]
fn numbers_that_differ_are_made_the_same() {
    for (text, expected) in [
        ("held for 3.2s; 1 ahead", "held for T; 1 ahead"),
        ("held 41m 07s, 2h 05m.", "held T, T."),
        ("waiting 12s, 1 ahead, for", "waiting T, 1 ahead, for"),
        ("#1 by \"agent-7s\" (pid 4242)", "#1 by \"agent-7s\" (pid N)"),
        ("sent SIGTERM to 1, 22; #3 is free", "sent SIGTERM to N; #3 is free"),
        ("1767225600000000000\n", "TOKEN\n"),
        ("{\"age_seconds\":0.013,\"pid\":12}", "{\"age_seconds\":T,\"pid\":N}"),
        ("75", "75"),
    ] {
        assert_eq!(timeless(text), expected);
    }
}
