//! Finding the password that an address names.

use std::{env, ffi::OsString, fs, path::Path};

use crate::{
    address::{EtcdAddress, Password},
    address_error::AddressError,
};

/// Returns the user and the password. No error holds the password.
pub(crate) fn credentials(address: &EtcdAddress) -> Result<Option<(String, String)>, AddressError> {
    let Some(user) = &address.user else { return Ok(None) };
    let password = match &address.password {
        Some(Password::Text(password)) => password.clone(),
        Some(Password::File(path)) => of_file(path)?,
        Some(Password::Variable(name)) => of_variable(name, env::var_os(name))?,
        None => {
            return Err(AddressError::new(
                "password",
                format_args!(
                    "user {user:?} has none; write USER:PASSWORD@HOST:PORT, or add password-file \
                     or password-env"
                ),
            ));
        }
    };
    Ok(Some((user.clone(), password)))
}

fn of_file(path: &Path) -> Result<String, AddressError> {
    const PART: &str = "password-file";
    let password = fs::read_to_string(path).map_err(|error| {
        AddressError::new(PART, format_args!("{path:?} cannot be read: {error}"))
    })?;
    let password = password.trim_end();
    match password.is_empty() {
        true => Err(AddressError::new(
            PART,
            format_args!("{path:?} is empty; write the password into it"),
        )),
        false => Ok(password.to_owned()),
    }
}

fn of_variable(name: &str, value: Option<OsString>) -> Result<String, AddressError> {
    const PART: &str = "password-env";
    let wrong = |what: &str| AddressError::new(PART, format_args!("the variable {name:?} {what}"));
    let value = value.filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| wrong("is empty or not set; set it to the password"))?;
    value.into_string().map_err(|_| wrong("is not UTF-8; set it to the password"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_variable() {
        let of = |value: Option<OsString>| of_variable("IT", value).map_err(|e| e.to_string());
        assert_eq!(of(Some("s3cret".into())), Ok("s3cret".into()));
        for value in [None, Some("".into())] {
            let says =
                "password-env: the variable \"IT\" is empty or not set; set it to the password";
            assert_eq!(of(value), Err(says.into()));
        }
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt as _;
            let says = "password-env: the variable \"IT\" is not UTF-8; set it to the password";
            assert_eq!(of(Some(OsString::from_vec(b"s3cret\xff".to_vec()))), Err(says.into()));
        }
    }
}
