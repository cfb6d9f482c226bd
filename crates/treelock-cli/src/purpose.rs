//! What a hold is for, as its label says it. A lock table stores one text for a request, the label;
//! so `treelock hold` adds to it what everybody should see, in every message and on every kind of
//! lock: `agent-7 for pid 4711 (bash), 10m at most`.

use std::{fmt, time::Duration};

use humantime::format_duration;

/// What a lock is held for: a process, a time, or a process but no longer than a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Purpose {
    pub(crate) pid: Option<i32>,
    /// The name of that process, without parentheses, if it is known.
    pub(crate) command: Option<String>,
    pub(crate) at_most: Option<Duration>,
}

const FOR_PID: &str = " for pid ";
const AT_MOST: &str = " at most";

impl fmt::Display for Purpose {
    /// Writes what follows the label.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pid) = self.pid {
            write!(f, "{FOR_PID}{pid}")?;
            if let Some(command) = &self.command {
                write!(f, " ({command})")?;
            }
        }
        if let Some(time) = self.at_most {
            let before = if self.pid.is_some() { "," } else { " for" };
            write!(f, "{before} {}{AT_MOST}", format_duration(time))?;
        }
        Ok(())
    }
}

/// Returns the process that a label names at its end.
pub(crate) fn pid(label: &str) -> Option<i32> {
    label.match_indices(FOR_PID).find_map(|(at, _)| pid_at_start(&label[at + FOR_PID.len()..]))
}

/// Returns whether a label says that the hold ends after a time, whoever waits for it.
pub(crate) fn ends_by_itself(label: &str) -> bool {
    label.ends_with(AT_MOST)
}

/// Reads `4711`, `4711 (bash)`, `4711, 10m at most` or all of it, with nothing behind it.
fn pid_at_start(text: &str) -> Option<i32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (pid, rest) = text.split_at(end);
    let rest = match rest.strip_prefix(" (") {
        Some(command) => command.split_once(')').map(|(_, rest)| rest)?,
        None => rest,
    };
    let time = rest.strip_prefix(", ").and_then(|time| time.strip_suffix(AT_MOST));
    let is_all =
        rest.is_empty() || time.is_some_and(|time| humantime::parse_duration(time).is_ok());
    is_all.then(|| pid.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_is_read_from_its_label() {
        let command = |name: &str| Some(name.to_owned());
        for (purpose, text) in [
            (Purpose::default(), ""),
            (Purpose { pid: Some(7), ..Purpose::default() }, " for pid 7"),
            (
                Purpose { pid: Some(7), command: command("tmux: server"), at_most: None },
                " for pid 7 (tmux: server)",
            ),
            (
                Purpose { at_most: Some(Duration::from_secs(90)), ..Purpose::default() },
                " for 1m 30s at most",
            ),
            (
                Purpose {
                    pid: Some(4711),
                    command: command("x for pid 1"),
                    at_most: Some(Duration::from_millis(1500)),
                },
                " for pid 4711 (x for pid 1), 1s 500ms at most",
            ),
        ] {
            assert_eq!(purpose.to_string(), text);
            for label in ["", "agent-7", "x for pid 3 (y)", "for pid 3, 5s at most"] {
                let named = pid(&format!("{label}{purpose}"));
                let of_label = if label == "x for pid 3 (y)" { Some(3) } else { None };
                let expected = if text.is_empty() { of_label } else { purpose.pid };
                assert_eq!(named, expected, "{label}{purpose}");
            }
        }
    }

    #[test]
    fn other_labels_name_no_process() {
        for label in [
            "make test",
            "wait for pid",
            "look for pid 7 first",
            "x for pid 7 (y) z",
            "x for pid 7 (y",
            "x for pid 99999999999",
            "x for pid 7, soon at most",
        ] {
            assert_eq!(pid(label), None, "{label}");
        }
    }
}
