//! ENGINES.md quotes the example `list_lock`: what it quotes must be there.

const GUIDE: &str = include_str!("../../../ENGINES.md");
const EXAMPLE: &str = include_str!("../examples/list_lock.rs");

#[test]
fn the_guide_quotes_the_example() {
    let quotes: Vec<&str> = GUIDE.split("```rust\n").skip(1).collect();
    assert!(quotes.len() > 3, "{} quotes", quotes.len());
    for quote in quotes {
        let (quote, _) = quote.split_once("```").expect("a quote has an end");
        assert!(EXAMPLE.contains(quote), "the example has no longer:\n{quote}");
    }
}

#[test]
fn the_example_has_at_most_200_lines_of_code() {
    let is_code = |line: &&str| !line.is_empty() && !line.starts_with("//");
    let count = EXAMPLE.lines().map(str::trim).filter(is_code).count();
    assert!(count <= 200, "{count} lines");
}
