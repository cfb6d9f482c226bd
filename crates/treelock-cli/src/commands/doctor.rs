//! `treelock doctor`: checks whether locks are safe here, and reports anything odd.

use std::path::Path;

use anstyle::{AnsiColor, Style};

use treelock::{
    Wait as _,
    engine::{Finding, Severity},
};

use crate::{
    arguments::Doctor,
    confirm::confirm,
    error::Failure,
    json,
    lock::Lock,
    output::{print, say},
};

const GOOD: Style = AnsiColor::Green.on_default();
const ODD: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Prints the findings. Returns the exit code.
pub(crate) fn doctor(lock: &Lock, arguments: &Doctor) -> Result<u8, Failure> {
    if arguments.begin_epoch {
        return begin_epoch(lock, arguments);
    }
    let findings = match lock.missing_table() {
        // To check it would create it, and looking creates nothing.
        Some(dir) => vec![no_table(dir)],
        None => lock.any.check().wait()?,
    };
    if arguments.json {
        print(&json::line(&json::Report::new(lock.any.to_string(), &findings)))?;
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

/// Returns what to say of a table that is not there yet. Its path may have been mistyped.
fn no_table(dir: &Path) -> Finding {
    let (what, who) = match dir.exists() {
        true => {
            ("there is no lock table in it yet", "for the users who may write to the directory")
        }
        false => {
            ("the directory does not exist, so there is no lock table yet", "for this user only")
        }
    };
    Finding::odd(
        format!("{dir:?}: {what}"),
        format!("if the path is right, do nothing: the first `treelock run` creates it, {who}"),
    )
}

/// Lets tokens grow again after a restore. Returns the exit code.
fn begin_epoch(lock: &Lock, arguments: &Doctor) -> Result<u8, Failure> {
    if lock.is_of_this_host() {
        return Err(Failure::usage(
            "--begin-epoch is for a cluster; on one host tokens grow by the clock, also without \
             the table",
        ));
    }
    let question = "End all requests and sessions of this namespace, and begin a new epoch?";
    if !arguments.force && !confirm(question)? {
        say("nothing was changed");
        return Ok(1);
    }
    let epoch = lock.begin_epoch()?;
    print(&format!("epoch {epoch} of {} begins", lock.any))?;
    Ok(0)
}
