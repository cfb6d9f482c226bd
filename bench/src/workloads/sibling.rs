//! Runs the package's other binaries, each of which measures something that this one would disturb.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// Runs the binary `name`. Returns the JSON that it prints, or a sentence that says why there is
/// none.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Result<Value, String> {
    let output = Command::new(binary(name)?).args(arguments).output();
    let output = output.map_err(|error| format!("cannot start `{name}`: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("`{name}` did not print JSON: {error}"))
}

/// Returns the path of a binary next to this one. Under `cargo run` it is built first, since cargo
/// builds only one.
pub(crate) fn binary(name: &str) -> Result<PathBuf, String> {
    if let Some(cargo) = env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", env!("CARGO_PKG_NAME"), "--bin", name]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        if !build.status().is_ok_and(|status| status.success()) {
            return Err(format!("cannot build the binary `{name}`"));
        }
    }
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let path = own.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX));
    if path.exists() {
        return Ok(path);
    }
    Err(format!("no binary `{name}` here; `cargo run --release -p treelock-bench` builds it"))
}
