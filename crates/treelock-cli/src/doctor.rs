//! `treelock doctor`: is this place safe to lock in, and what is odd about it?

use anstyle::{AnsiColor, Style};

use crate::{
    arguments::Doctor,
    engine::{Engine, Severity},
    exit::Failure,
    json,
    listing::print,
};

const GOOD: Style = AnsiColor::Green.on_default();
const ODD: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Says what it finds; returns the exit code.
pub(crate) fn doctor(engine: &Engine, arguments: &Doctor) -> Result<u8, Failure> {
    let findings = engine.check()?;
    if arguments.json {
        print(&json::line(&json::Report::new(engine.place(), &findings)))?;
    } else {
        for finding in &findings {
            let style = match finding.severity {
                Severity::Good => GOOD,
                Severity::Odd => ODD,
                Severity::Bad => BAD,
            };
            print(&format!(
                "{style}{:4}{style:#}  {}",
                finding.severity.to_string(),
                finding.what
            ))?;
            if !finding.advice.is_empty() {
                print(&format!("      {}", finding.advice))?;
            }
        }
    }
    Ok(findings.iter().any(|finding| matches!(finding.severity, Severity::Bad)).into())
}
