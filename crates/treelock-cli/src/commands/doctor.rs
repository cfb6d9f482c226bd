//! `treelock doctor`: is this place safe to lock in, and what is odd about it?

use anstyle::{AnsiColor, Style};

use crate::{
    arguments::Doctor,
    engine::{Engine, Severity},
    error::Failure,
    json,
    output::print,
};
#[cfg(feature = "etcd")]
use crate::{confirm::confirm, engine, output::say};

const GOOD: Style = AnsiColor::Green.on_default();
const ODD: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Says what it finds; returns the exit code.
pub(crate) fn doctor(engine: &Engine, arguments: &Doctor) -> Result<u8, Failure> {
    if arguments.begin_epoch {
        return begin_epoch(engine, arguments);
    }
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

/// Lets tokens grow again after a restore; returns the exit code.
fn begin_epoch(engine: &Engine, _arguments: &Doctor) -> Result<u8, Failure> {
    match engine {
        Engine::Dir(_) => Err(Failure::usage(
            "--begin-epoch is for a cluster; on one host tokens grow by the clock, also without the table",
        )),
        #[cfg(feature = "etcd")]
        Engine::Etcd(cluster) => {
            let question = "End all requests and sessions of this namespace, and begin an epoch?";
            if !_arguments.force && !confirm(question)? {
                say("nothing was done");
                return Ok(1);
            }
            let epoch = cluster.lock().begin_epoch().map_err(engine::Error::from)?;
            print(&format!("epoch {epoch} of {} begins", cluster.place()))?;
            Ok(0)
        }
    }
}
