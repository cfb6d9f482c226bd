//! `treelock doctor`: is this place safe to lock in, and what is odd about it?

use anstyle::{AnsiColor, Style};

use treelock::{Wait as _, engine::Severity};

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

/// Says what it finds; returns the exit code.
pub(crate) fn doctor(lock: &Lock, arguments: &Doctor) -> Result<u8, Failure> {
    if arguments.begin_epoch {
        return begin_epoch(lock, arguments);
    }
    let findings = lock.any.check().wait()?;
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

/// Lets tokens grow again after a restore; returns the exit code.
fn begin_epoch(lock: &Lock, arguments: &Doctor) -> Result<u8, Failure> {
    if lock.is_of_this_host() {
        return Err(Failure::usage(
            "--begin-epoch is for a cluster; on one host tokens grow by the clock, also without \
             the table",
        ));
    }
    let question = "End all requests and sessions of this namespace, and begin an epoch?";
    if !arguments.force && !confirm(question)? {
        say("nothing was done");
        return Ok(1);
    }
    let epoch = lock.begin_epoch()?;
    print(&format!("epoch {epoch} of {} begins", lock.any))?;
    Ok(0)
}
