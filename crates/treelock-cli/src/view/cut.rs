//! Texts that fit into columns of a terminal.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

const ELLIPSIS: &str = "…";

/// Returns a text of at most this many columns. If it is too long its middle is left out: names of
/// nodes begin and end alike, and both matter.
pub(super) fn in_the_middle(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let Some(left) = columns.checked_sub(1) else { return String::new() };
    let head: &str = &text[..fitting(text.char_indices(), left.div_ceil(2))];
    let from_end = text.char_indices().rev();
    // What is left for the tail, if a wide character did not fit into the head.
    let tail = text.len() - fitting_from_end(from_end, left - head.width(), text.len());
    format!("{head}{ELLIPSIS}{}", without_marks(&text[tail..]))
}

/// Returns how many bytes from the beginning fit.
fn fitting(chars: impl Iterator<Item = (usize, char)>, columns: usize) -> usize {
    let (mut used, mut end) = (0, 0);
    for (at, char) in chars {
        used += char.width().unwrap_or(0);
        if used > columns {
            break;
        }
        end = at + char.len_utf8();
    }
    end
}

/// Returns how many bytes from the end fit.
fn fitting_from_end(
    chars: impl Iterator<Item = (usize, char)>,
    columns: usize,
    len: usize,
) -> usize {
    let (mut used, mut begin) = (0, len);
    for (at, char) in chars {
        used += char.width().unwrap_or(0);
        if used > columns {
            break;
        }
        begin = at;
    }
    len - begin
}

/// Returns a text without the accents at its beginning, whose letter was cut off.
fn without_marks(text: &str) -> &str {
    text.trim_start_matches(|char: char| char.width() == Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_stay() {
        assert_eq!(in_the_middle("/photos/2025", 12), "/photos/2025");
        assert_eq!(in_the_middle("/photos/2025", 11), "/phot…/2025");
        assert_eq!(in_the_middle("/photos/2025", 2), "/…");
        assert_eq!(in_the_middle("/photos/2025", 1), "…");
        assert_eq!(in_the_middle("/photos/2025", 0), "");
    }

    #[test]
    fn columns_count_and_not_characters() {
        let wide = "日本語".repeat(10);
        for columns in 0..60 {
            let cut = in_the_middle(&wide, columns);
            assert!(cut.width() <= columns, "{cut:?} in {columns}");
            assert!(cut.width() + 2 > columns, "{cut:?} in {columns}");
        }
        let accents = "e\u{301}".repeat(20);
        assert_eq!(in_the_middle(&accents, 5), "e\u{301}e\u{301}…e\u{301}e\u{301}");
    }
}
