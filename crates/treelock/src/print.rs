//! How values are printed for people: nodes by a function of the caller's, labels on one line, ages.

use std::{fmt, time::Duration};

use crate::node::Node;

/// How nodes are printed.
pub(crate) type Print<'a> = &'a dyn Fn(&Node, &mut fmt::Formatter<'_>) -> fmt::Result;

/// A value printed by a closure.
pub(crate) struct Printed<F>(pub(crate) F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Printed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0(f)
    }
}

/// A label on one line, whatever is in it.
pub(crate) fn printable(label: &str) -> String {
    let mut line = String::new();
    for char in label.chars() {
        match char.is_control() {
            true => line.extend(char.escape_default()),
            false => line.push(char),
        }
    }
    line
}

/// Prints a duration for people: `0.2s`, `3.2s`, `4m 07s`, `2h 05m`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use treelock::engine::Age;
///
/// assert_eq!(Age(Duration::from_secs(247)).to_string(), "4m 07s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(pub Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{:.1}s", (self.0.as_secs_f64() * 10.0).floor() / 10.0),
            60..3600 => write!(f, "{}m {:02}s", seconds / 60, seconds % 60),
            _ => write!(f, "{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        }
    }
}

/// Serialises a duration as seconds.
#[cfg(feature = "serde")]
pub(crate) fn as_seconds<S: serde::Serializer>(age: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(age.as_secs_f64())
}
